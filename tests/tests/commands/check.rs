//! `holdfast check`: its exit codes and where what it says goes.

use std::fs;

use holdfast_tests::command::holdfast;
use pretty_assertions::assert_eq;

const GOOD: &str = "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {name: shop}\nspec:\n  \
                    schedules: [{name: nightly, cron: '@daily'}]\n";

#[tokio::test]
async fn zero_is_clean_one_is_problems_two_is_could_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let path = path.to_str().unwrap();
    fs::write(path, GOOD).unwrap();
    let ended = holdfast(["check", path]).await.unwrap();
    assert_eq!((ended.code, ended.output.as_str(), ended.errors.as_str()), (0, "", "1 file, no problems\n"));

    // A warning is told, and counts under --strict only.
    let warned = format!("{GOOD}  location: nowhere\n");
    fs::write(path, &warned).unwrap();
    let lenient = holdfast(["check", path]).await.unwrap();
    assert_eq!(lenient.code, 0);
    assert!(lenient.output.starts_with("warning[undeclared-location]: no document declares"), "{lenient:?}");
    let strict = holdfast(["check", "--strict", path]).await.unwrap();
    assert_eq!(strict.code, 1);
    assert!(strict.output.starts_with("error[undeclared-location]: no document declares"), "{strict:?}");

    fs::write(path, GOOD.replace("@daily", "@dayly")).unwrap();
    for (format, start) in [
        ("text", "error[cron]: "),
        ("json", "{\n  \"problems\": ["),
        ("sarif", "{\n  \"$schema\": "),
        ("junit", "<?xml "),
        ("github", "::error file="),
    ] {
        let ended = holdfast(["check", "--output", format, path]).await.unwrap();
        assert_eq!((ended.code, ended.errors.as_str()), (1, ""), "{format}");
        assert!(ended.output.starts_with(start), "{format}: {}", ended.output);
    }

    let missing = folder.path().join("none");
    let ended = holdfast(["check", missing.to_str().unwrap()]).await.unwrap();
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    assert!(ended.errors.starts_with("error: "), "{}", ended.errors);
    assert_eq!(holdfast(["check", "--output", "xml", path]).await.unwrap().code, 2);
    assert_eq!(holdfast(["check"]).await.unwrap().code, 2);
}

#[tokio::test]
async fn hooks_are_allowed_by_every_command_as_by_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let hook = "  hooks: [{name: flush, select: {namespaces: {include: [shop]}}, pre: [{exec: {command: [sync]}}]}]\n";
    fs::write(&path, format!("{GOOD}  select: {{namespaces: {{include: [shop]}}}}\n{hook}")).unwrap();
    let test = "apiVersion: holdfast.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: runs}\nspec:\n  \
                runs: [{schedule: shop-nightly, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T00:00:00Z']}]\n";
    fs::write(folder.path().join("a_test.yaml"), test).unwrap();
    let folder = folder.path().to_str().unwrap();
    for command in ["check", "render", "test"] {
        for allowed in ["--allow-hooks-in=shop", "--allow-hooks-in=staging,s?op"] {
            let ended = holdfast([command, allowed, folder]).await.unwrap();
            assert_eq!(ended.code, 0, "{command} {allowed}: {ended:?}");
        }
        for refused in ["--allow-hooks-in=staging", "--allow-hooks-in="] {
            let ended = holdfast([command, refused, folder]).await.unwrap();
            assert_eq!(ended.code, 1, "{command} {refused}: {ended:?}");
            let told = format!("{}{}", ended.output, ended.errors);
            assert!(told.contains("error[hook-namespace]"), "{command} {refused}: {told}");
        }
    }
    // Before it asks any cluster.
    let plan = holdfast(["plan", "--allow-hooks-in=staging", folder]).await.unwrap();
    assert_eq!(plan.code, 2);
    assert!(plan.errors.contains("error[hook-namespace]"), "{}", plan.errors);
}
