//! Which namespaces belong to a backup: include and exclude lists with globs, resolved against those that exist.

use std::collections::BTreeSet;

use super::Patterns;

const EVERYTHING: &str = "*";

/// How much of the cluster the namespace filter reaches, which decides about cluster-scoped objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    WholeCluster,
    SomeNamespaces,
}

#[derive(Debug, Clone)]
pub struct NamespaceFilter {
    chosen: Chosen,
    nothing_excluded: bool,
    covers_existing: bool,
}

#[derive(Debug, Clone)]
enum Chosen {
    AllBut(Patterns),
    /// Included and not excluded, in order; `asked` are the included ones, existing or not.
    These {
        names: BTreeSet<String>,
        asked: BTreeSet<String>,
    },
}

impl NamespaceFilter {
    /// Globs are expanded to the namespaces that exist; a plain name stays, whether or not it exists. Where
    /// everything is included nothing is expanded, and namespaces made meanwhile belong to the backup.
    pub fn new(included: &[String], excluded: &[String], existing: &[&str]) -> Self {
        let nothing_excluded = excluded.is_empty();
        if included.is_empty() || included.iter().any(|name| name == EVERYTHING) {
            let chosen = Chosen::AllBut(Patterns::new(excluded));
            return Self { chosen, nothing_excluded, covers_existing: true };
        }
        let asked = expand(included, existing);
        let excluded = expand(excluded, existing);
        let existing: BTreeSet<String> = existing.iter().map(|name| (*name).to_owned()).collect();
        let covers_existing = asked == existing;
        let names = asked.difference(&excluded).cloned().collect();
        Self { chosen: Chosen::These { names, asked }, nothing_excluded, covers_existing }
    }

    pub fn includes(&self, namespace: &str) -> bool {
        match &self.chosen {
            Chosen::AllBut(excluded) => !excluded.matches(namespace),
            Chosen::These { names, .. } => names.contains(namespace),
        }
    }

    /// All namespaces are listed at once, and excluded ones left out of what comes.
    pub fn is_open(&self) -> bool {
        matches!(self.chosen, Chosen::AllBut(_))
    }

    /// Nothing at all is filtered out.
    pub fn is_everything(&self) -> bool {
        self.nothing_excluded && self.covers_existing
    }

    /// The include list is open, whatever is excluded; or it names everything there is.
    pub fn reach(&self) -> Reach {
        match &self.chosen {
            Chosen::AllBut(_) => Reach::WholeCluster,
            Chosen::These { .. } if self.is_everything() => Reach::WholeCluster,
            Chosen::These { .. } => Reach::SomeNamespaces,
        }
    }

    /// What a namespaced resource is listed by: None is one list over all namespaces.
    pub fn scopes(&self) -> Vec<Option<String>> {
        match &self.chosen {
            Chosen::AllBut(_) => vec![None],
            Chosen::These { names, .. } => names.iter().cloned().map(Some).collect(),
        }
    }

    /// Namespaces included by name that do not exist.
    pub fn missing(&self, existing: &[&str]) -> Vec<&str> {
        match &self.chosen {
            Chosen::AllBut(_) => vec![],
            Chosen::These { asked, .. } => {
                asked.iter().map(String::as_str).filter(|name| !existing.contains(name)).collect()
            }
        }
    }
}

fn expand(entries: &[String], existing: &[&str]) -> BTreeSet<String> {
    let (globs, names): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| is_glob(entry));
    let globs = Patterns::new(globs);
    let matched = existing.iter().filter(|name| globs.matches(name)).map(|name| (*name).to_owned());
    names.into_iter().cloned().chain(matched).collect()
}

fn is_glob(entry: &str) -> bool {
    entry.contains(['*', '?', '[', ']'])
}

