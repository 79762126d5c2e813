//! Persistent volumes of a restore, on a control plane whose own controller binds them. What a provisioner would do is
//! written by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use holdfast::engine::restore::{RestoreRun, Timeouts};
use holdfast_policy::annotations::REMAP;
use holdfast_tests::restores::{Bench, archive, object};
use holdfast_tests::waiting;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const VOLUMES: &str = "/api/v1/persistentvolumes";
const HOST_NAME: &str = "kubernetes.io/hostname";

fn class(name: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.com/none", "volumeBindingMode": mode,
    })
}

/// As it was in the backup: bound to claim `src/data`.
fn volume(name: &str, class: &str, policy: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name, "labels": {"disk": "fast"},
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes", "pv.kubernetes.io/provisioned-by": "x"},
        },
        "spec": {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": policy, "hostPath": {"path": format!("/nowhere/{name}")},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "src", "name": "data",
                "uid": "11111111-2222-3333-4444-555555555555", "resourceVersion": "7",
            },
        },
        "status": {"phase": "Bound"},
    })
}

fn claim(volume: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": "src", "name": "data",
            "annotations": {
                "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
            },
        },
        "spec": {
            "storageClassName": class, "accessModes": ["ReadWriteOnce"], "volumeName": volume,
            "resources": {"requests": {"storage": "1Mi"}},
        },
        "status": {"phase": "Bound"},
    })
}

/// One test's backup of one volume and its claim, and the namespace that it is restored to.
struct Case {
    bench: Bench,
    target: String,
}

impl Case {
    async fn new(prefix: &str) -> Case {
        let bench = Bench::start().await;
        let target = bench.unused_name(prefix).await;
        Case { bench, target }
    }

    /// A name that no other test uses for its volume.
    fn volume_name(&self) -> String {
        format!("{}-volume", self.target)
    }

    fn back_up(&self, volume: Value, claim: Value) {
        let entries = [object("persistentvolumes", volume), object("persistentvolumeclaims", claim)];
        self.bench.put_backup("volumes", &archive(&entries));
    }

    fn spec(&self) -> Value {
        json!({"backupName": "volumes", "namespaceMapping": {"src": self.target}})
    }

    fn claim_path(&self) -> String {
        format!("/api/v1/namespaces/{}/persistentvolumeclaims/data", self.target)
    }

    async fn claim_is_bound(&self) -> Value {
        let path = self.claim_path();
        let bound = async || {
            let claim = self.bench.get(&path).await;
            Ok((claim["status"]["phase"] == "Bound").then_some(claim))
        };
        waiting::until("a bound claim", PATIENCE, bound).await.unwrap()
    }

