//! The README's first command does what it says, and its exit code means it.

use std::process::Command;

#[test]
fn the_demo_ends_well_and_everything_compares_equal() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("demo")
        .env_remove("KUBECONFIG")
        .output()
        .expect("the testbed's program was built with this test");
    let report = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{progress}");
    assert_eq!(report.matches("none differs").count(), 3, "{report}");
    if holdfast_tests::node::missing().is_none() {
        assert!(report.contains("\"42 orders\" was written, \"42 orders\" is read"), "{report}");
    }
    let bucket = report
        .lines()
        .find_map(|line| line.strip_prefix("The bucket:"))
        .expect("the report names the bucket");
    let bucket = std::path::Path::new(bucket.trim());
    assert!(bucket.join("backups/quick-start-first/velero-backup.json").is_file(), "{report}");
    // The demo keeps its bucket for people to look at; a test leaves nothing behind.
    let folder = bucket.ancestors().nth(2).expect("the bucket lies in the demo's folder");
    std::fs::remove_dir_all(folder).expect("the demo's folder can be removed");
}
