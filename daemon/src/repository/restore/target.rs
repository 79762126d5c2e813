//! The folder that a restore writes below, and never out of: others may write there too meanwhile, and put links where a
//! folder was a moment ago. Every path is walked from the top, name by name, and no link is followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

/// Opens nothing but the name itself, and a name only: good for walking on from.
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe in the place of a file would have the opener wait for its other end.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// Until all of it is there, what is restored is nobody else's.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_FOLDER: Mode = Mode::RWXU;

pub(super) struct Target {
    top: OwnedFd,
}

/// Finds places below a target. Neighbours cost one walk.
pub(super) struct Walk<'t> {
    target: &'t Target,
    last: Option<(PathBuf, OwnedFd)>,
}

/// A name in a folder that was walked to.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
}

impl Target {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let top = rustix::fs::open(folder, STEP.difference(OFlags::NOFOLLOW), Mode::empty())?;
        Ok(Self { top })
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { target: self, last: None }
    }

    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut folder = self.top.try_clone()?;
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
            folder = rustix::fs::openat(&folder, name, STEP, Mode::empty())?;
        }
        Ok(folder)
    }
}

impl Walk<'_> {
    pub(super) fn to<'a>(&'a mut self, path: &'a Path) -> io::Result<Spot<'a>> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = match self.last.take() {
            Some((known, folder)) if known == parent => folder,
            Some(_) | None => self.target.folder(parent)?,
        };
        let (_, folder) = &*self.last.insert((parent.to_owned(), folder));
        Ok(Spot { folder: folder.as_fd(), name })
    }
}

impl Spot<'_> {
    /// What stands there, if anything does.
    pub(super) fn look(self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn make_folder(self) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self.folder, self.name, PRIVATE_FOLDER)?)
    }

    /// A folder with contents is not taken away.
    pub(super) fn remove(self, found: &Stat) -> io::Result<()> {
        let flags = if is_folder(found) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        Ok(rustix::fs::unlinkat(self.folder, self.name, flags)?)
    }

    pub(super) fn read(self) -> io::Result<(File, Stat)> {
        self.open(OFlags::RDONLY)
    }

    /// Makes the file where there is none.
    pub(super) fn write(self) -> io::Result<(File, Stat)> {
        self.open(OFlags::WRONLY | OFlags::CREATE)
    }

    /// The same, and nothing of what it held is left.
    pub(super) fn write_anew(self) -> io::Result<(File, Stat)> {
        self.open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
    }

    pub(super) fn read_folder(self) -> io::Result<(OwnedFd, Stat)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | FILE;
        let opened = rustix::fs::openat(self.folder, self.name, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&opened)?;
        Ok((opened, found))
    }

    /// Gives what stands here another name.
    pub(super) fn link_as(self, other: Spot<'_>) -> io::Result<()> {
        let Spot { folder, name } = other;
        Ok(rustix::fs::linkat(self.folder, self.name, folder, name, AtFlags::empty())?)
    }

    fn open(self, how: OFlags) -> io::Result<(File, Stat)> {
        let opened = rustix::fs::openat(self.folder, self.name, how | FILE, PRIVATE_FILE)?;
        let found = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(found.st_mode) {
            // Whoever put a device there would have it written to.
            FileType::RegularFile => Ok((File::from(opened), found)),
            _ => Err(io::Error::other("something else than a file stands there")),
        }
    }
}

pub(super) fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

pub(super) fn is_file(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_and_no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        for made in [&inside, &outside] {
            std::fs::create_dir(made).unwrap();
        }
        std::fs::write(outside.join("file"), "of the node").unwrap();
        symlink(&outside, inside.join("folder")).unwrap();
        symlink(outside.join("file"), inside.join("file")).unwrap();
        let target = Target::open(&inside).unwrap();
        let mut walk = target.walk();
        for path in ["folder/file", "../outside/file", "/etc/passwd", "..", ""] {
            assert!(walk.to(Path::new(path)).is_err(), "{path}");
        }
        let spot = walk.to(Path::new("file")).unwrap();
        assert!(spot.write().is_err() && spot.write_anew().is_err() && spot.read().is_err());
        assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "of the node");
        assert!(walk.to(Path::new("new")).unwrap().write().is_ok());
    }

    #[test]
    fn only_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(folder.path()).unwrap();
        let mut walk = target.walk();
        let spot = walk.to(Path::new("pipe")).unwrap();
        rustix::fs::mknodat(spot.folder, spot.name, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(spot.read().is_err() && spot.write().is_err());
        let spot = walk.to(Path::new("folder")).unwrap();
        spot.make_folder().unwrap();
        assert!(spot.read().is_err());
    }
}
