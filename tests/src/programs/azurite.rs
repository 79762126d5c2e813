//! Azurite, which stands in for Azure's blob storage: an npm package.

use std::path::PathBuf;

use super::installed::{self, Packages};

const PACKAGES: Packages = Packages {
    name: "azureserver",
    files: &[
        ("package.json", include_str!("../../azureserver/package.json")),
        ("package-lock.json", include_str!("../../azureserver/package-lock.json")),
    ],
    // The blob server.
    main: "node_modules/azurite/dist/src/blob/main.js",
    // No package's scripts: what they would build, the blob server doesn't need.
    commands: &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]],
    lacking: "tests of the azure provider run Azurite, but there is no `npm` on the PATH: install Node.js with npm",
};

/// The script that `node` runs.
pub(crate) async fn install() -> anyhow::Result<PathBuf> {
    installed::install(&PACKAGES).await
}
