//! Volume groups: claims with one value of the group's label share one VolumeGroupSnapshot, or have no snapshot at all; and
//! whatever becomes of them, no object of the group stays, nor a snapshot that no backup has.

use holdfast_policy::velero::{
    Backup, BackupPhase, DeleteBackupRequest, DeleteBackupRequestSpec, RestorePhase,
};
use holdfast_tests::csi::{Fault, NAME};
use holdfast_tests::waiting;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::backup::text;
use crate::place::{Bound, PATIENCE, Place, table};

const LABEL: &str = "velero.io/volume-group";

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_group_share_one_snapshot_from_backup_to_deletion() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.labelled_claim(&shop, "data", json!({LABEL: "My_db", "app": "db"})).await?;
    let log = place.labelled_claim(&shop, "log", json!({LABEL: "My_db"})).await?;
    let alone = place.claim(&shop, "alone").await?;
    let backup = place.back_up("one", json!({"includedNamespaces": [shop]})).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let status = &backup.status;
    assert_eq!((status.csi_volume_snapshots_attempted, status.csi_volume_snapshots_completed), (3, 3));
    let group = group_of(&place, &data);
    assert_eq!((group_of(&place, &log), group_of(&place, &alone)), (group.clone(), None));
    let group = group.expect("a group");
    no_group_left(&place, &shop).await?;
    for volume in [&data, &log, &alone] {
        place.released(&shop, &place.handles(volume)[0]).await?;
    }

    let archive = place.archive("one")?;
    assert_eq!(archive.keys().find(|path| path.starts_with("volumegroupsnapshot")), None);
    let claim = &archive[&format!("persistentvolumeclaims/namespaces/{shop}/data.json")];
    let snapshot = text(claim, "/metadata/annotations/velero.io~1volume-snapshot-name");
    let stored =
        &archive[&format!("volumesnapshots.snapshot.storage.k8s.io/namespaces/{shop}/{snapshot}.json")];
    let annotations = &stored["metadata"]["annotations"];
    assert_eq!(annotations["velero.io/csi-volumegroupsnapshot-handle"], group);
    assert_eq!(annotations["velero.io/csi-volumesnapshot-handle"], place.handles(&data)[0]);
    assert_eq!(stored["metadata"]["labels"]["app"], "db");
    assert_eq!(stored["metadata"].get("ownerReferences"), None);
    let content = text(stored, "/status/boundVolumeSnapshotContentName");
    let content = &archive[&format!("volumesnapshotcontents.snapshot.storage.k8s.io/cluster/{content}.json")];
    assert_eq!(content["status"]["volumeGroupSnapshotHandle"], group);
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    for entry in told.as_array().into_iter().flatten() {
        let expected = if entry["pvcName"] == "alone" { None } else { Some(&json!(group)) };
        assert_eq!(entry["csiSnapshotInfo"].get("volumeGroupSnapshotHandle"), expected, "{entry}");
    }

    let other = format!("{shop}-2");
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: &other}});
    let restored = place.runs.restore("back", serde_json::from_value(spec)?, PATIENCE).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    assert_eq!(restored.status.warnings, 0);
    for name in ["data", "log", "alone"] {
        assert_eq!(table(&place.bound(&other, name).await?.folder)?, name);
    }
    no_group_left(&place, &other).await?;

    delete(&place, "one").await?;
    for volume in [&data, &log, &alone] {
        assert_eq!(place.handles(volume), Vec::<String>::new());
    }
    no_group_left(&place, &shop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_group_that_is_not_wanted_has_no_snapshot() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.labelled_claim(&shop, "data", json!({"group": "db"})).await?;
    let log = place.labelled_claim(&shop, "log", json!({"group": "db"})).await?;
    let skipped = place.labelled_claim(&shop, "skipped", json!({"group": "db", "keep": "no"})).await?;
    let excluded = json!({"group": "db", "velero.io/exclude-from-backup": "true"});
    let excluded = place.labelled_claim(&shop, "excluded", excluded).await?;
    foreign_claim(&place, &shop, "foreign", json!({"group": "db", "keep": "no"})).await?;
    skip(&place, json!({"keep": "no"})).await?;
    let spec = json!({
        "includedNamespaces": [shop], "volumeGroupSnapshotLabelKey": "group",
        "resourcePolicy": {"kind": "configmap", "name": "volumes"},
    });
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.csi_volume_snapshots_completed, 2);
    assert_eq!(group_of(&place, &data), group_of(&place, &log));
    assert!(group_of(&place, &data).is_some());
    for volume in [&skipped, &excluded] {
        assert_eq!(place.handles(volume), Vec::<String>::new());
    }
    no_group_left(&place, &shop).await?;
    delete(&place, "one").await?;
    assert_eq!((place.handles(&data), place.handles(&log)), (vec![], vec![]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_cut_fails_all_of_its_claims_and_no_other() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let (good, bad) = pair(&place, &shop).await?;
    let alone = place.claim(&shop, "alone").await?;
    place.driver.set_fault(&bad.id, Some(Fault::Refused("the disk is full".to_owned())));
    let spec = json!({"includedNamespaces": [shop], "csiSnapshotTimeout": "4s"});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    assert_eq!((backup.status.errors, backup.status.csi_volume_snapshots_completed), (2, 1));
    let results = place.stored("backups/one", "one-results.gz")?;
    let error = text(&results, &format!("/errors/namespaces/{shop}/0"));
    assert!(error.contains("VolumeGroupSnapshot velero-db-"), "{error}");
    assert!(error.contains("has no snapshot after 4 s") && error.contains("the disk is full"), "{error}");
    let archive = place.archive("one")?;
    let stored =
        |name: &str| archive.contains_key(&format!("persistentvolumeclaims/namespaces/{shop}/{name}.json"));
    assert_eq!((stored("good"), stored("bad"), stored("alone")), (false, false, true));
    assert_eq!(place.handles(&alone).len(), 1);
    nothing_left(&place, &shop, [&good, &bad]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_a_snapshot_that_is_not_ready_in_time_goes_as_a_whole() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let (good, bad) = pair(&place, &shop).await?;
    place.driver.set_fault(&bad.id, Some(Fault::NotReady));
    let spec = json!({"includedNamespaces": [shop], "itemOperationTimeout": "4s"});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    assert_eq!((backup.status.errors, backup.status.csi_volume_snapshots_completed), (2, 0));
    let results = place.stored("backups/one", "one-results.gz")?;
    let errors = results["errors"]["namespaces"][&shop].to_string();
    assert!(errors.contains("Asynchronous action timed out"), "{errors}");
    assert!(errors.contains("that of claim bad of its volume group cannot"), "{errors}");
    nothing_left(&place, &shop, [&good, &bad]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_up_again_removes_the_group_of_its_first_attempt() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let (one, other) = pair(&place, &shop).await?;
    place.driver.set_fault(&other.id, Some(Fault::NotReady));
    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]}))?;
    place.runs.create(&Backup::new("one", spec)).await?;
    let cut = async || Ok(group_of(&place, &one));
    let first = waiting::until("a group", PATIENCE, cut).await?;
    daemon.kill()?;
    place.driver.set_fault(&other.id, None);
    let _daemon = place.daemon().await?;
    let backup =
        place.runs.ended("one", PATIENCE, |backup: &Backup| backup.status_phase().has_ended()).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let only = async || Ok((place.handles(&one).len() == 1).then_some(()));
    waiting::until("the first attempt's group to go", PATIENCE, only).await?;
    assert!(group_of(&place, &one).is_some_and(|group| group != first));
    assert_eq!(group_of(&place, &one), group_of(&place, &other));
    no_group_left(&place, &shop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_several_drivers_or_without_a_class_says_what_to_do() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let (good, bad) = pair(&place, &shop).await?;
    let spec: Value = json!({"includedNamespaces": [shop]});
    let mut backup = Backup::new("one", serde_json::from_value(spec.clone())?);
    let annotation = format!("velero.io/csi-volumegroupsnapshot-class_{NAME}");
    backup.metadata.annotations = Some([(annotation, "missing".to_owned())].into());
    place.runs.create(&backup).await?;
    let backup =
        place.runs.ended("one", PATIENCE, |backup: &Backup| backup.status_phase().has_ended()).await?;
    assert_eq!((backup.status_phase(), backup.status.errors), (BackupPhase::PartiallyFailed, 2));
    let error = place.stored("backups/one", "one-results.gz")?["errors"].to_string();
    assert!(error.contains("has no VolumeGroupSnapshotClass missing"), "{error}");

    foreign_claim(&place, &shop, "foreign", json!({LABEL: "db"})).await?;
    let backup = place.back_up("two", spec).await?;
    assert_eq!((backup.status_phase(), backup.status.errors), (BackupPhase::PartiallyFailed, 3));
    let error = place.stored("backups/two", "two-results.gz")?["errors"].to_string();
    assert!(error.contains("several drivers (disk.holdfast.test, tape.holdfast.test)"), "{error}");
    assert!(error.contains("give the claims of each driver a group of their own"), "{error}");
    nothing_left(&place, &shop, [&good, &bad]).await
}

