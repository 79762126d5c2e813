//! Processes that end together, at the latest with this process.
//!
//! A group has a directory and a process group, both watched by a small shell that leads the process group. Its
//! standard input is a pipe that only we hold: when we end in any way (return, panic, signal, SIGKILL) the
//! pipe closes, and the shell removes the directory and kills the process group, itself included. While the
//! shell lives nobody else can get the group's id, so nothing else can be hit. (PR_SET_PDEATHSIG would fire as
//! soon as the thread that forked ends, and leaves the directory.)

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tempfile::TempDir;

/// A script of this name in the group's directory is run before the group ends: it ends what a process group does
/// not hold together.
pub(crate) const AT_END: &str = "at-end.sh";

/// The directory is renamed first: a server that is still running then can't create files in it any more.
const WATCHDOG: &str = r#"read -r _
[ -f "$1/at-end.sh" ] && sh "$1/at-end.sh"
mv "$1" "$1.ended" && rm -rf "$1.ended"
kill -KILL 0"#;

pub(crate) struct Group {
    watchdog: Child,
    directory: TempDir,
}

impl Group {
    pub(crate) fn start(purpose: &str) -> anyhow::Result<Group> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("holdfast-{purpose}-"))
            .tempdir()
            .context("creating a temporary directory")?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the shell that ends the servers with this process")?;
        Ok(Group { watchdog, directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The id of the process group, which is the watchdog's own.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.watchdog.id()).expect("a process id is a positive i32")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = Pid::from_raw(self.id());
        // The watchdog is our child and not waited for yet, so the id is still the group's.
        if let Err(error) = killpg(id, Signal::SIGKILL) {
            eprintln!("testbed: killing process group {id}: {}", io::Error::from(error));
            return;
        }
        // All members are our children: when none is left to wait for, all have ended.
        let everyone = Pid::from_raw(-id.as_raw());
        while let Ok(_) | Err(Errno::EINTR) = waitpid(everyone, None) {}
    }
}
