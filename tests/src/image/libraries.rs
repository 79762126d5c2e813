//! The libraries that a program is linked against, and the loader that brings them in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Their paths, under which the loader looks for them. None for a program that needs none.
pub(super) fn of(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("running ldd (Debian package libc-bin)")?;
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        if errors.contains("not a dynamic executable") {
            return Ok(Vec::new());
        }
        bail!("ldd of {} failed: {}", program.display(), errors.trim());
    }
    read(&told)
}

fn read(told: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in told.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "statically linked") {
        let (name, place) = match line.split_once(" => ") {
            Some((name, place)) => (name, place),
            None => (line, line),
        };
        let path = place.split(" (").next().unwrap_or_default();
        match path.strip_prefix('/') {
            Some(_) => paths.push(PathBuf::from(path)),
            // The kernel's own part of every process.
            None if name.starts_with("linux-vdso") => {}
            None => bail!("library {name} of the program is not on this machine"),
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_counts_and_what_the_kernel_brings_does_not() {
        let told = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f01)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f02)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f03)\n";
        let paths: Vec<String> = read(told).unwrap().iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib/x86_64-linux-gnu/libm.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(read("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_library_that_is_missing_is_told() {
        let error = read("\tlibfoo.so => not found\n").unwrap_err();
        assert!(error.to_string().contains("libfoo.so"), "{error}");
    }
}