/// Claims `good` and `bad` of one group.
async fn pair(place: &Place, namespace: &str) -> anyhow::Result<(Bound, Bound)> {
    let good = place.labelled_claim(namespace, "good", json!({LABEL: "db"})).await?;
    Ok((good, place.labelled_claim(namespace, "bad", json!({LABEL: "db"})).await?))
}

/// The group that the last snapshot of a volume is of.
fn group_of(place: &Place, volume: &Bound) -> Option<String> {
    let last = place.driver.snapshots().into_iter().rfind(|snapshot| snapshot.source == volume.id);
    last.and_then(|snapshot| snapshot.group)
}

/// Has the volumes of claims with these labels left out.
async fn skip(place: &Place, labels: Value) -> anyhow::Result<()> {
    let rules = json!({
        "version": "v1",
        "volumePolicies": [{"conditions": {"pvcLabels": labels}, "action": {"type": "skip"}}],
    });
    let rules: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "volumes"}, "data": {"rules.yaml": rules.to_string()},
    }))?;
    let rules_in = Api::<ConfigMap>::namespaced(place.client.clone(), &place.home);
    rules_in.create(&PostParams::default(), &rules).await?;
    Ok(())
}

/// A bound claim with a volume of another driver.
async fn foreign_claim(place: &Place, namespace: &str, name: &str, labels: Value) -> anyhow::Result<()> {
    let volume = format!("{namespace}-{name}");
    let storage = json!({"storage": "1Mi"});
    let object: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": volume},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": storage, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": "tape.holdfast.test", "volumeHandle": volume},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }))?;
    Api::all(place.client.clone()).create(&PostParams::default(), &object).await?;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
            "resources": {"requests": storage},
        },
    }))?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(place.client.clone(), namespace);
    claims.create(&PostParams::default(), &claim).await?;
    let bound = async || {
        let status = claims.get(name).await?.status;
        Ok(status.filter(|status| status.phase.as_deref() == Some("Bound")).map(drop))
    };
    waiting::until("the claim to be bound", PATIENCE, bound).await
}

