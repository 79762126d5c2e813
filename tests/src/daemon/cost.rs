//! What a process costs: memory and processor time, as Linux counts them.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Linux counts processor time for user space in hundredths of a second, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The most memory it had resident, in bytes, since its start or since [`forget_peak`].
    pub peak_memory: u64,
    pub processor_time: Duration,
}

impl Cost {
    /// The processor time since an earlier look. The peak stays as it is.
    pub fn since(self, earlier: Cost) -> Cost {
        let processor_time = self.processor_time.saturating_sub(earlier.processor_time);
        Cost { peak_memory: self.peak_memory, processor_time }
    }
}

/// The peak of a process becomes what it has now.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    // proc_pid_clear_refs(5): 5 resets the peak.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("writing to clear_refs")
}

/// Of a process that runs.
pub(crate) fn of(pid: u32) -> anyhow::Result<Cost> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in its status")?;
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().context("parsing VmHWM")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading its times")?;
    let (_, fields) = stat.rsplit_once(") ").context("no name among its times")?;
    // After the name come the state and ten more fields; then user and system time.
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>();
    let processor_time = Duration::from_secs_f64(ticks.context("parsing its times")? / TICKS_PER_SECOND);
    Ok(Cost { peak_memory: kibibytes * 1024, processor_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_time() {
        let mut sum = 0_u64;
        while of(std::process::id()).expect("we run").processor_time < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(of(std::process::id()).expect("we run").peak_memory > 1 << 20);
    }
}
