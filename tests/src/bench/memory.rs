//! Memory as it is on a machine that has run for long.
//!
//! A virtual machine may be given a page only when it first writes to it, which costs more than all that is measured, and give
//! it back seconds after it was freed. Whoever runs first would then pay for others.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use tempfile::NamedTempFile;

/// What the kernel likes to keep free.
const LEFT: u64 = 300 * 1024 * 1024;
/// The kernel drops some of a file while it is read, and begins with others' memory late.
const ROUNDS: usize = 6;

/// Fills free memory with what may be dropped at once: the cache of new files below `folder` that have no content.
pub(super) fn fill(folder: &Path) -> anyhow::Result<()> {
    for _ in 0..ROUNDS {
        let size = free()?.saturating_sub(LEFT);
        if size < LEFT {
            break;
        }
        let mut file = NamedTempFile::new_in(folder).context("creating a file without content")?;
        file.as_file().set_len(size).context("making a file large")?;
        io::copy(file.as_file_mut(), &mut io::sink()).context("reading a file without content")?;
        // Its cache goes with it, so it stays as long as the folder does.
        file.keep().context("keeping a file without content")?;
    }
    Ok(())
}

fn free() -> anyhow::Result<u64> {
    let facts = fs::read_to_string("/proc/meminfo").context("reading how much memory is free")?;
    let free = facts.lines().find_map(|line| line.strip_prefix("MemFree:")?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = free.context("/proc/meminfo tells of free memory")?.parse()?;
    Ok(kibibytes * 1024)
}
