//! A list of names in which globs may stand: `*` any characters, dots included, `?` one, `[a-c]` a class,
//! `{a,b}` alternatives.

use globset::{GlobBuilder, GlobMatcher};

/// Matches a name when one of its patterns does.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    entries: Vec<Pattern>,
}

#[derive(Debug, Clone)]
enum Pattern {
    Everything,
    Literal(String),
    Glob(GlobMatcher),
    /// Cannot be read; ends the search, and those behind it are never asked.
    Broken,
}

impl Patterns {
    /// Takes the patterns in any order; they are tried in the order of their text.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        let mut texts: Vec<String> = patterns.into_iter().map(|text| text.as_ref().to_owned()).collect();
        texts.sort();
        texts.dedup();
        Self { entries: texts.iter().map(|text| Pattern::parse(text)).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `*` itself is one of the patterns.
    pub fn has_everything(&self) -> bool {
        self.entries.iter().any(|pattern| matches!(pattern, Pattern::Everything))
    }

    pub fn matches(&self, name: &str) -> bool {
        for pattern in &self.entries {
            match pattern {
                Pattern::Everything => return true,
                Pattern::Literal(literal) if literal == name => return true,
                Pattern::Glob(glob) if glob.is_match(name) => return true,
                Pattern::Literal(_) | Pattern::Glob(_) => {}
                Pattern::Broken => return false,
            }
        }
        false
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Everything;
        }
        if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Self::Literal(text.into());
        }
        match GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build() {
            Ok(glob) => Self::Glob(glob.compile_matcher()),
            Err(_) => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_across_dots() {
        let matches = |pattern: &str, name: &str| Patterns::new([pattern]).matches(name);
        assert!(matches("*", "pods"));
        assert!(matches("*.velero.io", "backups.velero.io"));
        assert!(matches("back*", "backups.velero.io"));
        assert!(!matches("*.velero.io", "pods"));
        assert!(matches("shop-?", "shop-a"));
        assert!(!matches("shop-?", "shop-ab"));
        assert!(matches("shop-[a-c]", "shop-b"));
        assert!(matches("{pods,secrets}", "secrets"));
        assert!(!matches("pods", "Pods"));
    }

    #[test]
    fn a_broken_pattern_hides_those_behind_it() {
        let patterns = Patterns::new(["configmaps", "pod[", "secrets"]);
        assert!(patterns.matches("configmaps"));
        assert!(!patterns.matches("secrets"));
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        assert!(!Patterns::default().matches("pods"));
    }
}
