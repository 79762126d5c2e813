//! Everything of a file but its content: owner, mode, extended attributes and times; and files that have no content at all,
//! which are made here.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};

use super::differences::{compare, kind_of};
use super::target::Spot;

/// Of a mode: those for reading, writing and execution, and the three special ones.
pub(super) const PERMISSIONS: u32 = 0o7777;
const NANOSECONDS: i128 = 1_000_000_000;
/// Labels are the node's matter: those of the old pod would lock the new one out.
const LABEL: &str = "security.selinux";

/// The snapshot's mode, which is written as Go's `FileMode`.
pub(super) fn mode(node: &Node) -> Option<Mode> {
    let go = node.meta.mode?;
    let special = [(23, 0o4000), (22, 0o2000), (20, 0o1000)];
    let special = special.iter().filter(|(bit, _)| go & (1 << bit) != 0).map(|(_, mode)| mode).sum::<u32>();
    Some(Mode::from_bits_truncate(go & 0o777 | special))
}

/// Of a file or folder that is there. Gives what is not as in the snapshot.
pub(super) fn of_opened(opened: impl AsFd, found: &Stat, node: &Node) -> Result<(), String> {
    let opened = opened.as_fd();
    if let Some((owner, group)) = new_owner(found, &node.meta) {
        rustix::fs::fchown(opened, owner, group).map_err(|error| format!("owner: {error}"))?;
    }
    extended(opened, &node.meta);
    if let Some(mode) = mode(node) {
        rustix::fs::fchmod(opened, mode).map_err(|error| format!("mode: {error}"))?;
    }
    if let Some(times) = times(&node.meta) {
        rustix::fs::futimens(opened, &times).map_err(|error| format!("times: {error}"))?;
    }
    compare(&rustix::fs::fstat(opened).map_err(|error| error.to_string())?, node)
}

/// Makes a link, a pipe, a socket or a device with all that belongs to it.
pub(super) fn make(spot: Spot<'_>, node: &Node) -> Result<(), String> {
    let Spot { folder, name } = spot;
    let wanted = mode(node).unwrap_or(Mode::RUSR | Mode::WUSR);
    let made = match &node.node_type {
        NodeType::Symlink { .. } => rustix::fs::symlinkat(node.node_type.to_link(), folder, name),
        NodeType::Dev { device } | NodeType::Chardev { device } => {
            rustix::fs::mknodat(folder, name, kind_of(node), wanted, *device)
        }
        NodeType::Fifo | NodeType::Socket => rustix::fs::mknodat(folder, name, kind_of(node), wanted, 0),
        NodeType::File | NodeType::Dir => return Ok(()),
    };
    made.map_err(|error| error.to_string())?;
    let found = spot.look().map_err(|error| error.to_string())?.ok_or("it is gone")?;
    if let Some((owner, group)) = new_owner(&found, &node.meta) {
        rustix::fs::chownat(folder, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| format!("owner: {error}"))?;
    }
    if kind_of(node) != FileType::Symlink && mode(node).is_some() {
        change_mode(spot, wanted).map_err(|error| format!("mode: {error}"))?;
    }
    if let Some(times) = times(&node.meta) {
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| format!("times: {error}"))?;
    }
    compare(&spot.look().map_err(|error| error.to_string())?.ok_or("it is gone")?, node)
}

/// Of what must not be opened, without following a link that took its place.
fn change_mode(spot: Spot<'_>, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let itself = rustix::fs::openat(spot.folder, spot.name, flags, Mode::empty())?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", itself.as_raw_fd()), mode)
}

fn new_owner(found: &Stat, wanted: &Metadata) -> Option<(Option<Uid>, Option<Gid>)> {
    let owner = wanted.uid.filter(|uid| *uid != found.st_uid).map(Uid::from_raw_unchecked);
    let group = wanted.gid.filter(|gid| *gid != found.st_gid).map(Gid::from_raw_unchecked);
    (owner.is_some() || group.is_some()).then_some((owner, group))
}

/// A file system that has none is no reason to give up the file.
fn extended(opened: BorrowedFd<'_>, metadata: &Metadata) {
    let wanted = &metadata.extended_attributes;
    let names = names(opened).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name != LABEL.as_bytes() && !wanted.iter().any(|it| it.name.as_bytes() == name) {
            told(rustix::fs::fremovexattr(opened, name), name);
        }
    }
    for attribute in wanted.iter().filter(|it| it.name != LABEL) {
        let (name, value) = (attribute.name.as_str(), attribute.value.as_deref().unwrap_or_default());
        told(rustix::fs::fsetxattr(opened, name, value, XattrFlags::empty()), name.as_bytes());
    }
}

/// Most files have none.
fn names(opened: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let mut names = vec![0; rustix::fs::flistxattr_query(opened)?];
    if !names.is_empty() {
        let there = rustix::fs::flistxattr(opened, names.as_mut_slice())?;
        names.truncate(there);
    }
    Ok(names)
}

fn told(done: rustix::io::Result<()>, name: &[u8]) {
    if let Err(error) = done {
        let name = String::from_utf8_lossy(name);
        tracing::warn!(%name, error = %error, "an extended attribute is not as in the snapshot");
    }
}

fn times(metadata: &Metadata) -> Option<Timestamps> {
    let time = |time: rustic_core::jiff::Timestamp| Timespec {
        tv_sec: i64::try_from(time.as_nanosecond().div_euclid(NANOSECONDS)).unwrap_or_default(),
        tv_nsec: i64::try_from(time.as_nanosecond().rem_euclid(NANOSECONDS)).unwrap_or_default(),
    };
    let modified = metadata.mtime?;
    let accessed = metadata.atime.unwrap_or(modified);
    Some(Timestamps { last_access: time(accessed), last_modification: time(modified) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        let of = |go: u32| {
            mode(&Node { meta: Metadata { mode: Some(go), ..Metadata::default() }, ..Node::default() })
                .map(|mode| mode.bits())
        };
        assert_eq!(of(0o640), Some(0o640));
        assert_eq!(of(1 << 31 | 0o755), Some(0o755));
        assert_eq!(of(1 << 23 | 1 << 22 | 1 << 20 | 0o751), Some(0o7751));
    }

    #[test]
    fn times_before_1970_keep_their_parts_of_a_second() {
        let mtime = rustic_core::jiff::Timestamp::new(-1, -500_000_000).ok();
        let times = times(&Metadata { mtime, ..Metadata::default() }).unwrap();
        assert_eq!((times.last_modification.tv_sec, times.last_modification.tv_nsec), (-2, 500_000_000));
        assert_eq!(times.last_access.tv_sec, -2);
    }
}
