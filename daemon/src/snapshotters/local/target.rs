//! Where a volume comes back: at its old place where nothing is in the way, and beside it otherwise. Data that is there is
//! never written over.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::folder::resolve;
use super::{Error, seen};

/// What a new file system may have in it.
const LOST_AND_FOUND: &str = "lost+found";

/// One place.
#[derive(Debug)]
pub(super) struct Target {
    /// As the node names it.
    path: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Filled under another name, and named when it is whole.
    Renamed { staging: PathBuf, folder: PathBuf },
    /// A file system of its own. The mark tells that what is in it is a half-done restore of ours.
    InPlace { folder: PathBuf, mark: PathBuf },
    /// An earlier attempt has finished it.
    Done,
}

impl Target {
    /// `token` names the volume of this restore.
    pub(super) fn choose(root: &Path, path: &str, token: &str) -> Result<Self, Error> {
        let wanted = seen(root, path)?;
        let (Some(above), Some(name)) = (wanted.parent(), wanted.file_name()) else {
            return Err(Error(format!("{path} is no folder of its own")));
        };
        fs::create_dir_all(above).map_err(|error| failed("create", above, &error))?;
        let above = resolve(root, above, path)?;
        let folder = above.join(name);
        let own = |kind| Ok(Self { path: path.to_owned(), kind });
        let staging = above.join(format!(".holdfast-{token}"));
        let metadata = match fs::symlink_metadata(&folder) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return own(Kind::Renamed { staging, folder });
            }
            Err(error) => return Err(failed("read", &folder, &error)),
        };
        let device = fs::metadata(&above).map_err(|error| failed("read", &above, &error))?.dev();
        if metadata.is_dir() && metadata.dev() != device {
            let mark = folder.join(format!(".holdfast-{token}"));
            if !mark.exists() && !is_empty(&folder, &[LOST_AND_FOUND])? {
                return Err(Error(format!(
                    "{path} is a file system with data in it: move the data away first"
                )));
            }
            return own(Kind::InPlace { folder, mark });
        }
        if metadata.is_dir() && is_empty(&folder, &[])? {
            return own(Kind::Renamed { staging, folder });
        }
        let beside = format!("{}-{token}", path.trim_end_matches('/'));
        let folder = above.join(format!("{}-{token}", name.to_string_lossy()));
        let kind = if folder.exists() { Kind::Done } else { Kind::Renamed { staging, folder } };
        Ok(Self { path: beside, kind })
    }

    /// As the node names it.
    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    /// An empty folder to restore into; None where nothing is left to do.
    pub(super) fn begin(&self) -> Result<Option<PathBuf>, Error> {
        match &self.kind {
            Kind::Done => Ok(None),
            Kind::Renamed { staging, folder: _ } => {
                remove(staging)?;
                // Nobody else reads it before it has its owner.
                let made = fs::DirBuilder::new().mode(0o700).create(staging);
                made.map_err(|error| failed("create", staging, &error))?;
                Ok(Some(staging.clone()))
            }
            Kind::InPlace { folder, mark } => {
                fs::File::create(mark).map_err(|error| failed("create", mark, &error))?;
                for entry in entries(folder)? {
                    if entry != *mark && entry.file_name() != Some(LOST_AND_FOUND.as_ref()) {
                        remove(&entry)?;
                    }
                }
                Ok(Some(folder.clone()))
            }
        }
    }

    pub(super) fn finish(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Done => Ok(()),
            Kind::Renamed { staging, folder } => {
                fs::rename(staging, folder).map_err(|error| failed("name", folder, &error))
            }
            Kind::InPlace { folder: _, mark } => remove(mark),
        }
    }

    /// Leaves nothing half done that could be taken for a volume.
    pub(super) fn give_up(&self) {
        match &self.kind {
            Kind::Renamed { staging, folder: _ } => {
                if let Err(error) = remove(staging) {
                    tracing::warn!(error = %error, "left files of a restore that failed");
                }
            }
            // The mark tells.
            Kind::InPlace { .. } | Kind::Done => {}
        }
    }
}

fn is_empty(folder: &Path, but: &[&str]) -> Result<bool, Error> {
    let is_extra = |entry: &PathBuf| !but.iter().any(|name| entry.file_name() == Some(name.as_ref()));
    Ok(!entries(folder)?.iter().any(is_extra))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(|error: io::Error| failed("list", folder, &error))
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| failed("remove", path, &error))
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123";

    #[test]
    fn a_volume_comes_back_at_its_place_and_never_over_data() {
        let root = tempfile::tempdir().unwrap();
        let path = "/srv/data";
        let choose = || Target::choose(root.path(), path, TOKEN).unwrap();
        let here = root.path().join("srv/data");

        let absent = choose();
        let staging = absent.begin().unwrap().unwrap();
        fs::write(staging.join("file"), "restored").unwrap();
        assert!(!here.exists());
        absent.finish().unwrap();
        assert_eq!(
            (absent.path().as_str(), fs::read(here.join("file")).unwrap()),
            (path, b"restored".to_vec())
        );

        let beside = choose();
        assert_eq!(beside.path(), "/srv/data-0123");
        let staging = beside.begin().unwrap().unwrap();
        beside.give_up();
        assert!(!staging.exists());
        beside.begin().unwrap();
        beside.finish().unwrap();
        let again = choose();
        assert_eq!((again.path().as_str(), again.begin().unwrap()), ("/srv/data-0123", None));

        fs::remove_file(here.join("file")).unwrap();
        assert_eq!(choose().path(), path);
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", root.path().join("out")).unwrap();
        for path in ["/out/data", "/../data", "data", "/"] {
            assert!(Target::choose(root.path(), path, TOKEN).is_err(), "{path}");
        }
    }
}
