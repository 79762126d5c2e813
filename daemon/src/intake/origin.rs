//! Where policies come from: directories and ConfigMaps, as the command line names them, each with a source's name.
//!
//! In: the texts of `--policies`, `--policy-configmap`, `--policy-selector` and `--policy-namespaces`. Out: named
//! origins, no name twice.

use std::fmt;
use std::path::{Path, PathBuf};

use holdfast_policy::validate::{HooksIn, Trust};

use super::config_maps::{ConfigMaps, Which};
use super::name::{Invalid, SourceName};

/// What a source is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Directory(PathBuf),
    ConfigMaps(ConfigMaps),
}

impl Origin {
    /// Who may write there decides how far its policies may go.
    pub fn trust(&self, own_namespace: &str, hooks_in: &HooksIn) -> Trust {
        match self {
            Origin::ConfigMaps(maps) if maps.namespace != own_namespace => {
                Trust::Namespace(maps.namespace.clone())
            }
            Origin::Directory(_) | Origin::ConfigMaps(_) => Trust::Full(hooks_in.clone()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Directory(path) => write!(formatter, "directory {}", path.display()),
            Origin::ConfigMaps(maps) => maps.fmt(formatter),
        }
    }
}

/// The sources that the user names.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Directories, each as `DIR` or `NAME=DIR`.
    pub directories: Vec<PathBuf>,
    /// ConfigMaps, each as `NAMESPACE/NAME` or `SOURCE=NAMESPACE/NAME`.
    pub config_maps: Vec<String>,
    /// A label selector of further ConfigMaps …
    pub selector: Option<String>,
    /// … in these namespaces; without any, in Holdfast's own.
    pub selected_namespaces: Vec<String>,
    /// Where hooks of policies may run.
    pub hooks_in: HooksIn,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] Invalid),
    #[error("{origin} gives no name to its source: write NAME={given}")]
    Nameless { origin: String, given: String },
    #[error("two sources are called {name}: write NAME= before {origin} to call one of them otherwise")]
    Twice { name: SourceName, origin: String },
    #[error("{given:?} names no ConfigMap: write NAMESPACE/NAME")]
    NotAConfigMap { given: String },
}

/// The origins with the names of their sources, in the order given.
pub fn named(given: &Given, own_namespace: &str) -> Result<Vec<(SourceName, Origin)>, Error> {
    let Given { directories, config_maps, selector, selected_namespaces, hooks_in: _ } = given;
    let mut sources = Vec::new();
    for directory in directories {
        add(&mut sources, of_directory(directory)?)?;
    }
    for config_map in config_maps {
        add(&mut sources, of_config_map(config_map)?)?;
    }
    if let Some(selector) = selector {
        let own = [own_namespace.to_owned()];
        let namespaces = if selected_namespaces.is_empty() { &own } else { selected_namespaces.as_slice() };
        for namespace in namespaces {
            let maps = ConfigMaps { namespace: namespace.clone(), which: Which::Labelled(selector.clone()) };
            // A namespace's name is a label, so that a dot keeps these names apart from those of namespaces.
            let name = fitted(&format!("configmaps.{namespace}"), namespace)?;
            add(&mut sources, (name, Origin::ConfigMaps(maps)))?;
        }
    }
    Ok(sources)
}

fn add(sources: &mut Vec<(SourceName, Origin)>, source: (SourceName, Origin)) -> Result<(), Error> {
    if sources.iter().any(|(known, _)| *known == source.0) {
        return Err(Error::Twice { name: source.0, origin: source.1.to_string() });
    }
    sources.push(source);
    Ok(())
}

fn of_directory(given: &Path) -> Result<(SourceName, Origin), Error> {
    if let Some((name, path)) = given.to_str().and_then(|text| text.split_once('='))
        && !name.contains('/')
    {
        return Ok((SourceName::parse(name)?, Origin::Directory(PathBuf::from(path))));
    }
    // Where even the working directory is gone, the path as given has to do.
    let absolute = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
    let base = absolute.file_name().map(|base| base.to_string_lossy()).unwrap_or_default();
    Ok((fitted(&base, &given.to_string_lossy())?, Origin::Directory(given.to_owned())))
}

