//! What a source of policies gives at one moment: its files, or the reason why it has none.
//!
//! Nothing here reads anything; `directory` makes these values, `intake` uses them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use holdfast_policy::parse::SourceFile;
use sha2::{Digest, Sha256};

/// All files of a source as they were at one moment, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSnapshot {
    pub files: Vec<SourceFile>,
    /// SHA-256 over names and texts: equal revisions are equal files.
    pub revision: String,
    /// The Git commit that the files are from, where the source tells it.
    pub git_revision: Option<String>,
}

impl SourceSnapshot {
    pub fn new(mut files: Vec<SourceFile>) -> SourceSnapshot {
        files.sort_by(|left, right| left.name.cmp(&right.name));
        let mut digest = Sha256::new();
        for file in &files {
            // Lengths keep the end of a name apart from the start of a text.
            digest.update((file.name.len() as u64).to_be_bytes());
            digest.update(&file.name);
            digest.update((file.text.len() as u64).to_be_bytes());
            digest.update(&file.text);
        }
        let mut revision = String::with_capacity(64);
        for byte in digest.finalize() {
            // Writing to a String can't fail.
            let _written = write!(revision, "{byte:02x}");
        }
        SourceSnapshot { files, revision, git_revision: None }
    }

    pub fn at_commit(self, git_revision: Option<String>) -> SourceSnapshot {
        SourceSnapshot { git_revision, ..self }
    }

    /// Tells whether anything about it is new: the files, or where they are from.
    pub fn mark(&self) -> String {
        format!("{} {}", self.revision, self.git_revision.as_deref().unwrap_or_default())
    }
}

/// Why a source gives no files. While it stands, what the source gave last stays in force and nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    #[error("{path} does not exist")]
    Missing { path: PathBuf },
    #[error("could not read {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} links to {target}, which does not exist")]
    DanglingLink { path: PathBuf, target: PathBuf },
    #[error("{path} holds no policy file (*.yaml or *.yml)")]
    Empty { path: PathBuf },
    #[error("the policy files of {origin} hold no policies")]
    NoPolicies { origin: String },
    #[error("found no {maps}")]
    NoConfigMap { maps: String },
    #[error("{path} is not UTF-8 text")]
    NotText { path: PathBuf },
    #[error("{path} is larger than {limit} bytes")]
    FileTooLarge { path: PathBuf, limit: u64 },
    #[error("the policy files in {path} are larger than {limit} bytes together")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{path} holds more than {limit} policy files")]
    TooManyFiles { path: PathBuf, limit: usize },
    #[error("{path} is nested deeper than {limit} folders")]
    TooDeep { path: PathBuf, limit: usize },
    #[error("{path} kept changing while it was read")]
    Unsettled { path: PathBuf },
}

/// What one read of a directory found.
#[derive(Debug)]
pub struct Reading {
    pub outcome: Result<SourceSnapshot, SourceProblem>,
    /// The folders whose changes may change the outcome, by their real paths.
    pub folders: BTreeSet<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_order_of_reading_does_not_change_the_revision() {
        let one = SourceSnapshot::new(vec![file("a", "1"), file("b", "2")]);
        let other = SourceSnapshot::new(vec![file("b", "2"), file("a", "1")]);
        assert_eq!(one, other);
    }

    #[test]
    fn text_that_moves_between_name_and_content_changes_the_revision() {
        let one = SourceSnapshot::new(vec![file("ab", "c")]);
        let other = SourceSnapshot::new(vec![file("a", "bc")]);
        assert_ne!(one.revision, other.revision);
    }
}
