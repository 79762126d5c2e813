//! The Git commit that a directory is checked out at.
//!
//! In: a directory. Out: the commit that `.git` in it, or in a folder above it, names. Read only: a folder, or a file
//! that points to one as in worktrees and in what git-sync leaves. Whether files were changed since is not looked at.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// `HEAD` and references hold a line; a list of packed references is cut here, and what comes after it not found.
const LINE_BYTES: u64 = 4096;
const PACKED_BYTES: u64 = 16 << 20;
/// Symbolic references that point to each other end here.
const HOPS: usize = 5;

/// None where there is no repository, or it names no commit yet.
pub fn revision(directory: &Path) -> Option<String> {
    // What is followed is what is read: git-sync exchanges a link.
    let real = fs::canonicalize(directory).ok()?;
    let repository = real.ancestors().find_map(repository)?;
    // References of a worktree live in the repository that it belongs to.
    let shared = match text(&repository.join("commondir"), LINE_BYTES) {
        Some(path) => repository.join(path),
        None => repository.clone(),
    };
    let mut value = text(&repository.join("HEAD"), LINE_BYTES)?;
    for _ in 0..HOPS {
        let Some(reference) = value.strip_prefix("ref:").map(str::trim) else {
            return is_commit(&value).then_some(value);
        };
        if !is_reference(reference) {
            return None;
        }
        let own = text(&repository.join(reference), LINE_BYTES);
        value = own
            .or_else(|| text(&shared.join(reference), LINE_BYTES))
            .or_else(|| packed(&shared.join("packed-refs"), reference))?;
    }
    None
}

fn repository(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    let kind = fs::metadata(&git).ok()?;
    if kind.is_dir() {
        return Some(git);
    }
    let pointer = text(&git, LINE_BYTES)?;
    Some(folder.join(pointer.strip_prefix("gitdir:")?.trim()))
}

fn packed(path: &Path, reference: &str) -> Option<String> {
    let list = text(path, PACKED_BYTES)?;
    let mut entries = list.lines().filter_map(|line| line.split_once(' '));
    entries.find(|(_, name)| *name == reference).map(|(commit, _)| commit.to_owned())
}

fn text(path: &Path, limit: u64) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(limit).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `refs/heads/main`, and nothing that leads out of the repository.
fn is_reference(name: &str) -> bool {
    name.starts_with("refs/") && !name.split('/').any(|step| matches!(step, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_commit_of_a_branch_a_packed_branch_and_a_detached_head_is_found_from_below() {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("clusters/prod");
        fs::create_dir_all(&policies).unwrap();
        let git = folder.path().join(".git");
        write(&git.join("HEAD"), "ref: refs/heads/main\n");
        assert_eq!(revision(&policies), None);
        write(
            &git.join("packed-refs"),
            &format!("# pack-refs with: peeled\n{ONE} refs/heads/main\n^{TWO}\n"),
        );
        assert_eq!(revision(&policies).as_deref(), Some(ONE));
        write(&git.join("refs/heads/main"), &format!("{TWO}\n"));
        assert_eq!(revision(&policies).as_deref(), Some(TWO));
        write(&git.join("HEAD"), &format!("{ONE}\n"));
        assert_eq!(revision(&policies).as_deref(), Some(ONE));
    }

    #[test]
    fn the_worktree_behind_a_link_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(&root.join("worktrees/a/policies/shop.yaml"), "");
        write(&root.join("worktrees/a/.git"), "gitdir: ../../.git/worktrees/a\n");
        write(&root.join(".git/worktrees/a/HEAD"), "ref: refs/heads/side\n");
        write(&root.join(".git/worktrees/a/commondir"), "../..\n");
        write(&root.join(".git/refs/heads/side"), ONE);
        symlink("worktrees/a", root.join("current")).unwrap();
        assert_eq!(revision(&root.join("current/policies")).as_deref(), Some(ONE));
    }

    #[test]
    fn nothing_that_is_no_commit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        for head in ["", "secret", "ref: ../../etc/passwd", "ref: refs/../../x", "ref: refs/heads/loop"] {
            write(&git.join("HEAD"), head);
            write(&git.join("refs/heads/loop"), "ref: refs/heads/loop");
            assert_eq!(revision(folder.path()), None, "{head}");
        }
    }
}