fn of_config_map(given: &str) -> Result<(SourceName, Origin), Error> {
    let (source, place) = match given.split_once('=') {
        Some((source, place)) => (Some(source), place),
        None => (None, given),
    };
    let Some((namespace, name)) = place
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
    else {
        return Err(Error::NotAConfigMap { given: given.to_owned() });
    };
    let source = match source {
        Some(source) => SourceName::parse(source)?,
        None => fitted(&format!("{namespace}.{name}"), place)?,
    };
    let maps = ConfigMaps { namespace: namespace.to_owned(), which: Which::Named(name.to_owned()) };
    Ok((source, Origin::ConfigMaps(maps)))
}

fn fitted(text: &str, given: &str) -> Result<SourceName, Error> {
    SourceName::fitted(text)
        .ok_or_else(|| Error::Nameless { origin: given.to_owned(), given: given.to_owned() })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn directories(given: &[&str]) -> Given {
        Given { directories: given.iter().map(PathBuf::from).collect(), ..Given::default() }
    }

    fn shown(given: &Given) -> Result<Vec<String>, Error> {
        let sources = named(given, "velero")?.into_iter();
        Ok(sources.map(|(name, origin)| format!("{name}: {origin}")).collect())
    }

    #[test]
    fn a_directory_gives_its_own_name_unless_another_is_given() {
        let given = ["/etc/holdfast/policies", "shop=/srv/policies", "/srv/Team_A/", "/srv/a=b/x"];
        assert_eq!(
            shown(&directories(&given)).unwrap(),
            [
                "policies: directory /etc/holdfast/policies",
                "shop: directory /srv/policies",
                "team-a: directory /srv/Team_A/",
                "x: directory /srv/a=b/x",
            ]
        );
    }

    #[test]
    fn config_maps_are_named_after_themselves_and_selections_after_their_namespace() {
        let given = Given {
            config_maps: vec!["velero/policies".to_owned(), "mine=shop/backup".to_owned()],
            selector: Some("holdfast.dev/policies=true".to_owned()),
            selected_namespaces: vec!["velero".to_owned(), "shop".to_owned()],
            ..Given::default()
        };
        assert_eq!(
            shown(&given).unwrap(),
            [
                "velero.policies: ConfigMap velero/policies",
                "mine: ConfigMap shop/backup",
                "configmaps.velero: ConfigMaps in velero with holdfast.dev/policies=true",
                "configmaps.shop: ConfigMaps in shop with holdfast.dev/policies=true",
            ]
        );
        let own = Given { selected_namespaces: Vec::new(), config_maps: Vec::new(), ..given };
        assert_eq!(
            shown(&own).unwrap(),
            ["configmaps.velero: ConfigMaps in velero with holdfast.dev/policies=true"]
        );
    }

    #[test]
    fn names_that_clash_or_do_not_fit_are_refused() {
        assert!(matches!(shown(&directories(&["/a/policies", "/b/policies"])), Err(Error::Twice { .. })));
        assert!(matches!(shown(&directories(&["Shop=/a"])), Err(Error::Name(_))));
        assert!(matches!(shown(&directories(&["/"])), Err(Error::Nameless { .. })));
        for wrong in ["policies", "velero/", "/policies", "a/b/c"] {
            let given = Given { config_maps: vec![wrong.to_owned()], ..Given::default() };
            assert!(matches!(shown(&given), Err(Error::NotAConfigMap { .. })), "{wrong}");
        }
    }

    #[test]
    fn trust_depends_on_where_a_source_is() {
        let given = Given {
            directories: vec!["/srv/policies".into()],
            config_maps: vec!["velero/a".into(), "team/b".into()],
            selector: Some("holdfast.dev/policies=true".into()),
            selected_namespaces: vec!["velero".into(), "team".into()],
            hooks_in: HooksIn::Namespaces(vec!["shop".into()]),
        };
        let sources = named(&given, "velero").unwrap().into_iter();
        let trusts: Vec<Trust> = sources.map(|(_, origin)| origin.trust("velero", &given.hooks_in)).collect();
        let full = || Trust::Full(given.hooks_in.clone());
        let team = || Trust::Namespace("team".into());
        assert_eq!(trusts, [full(), full(), team(), full(), team()]);
    }
}
