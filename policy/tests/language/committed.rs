//! Expected output as committed files, rewritten with UPDATE=1.

use std::path::{Path, PathBuf};

use pretty_assertions::assert_eq;

/// Files of a folder with an extension, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|other| other == extension))
        .collect();
    files.sort();
    files
}

/// Compares with the committed text, or commits it.
pub(crate) fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        committed,
        text,
        "{} is stale: read the change, then run the tests with UPDATE=1",
        path.display()
    );
}