/// What is wrong with an entry of a namespace list, if anything.
pub fn check_name(entry: &str) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("invalid namespace {entry:?}: {what}"));
    if entry.is_empty() || entry == EVERYTHING {
        return Ok(());
    }
    if entry.contains("**") {
        return refuse("** is not a pattern");
    }
    if let Some(character) = entry.chars().find(|character| "|()!{},".contains(*character)) {
        return refuse(&format!("{character} is not allowed in a pattern"));
    }
    let Some(plain) = without_classes(entry) else {
        return refuse("its square brackets are empty or do not match");
    };
    let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = plain.as_bytes();
    let well_formed = bytes.iter().all(|byte| letter_or_digit(*byte) || *byte == b'-')
        && bytes.first().is_some_and(|byte| letter_or_digit(*byte))
        && bytes.last().is_some_and(|byte| letter_or_digit(*byte))
        && bytes.len() <= 63;
    if well_formed {
        Ok(())
    } else {
        refuse("a namespace has at most 63 lower-case letters, digits and inner hyphens")
    }
}

/// The entry with a letter for each wildcard and class.
fn without_classes(entry: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = entry;
    while let Some(at) = rest.find(['[', ']']) {
        plain.push_str(&rest[..at]);
        let (class, behind) = rest[at..].strip_prefix('[')?.split_once(']')?;
        if class.is_empty() || class.contains('[') {
            return None;
        }
        plain.push('x');
        rest = behind;
    }
    plain.push_str(rest);
    Some(plain.replace(['*', '?'], "x"))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    const EXISTING: &[&str] = &["blog", "shop", "shop-eu", "tmp-1"];

    fn filter(included: &[&str], excluded: &[&str]) -> NamespaceFilter {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        NamespaceFilter::new(&owned(included), &owned(excluded), EXISTING)
    }

    fn scopes(included: &[&str], excluded: &[&str]) -> Vec<String> {
        filter(included, excluded).scopes().into_iter().map(|scope| scope.unwrap_or("ALL".into())).collect()
    }

    #[test]
    fn globs_become_the_namespaces_that_exist() {
        assert_eq!(scopes(&["shop*"], &["shop-e?"]), ["shop"]);
        assert_eq!(scopes(&["shop*", "later"], &[]), ["later", "shop", "shop-eu"]);
        assert_eq!(scopes(&["tmp-[0-9]"], &[]), ["tmp-1"]);
        assert_eq!(scopes(&["nothing-*"], &[]), Vec::<String>::new());
        assert_eq!(scopes(&["shop", "blog"], &["blog"]), ["shop"]);
    }

    #[test]
    fn an_open_list_is_one_listing_with_excludes_tested_at_run_time() {
        let filter = filter(&["*"], &["tmp-*"]);
        assert_eq!(filter.scopes(), [None]);
        assert!(!filter.includes("tmp-77"));
        assert!(filter.includes("made-meanwhile"));
    }

    #[test]
    fn the_whole_cluster_is_an_open_list_or_one_that_names_all() {
        assert_eq!(filter(&[], &[]).reach(), Reach::WholeCluster);
        assert_eq!(filter(&["*"], &["shop"]).reach(), Reach::WholeCluster);
        assert_eq!(filter(EXISTING, &[]).reach(), Reach::WholeCluster);
        assert_eq!(filter(&["shop*", "blog", "tmp-?"], &[]).reach(), Reach::WholeCluster);
        assert_eq!(filter(EXISTING, &["shop"]).reach(), Reach::SomeNamespaces);
        assert_eq!(filter(&["shop"], &[]).reach(), Reach::SomeNamespaces);
        assert_eq!(filter(&["nothing-*"], &[]).reach(), Reach::SomeNamespaces);
    }

    #[test]
    fn only_an_unfiltered_list_is_everything() {
        assert!(filter(&["*"], &[]).is_everything());
        assert!(!filter(&["*"], &["shop"]).is_everything());
    }

    #[test]
    fn names_that_do_not_exist_are_missed() {
        assert_eq!(filter(&["shop", "no-such-ns", "none-*"], &[]).missing(EXISTING), ["no-such-ns"]);
        assert_eq!(filter(&["*"], &["no-such-ns"]).missing(EXISTING), Vec::<&str>::new());
    }

    #[test]
    fn entries_are_names_or_globs() {
        for good in ["", "*", "shop", "shop-*", "?hop", "team-[a-c]", "[ab]", "a1-b2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "**", "a**", "a|b", "(a)", "!a", "{a,b}", "a,b", "a[", "a]", "[]", "a[]b", "[[a]", "Shop", "-a",
            "a_b", "a.",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
