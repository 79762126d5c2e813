//! What can be wrong with one entry of an archive that is otherwise sound.

/// An entry that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProblem {
    /// The entry's name, shortened where it is absurdly long.
    pub entry: String,
    pub reason: ProblemReason,
}

/// Whether an item is missing because of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A file that is no item; nothing is missing.
    Warning,
    /// What should have been an item was left out.
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemReason {
    #[error("is a link")]
    Link,
    #[error("is neither a file nor a folder")]
    NotAFile,
    #[error("has a name that leads out of the archive or can't be a path")]
    UnsafeName,
    #[error("has a name that is not text")]
    NameNotText,
    #[error("is there twice")]
    Duplicate,
    #[error("is not a JSON object of Kubernetes: {0}")]
    NotJson(String),
    #[error("has no {0}")]
    Missing(&'static str),
    #[error("says that its {field} is {object:?}, the path says {path:?}")]
    Disagrees { field: &'static str, object: String, path: String },
    #[error("is not part of the archive's layout")]
    Stray,
}

impl ProblemReason {
    pub fn severity(&self) -> Severity {
        match self {
            Self::Stray => Severity::Warning,
            Self::Link
            | Self::NotAFile
            | Self::UnsafeName
            | Self::NameNotText
            | Self::Duplicate
            | Self::NotJson(_)
            | Self::Missing(_)
            | Self::Disagrees { .. } => Severity::Error,
        }
    }
}
