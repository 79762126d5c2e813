//! Names of archive entries, both ways. Pure.

use std::fmt;

/// Name of the entry that holds the format version, always the first one.
pub(super) const VERSION_ENTRY: &str = "metadata/version";
/// Content of [`VERSION_ENTRY`].
pub(super) const VERSION_TEXT: &[u8] = b"1.1.0\n";

const PREFERRED_SUFFIX: &str = "-preferredversion";
const JSON_SUFFIX: &str = ".json";

/// Where an item stands in the archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemPath {
    /// Plural name and group, `deployments.apps`; the core group has no suffix.
    pub group_resource: String,
    /// The version part only, `v1`.
    pub version: String,
    /// Absent for what is not namespaced.
    pub namespace: Option<String>,
    /// The object's name, taken literally.
    pub name: String,
}

/// A part of an item's name that would change the meaning of its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} {value:?} can't be part of a path")]
pub struct UnusableName {
    pub part: &'static str,
    pub value: String,
}

impl ItemPath {
    /// Refuses names with which the paths below would lead elsewhere.
    pub(super) fn check(&self) -> Result<(), UnusableName> {
        let parts = [
            ("resource", Some(&self.group_resource)),
            ("version", Some(&self.version)),
            ("namespace", self.namespace.as_ref()),
            ("name", Some(&self.name)),
        ];
        for (part, value) in parts {
            if let Some(value) = value.filter(|value| !is_plain_segment(value)) {
                return Err(UnusableName { part, value: value.clone() });
            }
        }
        Ok(())
    }

    /// Writes the path of the plain copy.
    pub(super) fn plain(&self, out: &mut String) {
        out.push_str("resources/");
        out.push_str(&self.group_resource);
        self.tail(out);
    }

    /// Writes the path of the copy that names the preferred version.
    pub(super) fn preferred(&self, out: &mut String) {
        self.of_version(PREFERRED_SUFFIX, out);
    }

    /// Writes the path of an object in a version that is not the preferred one.
    pub(super) fn other_version(&self, out: &mut String) {
        self.of_version("", out);
    }

    fn of_version(&self, suffix: &str, out: &mut String) {
        out.push_str("resources/");
        out.push_str(&self.group_resource);
        out.push('/');
        out.push_str(&self.version);
        out.push_str(suffix);
        self.tail(out);
    }

    fn tail(&self, out: &mut String) {
        match &self.namespace {
            Some(namespace) => {
                out.push_str("/namespaces/");
                out.push_str(namespace);
                out.push('/');
            }
            None => out.push_str("/cluster/"),
        }
        out.push_str(&self.name);
        out.push_str(JSON_SUFFIX);
    }
}

impl fmt::Display for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.plain(&mut text);
        f.write_str(&text)
    }
}

/// What an entry's name says it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryPath<'a> {
    FormatVersion,
    Item(Location<'a>),
    /// A well-formed name with no meaning in this layout.
    Stray,
    /// A name that no writer of this layout makes: absolute, climbing, or with empty parts.
    Unsafe,
}

/// The parts of an item's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location<'a> {
    pub(super) group_resource: &'a str,
    pub(super) form: Form<'a>,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
}

/// Which of an item's copies an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    Plain,
    Preferred(&'a str),
    OtherVersion(&'a str),
}

impl<'a> EntryPath<'a> {
    pub(super) fn parse(entry: &'a str) -> Self {
        if !entry.split('/').all(is_plain_segment) {
            return Self::Unsafe;
        }
        if entry == VERSION_ENTRY {
            return Self::FormatVersion;
        }
        let segments: Vec<&str> = entry.split('/').collect();
        let (group_resource, form, namespace, file) = match segments[..] {
            ["resources", group_resource, "cluster", file] => (group_resource, Form::Plain, None, file),
            ["resources", group_resource, "namespaces", namespace, file] => {
                (group_resource, Form::Plain, Some(namespace), file)
            }
            ["resources", group_resource, version, "cluster", file] => {
                (group_resource, Form::versioned(version), None, file)
            }
            ["resources", group_resource, version, "namespaces", namespace, file] => {
                (group_resource, Form::versioned(version), Some(namespace), file)
            }
            _ => return Self::Stray,
        };
        match file.strip_suffix(JSON_SUFFIX) {
            Some(name) if is_plain_segment(name) => {
                Self::Item(Location { group_resource, form, namespace, name })
            }
            Some(_) | None => Self::Stray,
        }
    }
}

impl<'a> Form<'a> {
    fn versioned(folder: &'a str) -> Self {
        match folder.strip_suffix(PREFERRED_SUFFIX) {
            Some(version) => Self::Preferred(version),
            None => Self::OtherVersion(folder),
        }
    }

    /// The version that the path names, if it names one.
    pub(super) fn version(self) -> Option<&'a str> {
        match self {
            Self::Plain => None,
            Self::Preferred(version) | Self::OtherVersion(version) => Some(version),
        }
    }
}

/// One step of a path, which neither ends it, climbs, nor hides a control character.
fn is_plain_segment(segment: impl AsRef<str>) -> bool {
    let segment = segment.as_ref();
    !matches!(segment, "" | "." | "..")
        && !segment.bytes().any(|byte| byte == b'/' || byte == b'\\' || byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(namespace: Option<&str>, name: &str) -> ItemPath {
        ItemPath {
            group_resource: "deployments.apps".into(),
            version: "v1".into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        }
    }

    #[test]
    fn both_copies_of_an_item_are_read_back_as_that_item() {
        for namespace in [Some("shop"), None] {
            let item = item(namespace, "system:web.json");
            let (mut plain, mut preferred) = (String::new(), String::new());
            item.plain(&mut plain);
            item.preferred(&mut preferred);
            for (entry, form) in [(&plain, Form::Plain), (&preferred, Form::Preferred("v1"))] {
                let location =
                    Location { group_resource: "deployments.apps", form, namespace, name: "system:web.json" };
                assert_eq!(EntryPath::parse(entry), EntryPath::Item(location), "{entry}");
            }
        }
    }

    #[test]
    fn paths_are_those_of_velero() {
        let mut paths = String::new();
        item(Some("shop"), "web").plain(&mut paths);
        paths.push(' ');
        item(Some("shop"), "web").preferred(&mut paths);
        paths.push(' ');
        item(None, "web").preferred(&mut paths);
        assert_eq!(
            paths,
            "resources/deployments.apps/namespaces/shop/web.json \
             resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json \
             resources/deployments.apps/v1-preferredversion/cluster/web.json"
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_on_both_ways() {
        for bad in ["..", ".", "", "a/b", "a\\b", "a\u{0}b", "a\nb"] {
            assert!(item(Some("shop"), bad).check().is_err(), "{bad:?}");
            assert!(item(Some(bad), "web").check().is_err(), "{bad:?}");
        }
        for entry in
            ["/resources/pods/cluster/a.json", "resources/../cluster/a.json", "resources//a", "", "./a"]
        {
            assert_eq!(EntryPath::parse(entry), EntryPath::Unsafe, "{entry:?}");
        }
    }

    #[test]
    fn other_files_are_strays() {
        for entry in [
            "resources/pods/cluster/a.yaml",
            "resources/pods/cluster/.json",
            "resources/pods/namespaces/a.json",
            "resources/pods/v1/v2/namespaces/shop/a.json",
            "metadata/other",
            "notes.txt",
        ] {
            assert_eq!(EntryPath::parse(entry), EntryPath::Stray, "{entry:?}");
        }
        assert_eq!(EntryPath::parse("metadata/version"), EntryPath::FormatVersion);
    }
}
