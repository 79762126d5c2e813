//! Server processes: started with a log file and nothing of ours kept open, told apart from later processes
//! with the same id, and ended either with us ([`Group`]) or on request ([`identity`]).

mod group;
mod identity;

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;

pub(crate) use group::{AT_END, Group};
pub(crate) use identity::{Identity, end_all};

/// How often a condition of a server is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// What to run; `log` takes its standard output and error.
pub(crate) struct Launch<'a> {
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
}

/// How long a server lives.
#[derive(Clone, Copy)]
pub(crate) enum Lifetime<'a> {
    /// It ends when the group does, which is at the latest when this process ends, however that happens.
    With(&'a Group),
    /// It stays when this process ends, in a session of its own.
    Standing,
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) log: PathBuf,
    child: Child,
}

impl Server {
    pub(crate) fn start(launch: Launch<'_>, lifetime: Lifetime<'_>) -> anyhow::Result<Server> {
        let Launch { name, program, arguments, environment, log } = launch;
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("opening {} twice", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).stdin(Stdio::null()).stdout(output).stderr(errors);
        match lifetime {
            Lifetime::With(group) => {
                command.process_group(group.id());
            }
            Lifetime::Standing => {
                // Where it was started may go away meanwhile.
                command.current_dir("/");
                in_a_session_of_its_own(&mut command);
            }
        }
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Server { name, log, child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `None` when it has ended already.
    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::of(self.name, self.id())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("waiting for {}", self.name))
    }

    pub(crate) fn log_text(&self) -> String {
        read_log(&self.log)
    }

    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

fn in_a_session_of_its_own(command: &mut Command) {
    let detach = || {
        // Files that a careless parent left open to us (a shell's pipe, a lock) end here; an old kernel that
        // does not know the call keeps them.
        #[cfg(target_os = "linux")]
        #[expect(unsafe_code, reason = "no safe wrapper marks all files at once")]
        // SAFETY: only marks file descriptors as close-on-exec, so that std's own pipe still works until then.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        nix::unistd::setsid().map(drop).map_err(io::Error::from)
    };
    #[expect(unsafe_code, reason = "std can't start a process in a new session yet")]
    // SAFETY: between fork and exec only system calls run, which are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(detach);
    }
}

fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The last lines of a log, indented, under its path: for error messages and failed tests.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 25;
    let text = read_log(path);
    let lines: Vec<&str> = text.lines().collect();
    let mut tail = format!("{}:", path.display());
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        tail.push_str("\n    ");
        tail.push_str(line);
    }
    tail
}
