//! Custom resources as Velero's command line and Velero's own server write them, through the definitions of ours.

use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{Backup, BackupPhase, Restore};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::home::{Home, PATIENCE, backup_of};

fn untyped<K: kube::Resource<DynamicType = ()>>(home: &Home) -> anyhow::Result<Api<DynamicObject>> {
    let kind = ApiResource::erase::<K>(&());
    Ok(Api::namespaced_with(home.testbed.client()?, &home.namespace, &kind))
}

async fn create(api: &Api<DynamicObject>, object: Value) -> anyhow::Result<Value> {
    let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(serde_json::to_value(created)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_kept_at_creation_and_has_no_address_of_its_own() -> anyhow::Result<()> {
    let home = Home::new("status").await?;
    home.daemon(&[]).await?.stop().await?;
    let api = untyped::<Backup>(&home)?;
    let created = create(
        &api,
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "synced"},
            "spec": {}, "status": {"phase": "Completed", "version": 1},
        }),
    )
    .await?;
    assert_eq!(created["status"], json!({"phase": "Completed", "version": 1}));
    let patch = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    let refused = api.patch_status("synced", &PatchParams::default(), &patch).await;
    let Err(kube::Error::Api(refused)) = refused else { anyhow::bail!("{refused:?}") };
    assert_eq!(refused.code, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_may_name_a_resource_policy_and_unknown_fields_are_dropped() -> anyhow::Result<()> {
    let home = Home::new("pruned").await?;
    home.daemon(&[]).await?.stop().await?;
    let api = untyped::<Restore>(&home)?;
    let spec = json!({"backupName": "b", "resourcePolicy": {"kind": "ConfigMap", "name": "p"}});
    let mut sent = spec.clone();
    sent["nonsense"] = json!(1);
    let created = create(
        &api,
        json!({"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": {"name": "r"}, "spec": sent}),
    )
    .await?;
    assert_eq!(created["spec"], spec);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_line_leaves_empty_or_zero_takes_the_server_s_default() -> anyhow::Result<()> {
    let home = Home::new("empty").await?;
    let _daemon = home.daemon(&["--default-backup-ttl=100h"]).await?;
    home.local_location().await?;
    let api = untyped::<Backup>(&home)?;
    let spec = |ttl: Value| {
        json!({
            "metadata": {}, "hooks": {}, "ttl": ttl, "csiSnapshotTimeout": "0s", "itemOperationTimeout": "0s",
            "includedNamespaces": [home.namespace],
        })
    };
    let mut absent = spec(json!(null));
    absent.as_object_mut().expect("it is an object").remove("ttl");
    for (name, spec) in [("zero", spec(json!("0s"))), ("null", spec(json!(null))), ("absent", absent)] {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {"name": name, "creationTimestamp": null}, "spec": spec, "status": {},
        });
        create(&api, object).await?;
        let ended: Backup = home.backup_is(name, BackupPhase::Completed).await?;
        let (Some(started), Some(expires)) = (&ended.status.start_timestamp, &ended.status.expiration) else {
            anyhow::bail!("{:?}", ended.status)
        };
        let ttl = to_chrono(expires) - to_chrono(started);
        assert!((ttl - chrono::Duration::hours(100)).abs() <= chrono::Duration::seconds(1), "{name}: {ttl}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_another_namespace_is_somebody_else_s() -> anyhow::Result<()> {
    let home = Home::new("own").await?;
    let other = Home::new("others").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    other.runs.create(&Backup::new("one", Default::default())).await?;
    // One of our own that was made after it has gone all the way.
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(other.runs.api::<Backup>().get("one").await?.status, Default::default());
    Ok(())
}
