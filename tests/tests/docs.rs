//! What documents quote is what the programs say, and what they link to is there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_owned()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of this checkout") {
        let path = entry.expect("an entry of a folder of this checkout").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// Of one table row: what is quoted in its first cell.
fn quoted(row: &str) -> Vec<&str> {
    let first = row.trim_start_matches('|').split(" | ").next().unwrap_or_default();
    first.split('`').skip(1).step_by(2).collect()
}

/// Text without what Rust puts between the pieces of a long string, and with every placeholder as `…`.
fn plain(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push('…');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

#[test]
fn every_message_of_the_troubleshooting_guide_is_one_of_the_program() {
    let mut sources = String::new();
    for folder in ["daemon/src", "policy/src"] {
        for file in files(&root().join(folder), "rs") {
            let text = std::fs::read_to_string(file).unwrap();
            // A line break behind a backslash is none in the string.
            let joined: Vec<&str> = text.split("\\\n").map(str::trim_start).collect();
            sources.push_str(&joined.concat());
        }
    }
    let sources = format!("{sources}\n{}", plain(&sources));
    let guide = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let mut count = 0;
    // What webhooks say is Kubernetes' own.
    for message in rows.flat_map(quoted).filter(|message| *message != "admission webhook") {
        count += 1;
        for piece in message.split('…').map(str::trim).filter(|piece| !piece.is_empty()) {
            assert!(sources.contains(piece), "{piece:?} of {message:?} is no message of the program");
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = files(&root().join("docs"), "md");
    documents.extend([root().join("README.md"), root().join("ARCHITECTURE.md")]);
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = document.parent().unwrap().join(path);
            assert!(target.exists(), "{} links to {link}", document.display());
        }
    }
}
