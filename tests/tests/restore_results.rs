//! What a restore leaves in the bucket: errors and warnings under their headings, every object with what became of it, the
//! log, and the files that Velero's command line reads.

use std::io::Read as _;

use flate2::read::GzDecoder;
use holdfast::store::RestoreFile;
use holdfast_tests::restores::{Bench, archive, config_map, object};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

fn unserved(namespace: Option<&str>, name: &str) -> (String, Value) {
    let (kind, group_resource) = match namespace {
        Some(_) => ("Ship", "ships.sea.example.org"),
        None => ("Sea", "seas.sea.example.org"),
    };
    let mut item = json!({"apiVersion": "sea.example.org/v1", "kind": kind, "metadata": {"name": name}});
    if let Some(namespace) = namespace {
        item["metadata"]["namespace"] = json!(namespace);
    }
    object(group_resource, item)
}

fn pod_with_claim(name: &str) -> (String, Value) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "src", "name": name},
        "spec": {
            "automountServiceAccountToken": false, "containers": [{"name": "main", "image": "x"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "lost"}}],
        },
    });
    object("pods", pod)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_stand_under_their_headings_and_every_object_in_the_list() {
    let bench = Bench::start().await;
    let target = bench.unused_name("results").await;
    let spec = json!({"backupName": "before", "namespaceMapping": {"src": target}});
    bench.put_backup("before", &archive(&[config_map("src", "same"), config_map("src", "other")]));
    bench.restore("rs-before", spec.clone()).await;
    let mut changed = config_map("src", "other");
    changed.1["data"] = json!({"key": "changed"});
    bench.put_backup(
        "results",
        &archive(&[
            config_map("src", "new"),
            config_map("src", "same"),
            changed,
            pod_with_claim("web"),
            unserved(Some("src"), "ava"),
            unserved(None, "north"),
        ]),
    );
    let mut spec = spec;
    spec["backupName"] = json!("results");
    spec["existingResourcePolicy"] = json!("update");
    let restored = bench.restore("rs-results", spec).await;

    let place = |name: &str, action: &str| format!("{target}/{name}({action})");
    assert_eq!(
        json!(restored.list),
        json!({
            "sea.example.org/v1/Sea": ["north(failed)"],
            "sea.example.org/v1/Ship": [place("ava", "failed")],
            "v1/ConfigMap": [place("new", "created"), place("other", "updated"), place("same", "skipped")],
            "v1/Pod": [place("web", "created")],
        })
    );
    let unserved =
        |place: &str| format!("error restoring {place}: the server could not find the requested resource");
    assert_eq!(
        restored.results,
        json!({
            "errors": {
                "cluster": [unserved("seas.sea.example.org/north")],
                "namespaces": {&target: [unserved(&format!("ships.sea.example.org/{target}/ava"))]},
            },
            // What the backup lacks is told under the namespace that it would have had there.
            "warnings": {"namespaces": {"src": [
                "persistentvolumeclaims src/lost, needed by pods src/web, is not in the backup",
            ]}},
        })
    );
    assert_eq!((restored.outcome.errors, restored.outcome.warnings, restored.outcome.items), (2, 1, 6));

    for file in [RestoreFile::ItemOperations, RestoreFile::VolumeInfo] {
        assert_eq!(bench.file::<Value>("rs-results", file).await, json!([]), "{file:?}");
    }
    let packed = bench.store.get_restore_file("rs-results", RestoreFile::Logs).await.unwrap().unwrap();
    let mut log = String::new();
    GzDecoder::new(packed.as_ref()).read_to_string(&mut log).unwrap();
    for line in
        ["level=info msg=\"Starting restore\"", "level=error", "level=warning", "restore=default/rs-results"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_can_t_be_written_are_errors_of_a_restore_that_was_carried_out() {
    let bench = Bench::start().await;
    let target = bench.unused_name("unwritten").await;
    bench.put_backup("unwritten", &archive(&[config_map("src", "a")]));
    bench.refuse_restore_files();
    let spec = json!({"backupName": "unwritten", "namespaceMapping": {"src": target}});
    let outcome = bench.run("rs-unwritten", spec).await.unwrap();
    assert_eq!((outcome.errors, outcome.warnings), (5, 0));
    assert_eq!(bench.config_map(&target, "a").await["data"]["key"], "a");
}
