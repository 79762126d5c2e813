//! How long it takes to check and render many policies, beside parsing the same bytes as YAML.
//!
//! `cargo run --release -p holdfast-policy --example speed -- 10000`

use std::fmt::Write;
use std::time::Instant;

use holdfast_policy::compile::{Target, render};
use holdfast_policy::parse::SourceFile;

#[expect(clippy::print_stdout, reason = "a program that prints figures")]
fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let files = files(count);
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();

    let start = Instant::now();
    let mut values = 0;
    for file in &files {
        for document in file.text.split("---\n").filter(|text| !text.trim().is_empty()) {
            let value: serde_json::Value =
                holdfast_policy::yaml::from_str(document).expect("the documents are good YAML");
            values += usize::from(value.is_object());
        }
    }
    let yaml = start.elapsed();

    let start = Instant::now();
    let set = holdfast_policy::load(&files).expect("the documents are good policies");
    let checked = start.elapsed();
    let start = Instant::now();
    let target = Target { namespace: "velero".into(), source: "speed".into(), cluster_name: None };
    let text = render(&set, &target);
    let rendered = start.elapsed();

    let all = checked + rendered;
    println!("{values} documents, {bytes} bytes -> {} bytes", text.len());
    println!("check {checked:?}, render {rendered:?}: {all:?}");
    println!("YAML alone {yaml:?}; ratio {:.1}", all.as_secs_f64() / yaml.as_secs_f64());
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak} MiB");
    }
}

fn files(count: usize) -> Vec<SourceFile> {
    const IN_A_FILE: usize = 100;
    let mut files = Vec::new();
    for start in (0..count).step_by(IN_A_FILE) {
        let mut text = String::new();
        for number in start..(start + IN_A_FILE).min(count) {
            let (minute, hour) = (number % 60, number / 60 % 24);
            write!(
                text,
                "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata:\n  name: team-{number}\n  \
                 labels: {{team: t{number}}}\nspec:\n  select:\n    namespaces: {{include: [\"team-{number}-*\"], \
                 exclude: [team-{number}-tmp]}}\n    resources: {{exclude: [events]}}\n    labelSelector: \
                 {{matchLabels: {{tier: db}}}}\n  volumes: {{snapshotVolumes: true, csiSnapshotTimeout: 10m}}\n  \
                 hooks:\n    - name: flush\n      select: {{labelSelector: {{matchLabels: {{app: db}}}}}}\n      \
                 pre: [{{exec: {{container: db, command: [sync], onError: Fail, timeout: 30s}}}}]\n  ttl: 1080h\n  \
                 retention: {{keepLast: 3, hourly: 24, daily: 7, weekly: 4, minimumGood: 1}}\n  schedules:\n    \
                 - name: nightly\n      cron: \"{minute} {hour} * * *\"\n      timeZone: Europe/Berlin\n      \
                 startingDeadline: 1h\n      jitter: 5m\n---\n"
            )
            .expect("writing to a string doesn't fail");
        }
        files.push(SourceFile::new(format!("policies-{start}.yaml"), text));
    }
    files
}

/// Of this process so far, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}
