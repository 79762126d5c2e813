//! No command needs a cluster, but those that compare with one.

use std::fs;

use holdfast_tests::command::holdfast;
use pretty_assertions::assert_eq;

const POLICY: &str = "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {name: shop}\nspec:\n  \
                      select: {namespaces: {include: [shop]}}\n  schedules: [{name: nightly, cron: '@daily'}]\n";
const TEST: &str = "apiVersion: holdfast.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: runs}\nspec:\n  \
                    runs: [{schedule: shop-nightly, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T00:00:00Z']}]\n";
const OBJECTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
                       apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: prices}\n";

#[tokio::test]
async fn commands_that_compare_with_no_cluster_need_none() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("shop.yaml"), POLICY).unwrap();
    fs::write(policies.join("shop_test.yaml"), TEST).unwrap();
    fs::write(folder.path().join("objects.yaml"), OBJECTS).unwrap();
    fs::write(folder.path().join("backups.yaml"), "apiVersion: v1\nkind: List\nitems: []\n").unwrap();
    let policies = policies.to_str().unwrap();
    let objects = format!("--objects={}", folder.path().join("objects.yaml").display());
    let backups = format!("--backups={}", folder.path().join("backups.yaml").display());
    let commands: [&[&str]; 10] = [
        &["check", "--strict", policies],
        &["render", policies],
        &["test", policies],
        &["next", policies, "--from=2026-11-23T12:00:00Z"],
        &["next", "--cron=@daily"],
        &["explain", policies, &objects, "cm/shop/prices"],
        &["retention", policies, &backups],
        &["schema"],
        &["crds"],
        &["version"],
    ];
    for arguments in commands {
        let ended = holdfast(arguments).await.unwrap();
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
    }
    for arguments in [&["plan", policies][..], &["import"], &["leave"]] {
        let ended = holdfast(arguments).await.unwrap();
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{arguments:?}: {ended:?}");
        assert!(ended.errors.starts_with("error: "), "{arguments:?}: {ended:?}");
    }
}
