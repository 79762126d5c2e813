//! A Restore from its creation to its deletion.

use std::collections::BTreeMap;

use futures::StreamExt;
use holdfast_policy::velero::{BackupStorageLocation, Restore, RestorePhase, RestoreSpec, labels};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use pretty_assertions::assert_eq;

use crate::home::{Home, PATIENCE, backup_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_objects_into_other_namespaces_and_takes_its_files_along_when_it_is_deleted()
-> anyhow::Result<()> {
    let home = Home::new("restore").await?;
    let application = home.application("app").await?;
    let copy = format!("{application}-copy");
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&application), PATIENCE).await?;

    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: BTreeMap::from([(application.clone(), copy.clone())]),
        ..RestoreSpec::default()
    };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    assert!(restore.status.start_timestamp <= restore.status.completion_timestamp);
    assert_eq!(restore.finalizers(), [labels::RESTORE_FINALIZER]);
    let settings = home.config_maps(&copy)?.get("settings").await?;
    assert_eq!(settings.data, home.config_maps(&application)?.get("settings").await?.data);
    assert_eq!(settings.labels().get(labels::RESTORE_NAME).map(String::as_str), Some("back"));

    let of_restore = |file: &String| file.starts_with("restores/back/");
    assert!(home.files()?.iter().any(of_restore));
    // What restores leave in a location is theirs to remove, whatever it says of backups.
    let read_only = Patch::Merge(serde_json::json!({"spec": {"accessMode": "ReadOnly"}}));
    let locations = home.runs.api::<BackupStorageLocation>();
    locations.patch("default", &PatchParams::default(), &read_only).await?;
    let api = home.runs.api::<Restore>();
    api.delete("back", &DeleteParams::default()).await?;
    let uid = restore.uid().unwrap();
    let gone = await_condition(api, "back", is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await??;
    assert!(!home.files()?.iter().any(of_restore));
    assert!(home.config_maps(&copy)?.get_opt("settings").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_an_unknown_backup_fails_its_validation() -> anyhow::Result<()> {
    let home = Home::new("no-backup").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let spec = RestoreSpec { backup_name: Some("nowhere".to_owned()), ..RestoreSpec::default() };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::FailedValidation));
    assert_eq!(restore.status.validation_errors.len(), 1);
    assert!(
        restore.status.validation_errors[0].starts_with("Error retrieving backup"),
        "{:?}",
        restore.status
    );
    assert!(restore.status.start_timestamp.is_none() && restore.status.completion_timestamp.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_modifier_rule_fails_the_validation_with_its_place_and_nothing_is_created()
-> anyhow::Result<()> {
    let home = Home::new("modifiers").await?;
    let application = home.application("modified-app").await?;
    let copy = format!("{application}-copy");
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    let rules = "\
version: v1
resourceModifierRules:
- conditions: {groupResource: configmaps}
  patches: [{operation: remove, path: /data/colour}]
- conditions: {groupResource: pods, resourceNameRegex: '('}
  patches: [{operation: add, path: spec}]
";
    let rules = serde_json::json!({"metadata": {"name": "rules"}, "data": {"rules.yaml": rules}});
    home.config_maps(&home.namespace)?
        .create(&PostParams::default(), &serde_json::from_value(rules)?)
        .await?;

    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: BTreeMap::from([(application, copy.clone())]),
        resource_modifier: Some(serde_json::from_value(
            serde_json::json!({"kind": "ConfigMap", "name": "rules"}),
        )?),
        ..RestoreSpec::default()
    };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::FailedValidation), "{:?}", restore.status);
    let told = restore.status.validation_errors.join("\n");
    for place in
        ["resourceModifierRules[1].conditions.resourceNameRegex", "resourceModifierRules[1].patches[0].path"]
    {
        assert!(told.contains(place), "{told}");
    }
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(home.testbed.client()?);
    assert!(namespaces.get_opt(&copy).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_passes_finalizing_and_warnings_alone_do_not_fail_it() -> anyhow::Result<()> {
    let home = Home::new("phases").await?;
    let application = home.application("phases-app").await?;
    let copy = format!("{application}-copy");
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    // What names its namespace is restored with a warning.
    let settings =
        serde_json::json!({"metadata": {"name": "host"}, "data": {"host": format!("db.{application}.svc")}});
    home.config_maps(&application)?
        .create(&PostParams::default(), &serde_json::from_value(settings)?)
        .await?;
    home.runs.backup("one", backup_of(&application), PATIENCE).await?;

    let api = home.runs.api::<Restore>();
    let version = api.list(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
    let mut changes = api.watch(&WatchParams::default(), &version).await?.boxed();
    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: BTreeMap::from([(application.clone(), copy.clone())]),
        ..RestoreSpec::default()
    };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    let mut phases = vec![RestorePhase::New];
    while *phases.last().unwrap() != RestorePhase::Completed {
        match tokio::time::timeout(PATIENCE, changes.next()).await?.unwrap()? {
            WatchEvent::Added(seen) | WatchEvent::Modified(seen) => phases.push(seen.status_phase()),
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
        }
    }
    phases.dedup();
    assert_eq!(
        phases,
        [RestorePhase::New, RestorePhase::InProgress, RestorePhase::Finalizing, RestorePhase::Completed]
    );
    let status = restore.status;
    assert_eq!((status.warnings, status.errors), (1, 0), "{status:?}");
    let progress = status.progress.unwrap();
    assert!(progress.total_items >= 3, "{progress:?}");
    assert_eq!(progress.total_items, progress.items_restored);
    let files: Vec<String> =
        home.files()?.into_iter().filter(|file| file.starts_with("restores/back/")).collect();
    let expected = [
        "back-volumeinfo.json.gz",
        "restore-back-itemoperations.json.gz",
        "restore-back-logs.gz",
        "restore-back-resource-list.json.gz",
        "restore-back-results.gz",
    ];
    assert_eq!(files, expected.map(|name| format!("restores/back/{name}")));
    Ok(())
}
