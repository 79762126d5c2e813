//! `holdfast test`: the tests beside policies, what is said of those that fail, and how it ends.

use std::fs;
use std::path::Path;

use holdfast_tests::command::{Ended, holdfast};
use pretty_assertions::assert_eq;
use serde_json::Value;

const POLICIES: &str = "apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: shop}
spec:
  select: {namespaces: {include: [\"shop-*\"], exclude: [shop-tmp]}}
  retention: {daily: 2}
  schedules: [{name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin}]
";

const TESTS: &str = "apiVersion: holdfast.dev/v1alpha1
kind: PolicyTest
metadata: {name: holds}
spec:
  runs: [{schedule: shop-nightly, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T00:00:00Z']}]
---
apiVersion: holdfast.dev/v1alpha1
kind: PolicyTest
metadata: {name: fails}
spec:
  objects:
    - {kind: Pod, namespace: shop-eu, name: web}
    - {kind: Pod, namespace: shop-tmp, name: web}
  selection:
    - {policy: shop, expect: Included, objects: [Pod/shop-eu/web, Pod/shop-tmp/web]}
  runs:
    - {schedule: shop-nightly, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T01:00:00Z']}
  retention:
    - schedule: shop-nightly
      now: '2026-11-23T12:00:00Z'
      backups:
        - {started: '2026-11-23T00:00:00Z', expect: Kept, because: Weekly}
        - {started: '2026-11-22T00:00:00Z', expect: Deleted}
";

/// In a folder, whose name is left out of what is printed.
async fn test(folder: &Path, arguments: &[&str]) -> Ended {
    let mut ended = holdfast(["test", folder.to_str().expect("a path in UTF-8")].iter().chain(arguments))
        .await
        .expect("the command runs");
    let place = format!("{}/", folder.display());
    ended.output = ended.output.replace(&place, "");
    ended
}

#[tokio::test]
async fn the_gallery_passes_its_own_tests() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies");
    let ended = test(Path::new(folder), &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.output,
        "ok      gallery_test.yaml: selection (11 expectations)
ok      gallery_test.yaml: days-that-are-shorter-or-longer (7 expectations)
ok      gallery_test.yaml: what-the-archive-keeps (7 expectations)

3 tests passed
"
    );
    // A file of tests alone is about the policies of its folder.
    let alone = holdfast(["test", &format!("{folder}/gallery_test.yaml")]).await.unwrap();
    assert_eq!(alone.code, 0, "{alone:?}");
}

#[tokio::test]
async fn what_does_not_hold_is_shown_where_it_is_expected_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), POLICIES).unwrap();
    fs::write(folder.path().join("shop_test.yaml"), TESTS).unwrap();
    let text = test(folder.path(), &[]).await;
    assert_eq!((text.code, text.errors.as_str()), (1, ""));
    insta::assert_snapshot!("test_text", text.output);

    let json = test(folder.path(), &["--output=json"]).await;
    assert_eq!(json.code, 1);
    let value: Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!((&value["passed"], &value["failed"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(value["tests"][1]["failures"][0]["path"], "spec.selection[0].objects[1]");

    let junit = test(folder.path(), &["--output=junit"]).await;
    assert_eq!(junit.code, 1);
    insta::assert_snapshot!("test_junit", junit.output);
}

#[tokio::test]
async fn policies_are_checked_first_and_what_can_not_be_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop_test.yaml"), TESTS).unwrap();
    let no_policies = test(folder.path(), &[]).await;
    assert_eq!((no_policies.code, no_policies.output.as_str()), (2, ""));

    fs::write(folder.path().join("shop.yaml"), POLICIES.replace("timeZone", "timezone")).unwrap();
    let bad_policies = test(folder.path(), &[]).await;
    assert_eq!(bad_policies.code, 1);
    assert!(
        bad_policies.output.starts_with("error[unknown-field]: unknown field `timezone`"),
        "{bad_policies:?}"
    );

    fs::write(folder.path().join("shop.yaml"), POLICIES).unwrap();
    fs::write(folder.path().join("shop_test.yaml"), TESTS.replace("policy: shop,", "policy: stop,")).unwrap();
    let bad_tests = test(folder.path(), &["--output=json"]).await;
    assert_eq!(bad_tests.code, 1);
    let value: Value = serde_json::from_str(&bad_tests.output).unwrap();
    assert_eq!(value["problems"][0]["rule"], "policy-test");

    fs::remove_file(folder.path().join("shop_test.yaml")).unwrap();
    let no_tests = test(folder.path(), &[]).await;
    assert_eq!(no_tests.code, 2);
    assert!(no_tests.errors.contains("there are no tests"), "{}", no_tests.errors);
}
