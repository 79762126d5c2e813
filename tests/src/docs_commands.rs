//! Commands of a document, run as its reader would run them.
//!
//! In: a document of `docs/`, whose fenced `sh` blocks are the commands; out: what they printed. A block ends at its first
//! command that fails. Blocks of other languages are there to be read. Variables that the document tells the reader to set
//! are set by the test; files that a block leaves are there for the next one, variables are not.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

use crate::daemon;
use crate::programs::{self, Program};

/// For one block.
const PATIENCE: Duration = Duration::from_secs(400);
/// What a reader's checkout has that commands name.
const OF_A_CHECKOUT: [&str; 3] = ["deploy", "examples", "schemas"];

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The title of the section that it stands in.
    pub section: String,
    /// Its first line in the document.
    pub line: usize,
    pub text: String,
}

/// Whoever follows a document: a checkout, programs and a cluster of its own.
pub struct Reader {
    folder: tempfile::TempDir,
    environment: Vec<(String, OsString)>,
}

/// The `sh` blocks of `docs/NAME`.
pub fn blocks(name: &str) -> anyhow::Result<Vec<Block>> {
    let path = root().join("docs").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(read(&text))
}

fn read(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    // The fence's language, and the lines behind it.
    let mut open: Option<(String, usize, Vec<&str>)> = None;
    for (number, line) in text.lines().enumerate() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.trim().to_owned(), number + 2, Vec::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut section);
                }
            }
            (Some((language, line, lines)), Some(_)) => {
                if language == "sh" {
                    blocks.push(Block { section: section.clone(), line, text: lines.join("\n") });
                }
            }
            (Some((language, first, mut lines)), None) => {
                lines.push(line);
                open = Some((language, first, lines));
            }
        }
    }
    blocks
}

impl Reader {
    /// One whose kubectl, helm and holdfast reach the cluster of `kubeconfig`. `testbed` is the program behind `cargo image`
    /// and its like.
    pub async fn new(kubeconfig: &Path, testbed: &Path) -> anyhow::Result<Reader> {
        let folder = tempfile::tempdir().context("making a folder for a reader")?;
        let programs = folder.path().join("bin");
        std::fs::create_dir(&programs).context("making a folder for programs")?;
        let holdfast = daemon::program().await?;
        for (name, program) in [
            ("kubectl", programs::locate(Program::Kubectl).await?),
            ("helm", programs::locate(Program::Helm).await?),
            ("holdfast", holdfast.to_owned()),
            ("kubectl-holdfast", holdfast.to_owned()),
            // Its first argument is one of the aliases that this checkout has for it.
            ("cargo", testbed.to_owned()),
        ] {
            symlink(&program, programs.join(name)).with_context(|| format!("linking {name}"))?;
        }
        for name in OF_A_CHECKOUT {
            let copied = std::process::Command::new("cp")
                .arg("-r")
                .args([root().join(name), folder.path().join(name)])
                .status()
                .context("running cp")?;
            anyhow::ensure!(copied.success(), "cp of {name} failed");
        }
        let mut path = programs.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut reader = Reader { folder, environment: Vec::new() };
        reader.set("PATH", path);
        reader.set("HOME", reader.folder.path().to_owned());
        reader.set("KUBECONFIG", kubeconfig);
        reader.set("HOLDFAST_BIN", holdfast);
        Ok(reader)
    }

    /// What the document tells its reader to set.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Where the commands run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a block printed.
    pub async fn run(&self, block: &Block) -> anyhow::Result<String> {
        let Block { section, line, text } = block;
        let mut command = Command::new("sh");
        command
            .args(["-euc", text])
            .current_dir(self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("the block at line {line} ({section}) does not end"))?
            .context("running a shell")?;
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        if !ended.status.success() {
            let errors = String::from_utf8_lossy(&ended.stderr);
            bail!("the block at line {line} ({section}) failed ({}):\n{output}{errors}", ended.status);
        }
        Ok(output)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each document with commands is followed.
    const FOLLOWED: [(&str, &str); 4] = [
        ("disaster-recovery.md", "tests/node/docs.rs"),
        ("gitops.md", "tests/node/docs.rs"),
        ("install.md", "tests/node/docs.rs"),
        ("migrate-from-velero.md", "tests/node/docs/migration.rs"),
    ];

    #[test]
    fn every_document_with_commands_is_followed_by_a_test() {
        let mut with_commands = Vec::new();
        for entry in std::fs::read_dir(root().join("docs")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") && !blocks(&name).unwrap().is_empty() {
                with_commands.push(name);
            }
        }
        with_commands.sort();
        assert_eq!(with_commands, FOLLOWED.map(|(name, _)| name));
        for (name, test) in FOLLOWED {
            let test = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(test)).unwrap();
            assert!(test.contains(&format!("blocks({name:?})")), "{name}");
        }
    }

    #[test]
    fn only_blocks_of_a_shell_are_commands() {
        let text = "# Title\n## One\n```sh\nfirst\nsecond\n```\n```yaml\nsh: {}\n```\n## Two\n```\n## no title\n```\n```sh\nthird\n```\n";
        let block = |section: &str, line, text: &str| Block {
            section: section.to_owned(),
            line,
            text: text.to_owned(),
        };
        assert_eq!(read(text), [block("One", 4, "first\nsecond"), block("Two", 15, "third")]);
    }
}
