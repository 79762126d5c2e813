//! The names of sources: what fits into a label value, a field manager and the name of a PolicySet.
//!
//! A name outlives restarts, as it is how a source knows its objects again.

use std::fmt;

/// The name of a source: at most 63 lower-case letters, digits, dots and dashes, beginning and ending with a letter
/// or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} can't name a source: lower-case letters, digits, dots and dashes can, 63 at most")]
pub struct Invalid {
    name: String,
}

const LONGEST: usize = 63;

impl SourceName {
    pub fn parse(name: &str) -> Result<SourceName, Invalid> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = |byte: Option<&u8>| byte.is_some_and(|byte| inner(*byte));
        let bytes = name.as_bytes();
        let valid = bytes.len() <= LONGEST
            && ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|byte| inner(*byte) || matches!(byte, b'-' | b'.'));
        match valid {
            true => Ok(SourceName(name.to_owned())),
            false => Err(Invalid { name: name.to_owned() }),
        }
    }

    /// The nearest valid name to a text, if any of its characters fits.
    pub fn fitted(text: &str) -> Option<SourceName> {
        let text = text.to_lowercase();
        let fitting = |character: char| match character {
            'a'..='z' | '0'..='9' | '.' => character,
            _ => '-',
        };
        let name: String = text.chars().map(fitting).take(LONGEST).collect();
        SourceName::parse(name.trim_matches(['-', '.'])).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_refused_or_fitted() {
        assert_eq!(SourceName::parse("prod.eu-1").unwrap().as_str(), "prod.eu-1");
        for name in ["", "Shop", "-x", "x.", "a/b", &"a".repeat(64)] {
            assert!(SourceName::parse(name).is_err(), "{name}");
        }
        assert_eq!(SourceName::fitted("Team_A").unwrap().as_str(), "team-a");
        assert_eq!(SourceName::fitted(&format!(".{}", "a".repeat(70))).unwrap().as_str().len(), 62);
        assert_eq!(SourceName::fitted("__"), None);
    }
}
