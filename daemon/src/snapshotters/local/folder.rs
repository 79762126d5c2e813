//! The folder of a volume as the daemon sees it, and whom it belongs to: a snapshot holds what is in the folder, so owner and
//! mode of the folder itself travel as tags.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::{Error, seen};

const MODE_TAG: &str = "folder-mode";
const OWNER_TAG: &str = "folder-owner";
const MODE_BITS: u32 = 0o7777;

/// A folder that is there, below the root and not by a link that leads out of it.
pub(super) fn of(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let folder = resolve(root, &seen(root, path)?, path)?;
    let is_folder = std::fs::metadata(&folder).is_ok_and(|metadata| metadata.is_dir());
    if is_folder { Ok(folder) } else { Err(Error(format!("{path} is no folder here"))) }
}

/// Follows links, none of which may lead out of the root: they mean another place on the node than here.
pub(super) fn resolve(root: &Path, folder: &Path, path: &str) -> Result<PathBuf, Error> {
    let canonical = |path: &Path| {
        std::fs::canonicalize(path).map_err(|error| Error(format!("cannot find {}: {error}", path.display())))
    };
    let (root, folder) = (canonical(root)?, canonical(folder)?);
    if folder.starts_with(&root) {
        Ok(folder)
    } else {
        Err(Error(format!("{path} is a link that leads out of {}", root.display())))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    mode: u32,
    user: u32,
    group: u32,
}

impl Owner {
    pub(super) fn of(folder: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(folder)
            .map_err(|error| Error(format!("cannot read {}: {error}", folder.display())))?;
        Ok(Self { mode: metadata.mode() & MODE_BITS, user: metadata.uid(), group: metadata.gid() })
    }

    pub(super) fn tags(self) -> [(String, String); 2] {
        let Self { mode, user, group } = self;
        [(MODE_TAG.to_owned(), format!("{mode:04o}")), (OWNER_TAG.to_owned(), format!("{user}:{group}"))]
    }

    pub(super) fn from_tags(tags: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = |key: &str| tags.get(key).map_or("", String::as_str);
        let mode = u32::from_str_radix(text(MODE_TAG), 8).ok().filter(|mode| mode & !MODE_BITS == 0);
        let owner = text(OWNER_TAG).split_once(':');
        let owner = owner.and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        match (mode, owner) {
            (Some(mode), Some((user, group))) => Ok(Self { mode, user, group }),
            _ => Err(Error("the snapshot does not tell whom the volume's folder belongs to".to_owned())),
        }
    }

    pub(super) fn give(self, folder: &Path) -> Result<(), Error> {
        let Self { mode, user, group } = self;
        chown(folder, Some(user), Some(group))
            .and_then(|()| std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)))
            .map_err(|error| Error(format!("cannot set the owner of {}: {error}", folder.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_mode_travel_as_tags() {
        let owner = Owner { mode: 0o2770, user: 999, group: 1000 };
        assert_eq!(Owner::from_tags(&owner.tags().into()).unwrap(), owner);
        for (mode, of) in [("", "1:1"), ("0700", ""), ("0700", "1"), ("177777", "1:1"), ("abc", "1:1")] {
            let tags = [(MODE_TAG.to_owned(), mode.to_owned()), (OWNER_TAG.to_owned(), of.to_owned())];
            assert!(Owner::from_tags(&tags.into()).is_err(), "{mode} {of}");
        }
    }
}
