//! `holdfast schema`: prints the JSON Schema of policy documents, for editors and other tools.

use std::process::ExitCode;

use anyhow::Context as _;

use super::policies;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    let schema = holdfast_policy::schema::json_schema();
    let mut text = serde_json::to_string_pretty(&schema).context("writing the schema as JSON")?;
    text.push('\n');
    policies::print(&text)?;
    Ok(policies::CLEAN)
}
