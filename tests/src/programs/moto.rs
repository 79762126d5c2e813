//! Moto, which stands in for AWS' EC2: Python packages in a folder of their own.

use std::path::PathBuf;

use super::installed::{self, Packages};

const PACKAGES: Packages = Packages {
    name: "ec2server",
    files: &[("requirements.txt", include_str!("../../ec2server/requirements.txt"))],
    main: "bin/python",
    commands: &[
        &["python3", "-m", "venv", "."],
        &[
            "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--requirement",
            "requirements.txt",
        ],
    ],
    lacking: "tests of EBS snapshots run moto, but there is no `python3` on the PATH: install Python with its venv module",
};

/// The Python that has it.
pub(crate) async fn install() -> anyhow::Result<PathBuf> {
    installed::install(&PACKAGES).await
}