async fn delete(place: &Place, backup: &str) -> anyhow::Result<()> {
    let spec = DeleteBackupRequestSpec { backup_name: backup.to_owned() };
    place.runs.create(&DeleteBackupRequest::new(&format!("{backup}-deletion"), spec)).await?;
    let gone = async || Ok(place.runs.api::<Backup>().get_opt(backup).await?.is_none().then_some(()));
    waiting::until("the backup to go", PATIENCE, gone).await
}

/// Waits until the storage has no snapshot of the volumes, and the cluster no object of one.
async fn nothing_left(place: &Place, namespace: &str, volumes: [&Bound; 2]) -> anyhow::Result<()> {
    no_group_left(place, namespace).await?;
    for volume in volumes {
        let gone = async || Ok(place.handles(volume).is_empty().then_some(()));
        waiting::until("the snapshots to go", PATIENCE, gone).await?;
    }
    Ok(())
}

/// Waits until the cluster has no VolumeGroupSnapshot in the namespace, and no content that refers to it.
async fn no_group_left(place: &Place, namespace: &str) -> anyhow::Result<()> {
    let resource = |kind: &str, plural: &str| {
        let kind = GroupVersionKind::gvk("groupsnapshot.storage.k8s.io", "v1", kind);
        ApiResource::from_gvk_with_plural(&kind, plural)
    };
    let groups = resource("VolumeGroupSnapshot", "volumegroupsnapshots");
    let groups = Api::<DynamicObject>::namespaced_with(place.client.clone(), namespace, &groups);
    let contents = resource("VolumeGroupSnapshotContent", "volumegroupsnapshotcontents");
    let contents = Api::<DynamicObject>::all_with(place.client.clone(), &contents);
    let gone = async || {
        let all = ListParams::default();
        let of_namespace = |content: &&DynamicObject| {
            text(&content.data, "/spec/volumeGroupSnapshotRef/namespace") == namespace
        };
        let groups: Vec<String> = groups.list(&all).await?.items.iter().map(ResourceExt::name_any).collect();
        let contents = contents.list(&all).await?.items;
        Ok((groups.is_empty() && contents.iter().find(of_namespace).is_none()).then_some(()))
    };
    waiting::until("the objects of the group to go", PATIENCE, gone).await
}