    /// What a provisioner does for the claim, as soon as it is there.
    async fn provision(&self, name: &str, class: &str, labels: Value) {
        let path = self.claim_path();
        let found = async || {
            let request = http::Request::get(&path).body(Vec::new()).unwrap();
            Ok(self.bench.client.request::<Value>(request).await.ok())
        };
        let claim = waiting::until("the restored claim", PATIENCE, found).await.unwrap();
        let mut made = volume(name, class, "Delete");
        made["metadata"] = json!({"name": name, "labels": labels});
        made["spec"]["claimRef"] = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.target, "name": "data",
            "uid": claim["metadata"]["uid"],
        });
        self.bench.create(VOLUMES, &made).await;
    }

    async fn run_within(&self, name: &str, resource: Duration) -> RestoreRun {
        let metadata = json!({"name": name, "namespace": "default"});
        let run = self.bench.run_of(metadata, self.spec(), self.bench.client.clone()).await;
        RestoreRun { timeouts: Timeouts { resource, ..Timeouts::default() }, ..run }
    }

    /// The backup has the volume's files, and what the volume was like.
    fn tell_kept(&self, volume: &str, labels: Value) {
        let told = json!([{
            "pvcName": "data", "pvcNamespace": "src", "pvName": volume, "backupMethod": "PodVolumeBackup",
            "result": "succeeded", "pvbInfo": {"uploaderType": "restic", "podNamespace": "src", "podName": "db"},
            "pvInfo": {"reclaimPolicy": "Retain", "labels": labels},
        }]);
        self.bench.put_file("volumes", "volumeinfo.json.gz", &told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_volume_binds_to_its_claim_again_in_another_namespace_too() {
    let case = Case::new("retained").await;
    let name = case.volume_name();
    case.back_up(volume(&name, "", "Retain"), claim(&name, ""));
    let restored = case.bench.restore("rs-retained", case.spec()).await;
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    assert_eq!(restored.list["v1/PersistentVolume"], [format!("{name}(created)")]);
    assert_eq!(case.claim_is_bound().await["spec"]["volumeName"], name);
    let made = case.bench.get(&format!("{VOLUMES}/{name}")).await;
    assert_eq!(made["spec"]["claimRef"]["namespace"], case.target);
    assert_eq!(made["spec"]["hostPath"]["path"], format!("/nowhere/{name}"));
    assert_eq!(made["metadata"]["labels"]["disk"], "fast");
    assert_eq!(made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"], "x");
    case.bench.delete(VOLUMES, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_storage_went_with_it_is_not_made_and_its_claim_gets_a_new_one() {
    let case = Case::new("deleted").await;
    let name = case.volume_name();
    case.back_up(volume(&name, "", "Delete"), claim(&name, ""));
    let restored = case.bench.restore("rs-deleted", case.spec()).await;
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    assert_eq!(restored.list["v1/PersistentVolume"], [format!("{name}(skipped)")]);
    let made = case.bench.get(&case.claim_path()).await;
    assert_eq!(made["spec"]["volumeName"], Value::Null);
    assert_eq!(made["metadata"]["annotations"], Value::Null);
    let new = format!("{name}-new");
    case.provision(&new, "", json!({})).await;
    assert_eq!(case.claim_is_bound().await["spec"]["volumeName"], new);
    case.bench.delete(VOLUMES, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_moves_to_another_class_and_another_zone() {
    let case = Case::new("moved").await;
    let (name, new_class) = (case.volume_name(), format!("{}-class", case.target));
    case.bench.create("/apis/storage.k8s.io/v1/storageclasses", &class(&new_class, "Immediate")).await;
    let mut old = volume(&name, "cold", "Retain");
    let zone = |zone: &str, node: &str| {
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]},
            {"key": HOST_NAME, "operator": "In", "values": [node]},
        ]}]}})
    };
    old["spec"]["nodeAffinity"] = zone("old", "n1");
    case.back_up(old, claim(&name, "cold"));
    let home = case.bench.testbed.namespace("moved-home").await.unwrap();
    let rules = json!({"version": "v1", "resourceModifierRules": [{
        "conditions": {"groupResource": "persistentvolumes"},
        "patches": [{
            "operation": "replace", "value": "new",
            "path": "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0",
        }],
    }]});
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "zones"},
        "data": {"rules.yaml": rules.to_string()},
    });
    case.bench.create(&format!("/api/v1/namespaces/{home}/configmaps"), &config_map).await;
    let mut spec = case.spec();
    spec["resourceModifier"] = json!({"kind": "ConfigMap", "name": "zones"});
    let remap = json!({"storageClasses": {"cold": new_class}, "nodes": {"n1": "n2"}});
    let metadata = json!({"name": "rs-moved", "namespace": home, "annotations": {REMAP: remap.to_string()}});
    let restored = case.bench.restore_as(metadata, spec).await;
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    let bound = case.claim_is_bound().await;
    assert_eq!(
        (&bound["spec"]["volumeName"], &bound["spec"]["storageClassName"]),
        (&json!(name), &json!(new_class))
    );
    let made = case.bench.get(&format!("{VOLUMES}/{name}")).await;
    assert_eq!(made["spec"]["nodeAffinity"], zone("new", "n2"));
    case.bench.delete(VOLUMES, &name).await;
    case.bench.delete("/apis/storage.k8s.io/v1/storageclasses", &new_class).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_there_with_its_data_stays_and_is_bound_again_where_that_is_asked_for() {
    let case = Case::new("present").await;
    let name = case.volume_name();
    case.back_up(volume(&name, "", "Retain"), claim(&name, ""));
    // Its claim went away with its namespace, and the volume stayed.
    let mut there = volume(&name, "", "Retain");
    there["spec"]["claimRef"]["namespace"] = json!(case.target);
    case.bench.create(VOLUMES, &there).await;
    let path = format!("{VOLUMES}/{name}");
    let released = async || {
        let found = case.bench.get(&path).await;
        Ok((found["status"]["phase"] == "Released").then_some(found))
    };
    let before = waiting::until("a released volume", PATIENCE, released).await.unwrap();

    let restored = case.bench.restore("rs-present", case.spec()).await;
    assert_eq!(restored.list["v1/PersistentVolume"], [format!("{name}(skipped)")]);
    assert_eq!(restored.outcome.errors, 0);
    let warning = restored.results["warnings"]["cluster"][0].as_str().unwrap();
    assert!(warning.contains(&name) && warning.contains("claimRef"), "{warning}");
    let after = case.bench.get(&path).await;
    assert_eq!(after["spec"], before["spec"]);

    let mut spec = case.spec();
    spec["existingResourcePolicy"] = json!("update");
    let restored = case.bench.restore("rs-present-update", spec).await;
    assert_eq!(restored.outcome.errors, 0, "{}", restored.results);
    assert_eq!(case.claim_is_bound().await["spec"]["volumeName"], name);
    assert_eq!(case.bench.get(&path).await["metadata"]["uid"], before["metadata"]["uid"]);
    case.bench.delete(VOLUMES, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_volume_gets_labels_and_reclaim_policy_of_the_old_one_and_tells_its_own_zone() {
    let case = Case::new("provisioned").await;
    let (name, zone) = (case.volume_name(), "topology.kubernetes.io/zone");
    case.back_up(volume(&name, "", "Retain"), claim(&name, ""));
    case.tell_kept(&name, json!({"disk": "fast", zone: "old"}));
    let new = format!("{name}-new");
    let (restored, ()) = tokio::join!(
        case.bench.restore("rs-provisioned", case.spec()),
        case.provision(&new, "", json!({zone: "new", "made-by": "driver"}))
    );
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    assert_eq!(restored.list["v1/PersistentVolume"], [format!("{name}(skipped)")]);
    let made = case.bench.get(&format!("{VOLUMES}/{new}")).await;
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(made["metadata"]["labels"], json!({"disk": "fast", zone: "new"}));
    case.bench.delete(VOLUMES, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_gets_no_volume_is_an_error_after_the_time_out() {
    let case = Case::new("unbound").await;
    let name = case.volume_name();
    case.back_up(volume(&name, "", "Retain"), claim(&name, ""));
    case.tell_kept(&name, json!({}));
    let run = case.run_within("rs-unbound", Duration::from_secs(1)).await;
    let outcome = holdfast::engine::restore::run(run).await.unwrap();
    let restored = case.bench.restored("rs-unbound", outcome).await;
    assert_eq!(restored.outcome.errors, 1);
    assert_eq!(
        restored.results["errors"]["namespaces"][&case.target],
        json!([
            "labels and reclaim policy of the volume of claim data are not back: the claim is not bound after 1 s"
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_gets_its_volume_with_its_first_pod_is_not_waited_for() {
    let case = Case::new("late").await;
    let (name, late) = (case.volume_name(), format!("{}-late", case.target));
    case.bench.create("/apis/storage.k8s.io/v1/storageclasses", &class(&late, "WaitForFirstConsumer")).await;
    case.back_up(volume(&name, &late, "Retain"), claim(&name, &late));
    case.tell_kept(&name, json!({}));
    let restored = case.bench.restore("rs-late", case.spec()).await;
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    assert_eq!(case.bench.get(&case.claim_path()).await["spec"]["volumeName"], Value::Null);
    case.bench.delete("/apis/storage.k8s.io/v1/storageclasses", &late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_do_not_tell_of_their_volumes_tell_by_their_pod_volume_backups() {
    let case = Case::new("older").await;
    let name = case.volume_name();
    case.back_up(volume(&name, "", "Retain"), claim(&name, ""));
    let files = json!([{
        "metadata": {"name": "one-1", "annotations": {"velero.io/pvc-name": "data"}},
        "spec": {
            "pod": {"namespace": "src", "name": "db"}, "volume": "data", "uploaderType": "restic",
            "node": "n1", "backupStorageLocation": "default", "repoIdentifier": "",
        },
        "status": {"phase": "Completed", "snapshotID": "1234"},
    }]);
    case.bench.put_file("volumes", "podvolumebackups.json.gz", &files);
    let restored = case.bench.restore("rs-older", case.spec()).await;
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
    assert_eq!(restored.list["v1/PersistentVolume"], [format!("{name}(skipped)")]);
    assert_eq!(case.bench.get(&case.claim_path()).await["spec"]["volumeName"], Value::Null);
}
