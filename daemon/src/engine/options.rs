//! What the daemon is told once and every run goes by.

/// The same for all runs of a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    pub api_versions: ApiVersions,
    pub log_format: LogFormat,
}

/// Which versions of an object count, where the API server serves several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ApiVersions {
    /// The one that the API server prefers.
    #[default]
    Preferred,
    /// Each is an item of its own.
    All,
}

/// How the lines of a run's log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
