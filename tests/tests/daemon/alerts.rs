//! Alerts and the dashboard: they are well formed, fire when they should, and ask only for what the daemon exposes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use holdfast_policy::velero::{Schedule, ScheduleSpec};
use holdfast_tests::command::promtool;
use holdfast_tests::waiting::until;
use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::home::{Home, PATIENCE, backup_of};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring").join(name)
}

/// The names of series in an expression.
fn names(expression: &str) -> impl Iterator<Item = String> + '_ {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("velero_") || word.starts_with("holdfast_")).map(str::to_owned)
}

/// Everything below that is under this key.
fn under(value: &Value, key: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get(key).and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(|value| under(value, key))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| under(item, key)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_well_formed_and_fire_when_they_should() -> anyhow::Result<()> {
    let rules = file("rules.yaml").display().to_string();
    let checked = promtool(["check", "rules", "--lint-fatal", &rules]).await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    let tried = promtool(["test", "rules", &file("rules_test.yaml").display().to_string()]).await?;
    assert_eq!(tried.code, 0, "{tried:?}");
    // An alert that no test names may never fire.
    let tests = fs::read_to_string(file("rules_test.yaml"))?;
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(rules)?)?;
    for alert in under(&rules, "alert") {
        assert!(tests.matches(&format!("alertname: {alert}")).count() >= 2, "{alert} is not tried both ways");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_dashboard_ask_for_what_a_daemon_exposes() -> anyhow::Result<()> {
    let home = Home::new("alerts").await?;
    let policies = tempfile::tempdir()?;
    let daemon = home.daemon(&[&format!("--policies=main={}", policies.path().display())]).await?;
    home.local_location().await?;
    let spec = ScheduleSpec {
        schedule: "0 0 1 1 *".to_owned(),
        template: backup_of(&home.namespace),
        ..ScheduleSpec::default()
    };
    home.runs.create(&Schedule::new("yearly", spec)).await?;

    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file("dashboard.json"))?)?;
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(file("rules.yaml"))?)?;
    let expressions = [under(&dashboard, "expr"), under(&rules, "expr")].concat();
    let wanted: BTreeSet<String> = expressions.iter().flat_map(|expression| names(expression)).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    // Series, and not only families that have none.
    let all_there = async || {
        let text = reqwest::get(daemon.metrics_url()).await?.text().await?;
        let series: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        Ok(wanted.iter().all(|name| series.contains(name.as_str())).then_some(()))
    };
    until("every series that is asked for", PATIENCE, all_there).await?;
    let text = reqwest::get(daemon.metrics_url()).await?.text().await?;
    assert!(text.contains("holdfast_restore_possible{schedule=\"yearly\"} 1"), "{text}");
    assert!(text.contains("holdfast_recovery_point_missed{schedule=\"yearly\"} 0"), "{text}");
    Ok(())
}
