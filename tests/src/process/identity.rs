//! Which process is meant: an id alone may be another process by now, an id with its start time is not.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::POLL;

/// After this long a server that was asked to end is killed.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// As the system tells it; compared, never interpreted.
    pub(crate) started: String,
}

impl Identity {
    /// `None` when no such process runs.
    pub(crate) fn of(name: &str, pid: u32) -> Option<Identity> {
        Some(Identity { name: name.to_owned(), pid, started: start_time(pid)? })
    }

    pub(crate) fn is_running(&self) -> bool {
        start_time(self.pid).as_ref() == Some(&self.started)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        let pid = Pid::from_raw(i32::try_from(self.pid).context("a process id out of range")?);
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("ending {} ({pid})", self.name)),
        }
    }
}

/// Ends those that still run, politely first, and returns when none of them does.
pub(crate) fn end_all(processes: &[Identity]) -> anyhow::Result<()> {
    for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, GRACE)] {
        for process in processes {
            process.signal(signal)?;
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !processes.iter().any(Identity::is_running) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
    let left: Vec<String> = processes
        .iter()
        .filter(|process| process.is_running())
        .map(|process| format!("{} ({})", process.name, process.pid))
        .collect();
    anyhow::bail!("still running after SIGKILL: {}", left.join(", "))
}

/// `None` for a process that does not exist, and for one that has ended and is only waited for.
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it are plain: state is the third of all,
    // the start time (in clock ticks since boot) the twenty-second.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{} {}", boot.trim(), fields.nth(18)?))
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_ended_process_that_is_not_waited_for_does_not_run() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let identity = Identity::of("sleep", child.id()).expect("it runs");
        assert!(identity.is_running());
        end_all(std::slice::from_ref(&identity)).expect("it ends");
        assert!(!identity.is_running());
        assert!(!child.wait().expect("it is ours").success());
    }

    #[test]
    fn a_process_that_started_at_another_time_is_left_alone() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let real = Identity::of("sleep", child.id()).expect("it runs");
        let earlier = Identity { started: "some other time".to_owned(), ..real.clone() };
        end_all(&[earlier]).expect("nothing to end");
        assert!(real.is_running());
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}
