//! Backups that name no cluster, and a cluster that nobody has named: nothing of it ends until a person says so.

use holdfast_policy::velero::{Backup, BackupStorageLocation, Schedule};
use holdfast_tests::command::{Ended, holdfast};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::deletion::{gone, requests_for};
use crate::expiry::{backup, put, record};
use crate::home::{Home, PATIENCE, logged};

async fn adopt(home: &Home, arguments: &[&str]) -> anyhow::Result<Ended> {
    let kubeconfig = format!("--kubeconfig={}", home.testbed.kubeconfig().display());
    let namespace = format!("--namespace={}", home.namespace);
    holdfast(["adopt", kubeconfig.as_str(), namespace.as_str()].iter().chain(arguments)).await
}

/// Waits until the bucket has been looked at: what is put there now is not found in the next minute.
async fn synced(home: &Home) -> anyhow::Result<()> {
    let looked = |it: &BackupStorageLocation| it.status.last_synced_time.is_some();
    home.runs.ended("default", PATIENCE, looked).await?;
    Ok(())
}

fn of_nobody(change: Value) -> Value {
    let mut nobodys = json!({"metadata": {"annotations": {"holdfast.dev/cluster": null}}});
    for (key, value) in change.as_object().into_iter().flatten() {
        nobodys[key] = value.clone();
    }
    nobodys
}

#[tokio::test(flavor = "multi_thread")]
async fn what_velero_made_expires_once_its_location_is_adopted_and_not_before() -> anyhow::Result<()> {
    let home = Home::new("adopt").await?;
    let _daemon = home.daemon(&["--cluster-name=prod"]).await?;
    home.local_location().await?;
    synced(&home).await?;
    put(&home, &backup("over", of_nobody(json!({})))?).await?;
    let later = json!({"status": {"expiration": "2999-01-01T00:00:00Z"}});
    put(&home, &backup("later", of_nobody(later))?).await?;
    let schedule = json!({
        "metadata": {"name": "friday"},
        "spec": {"schedule": "0 0 13 * 5", "skipImmediately": true, "template": {"ttl": "1h"}},
    });
    home.runs.create(&serde_json::from_value::<Schedule>(schedule)?).await?;
    let location = ["--location=default", "--cluster-name=prod"];

    let told = adopt(&home, &location).await?;
    assert_eq!((told.code, told.errors.as_str()), (0, ""));
    for expected in [
        "location default, cluster prod\n",
        "  later  expires at 2999-01-01T00:00:00Z\n",
        "  over   is deleted at once: its time is over\n",
        "  friday  either of day of month and day of week may match, next at ",
        "nothing was changed: give --yes to adopt it\n",
    ] {
        assert!(told.output.contains(expected), "{expected:?} is not in {}", told.output);
    }
    let locations = home.runs.api::<BackupStorageLocation>();
    assert!(!locations.get("default").await?.annotations().contains_key("holdfast.dev/adopted-by"));
    assert_eq!(requests_for(&home, "over").await?, []);

    let done = adopt(&home, &["--location=default", "--cluster-name=prod", "--yes", "--output=json"]).await?;
    assert_eq!((done.code, done.errors.as_str()), (0, ""));
    let done: Value = serde_json::from_str(&done.output)?;
    assert_eq!((&done["outcome"], &done["clusterNameGiven"]), (&json!("Adopted"), &json!(true)));
    assert_eq!(
        done["backups"][1],
        json!({"backup": "over", "fate": "DeletedAtOnce", "expires": null, "reasons": []})
    );
    assert_eq!(done["schedules"][0]["change"], "EitherDay");
    gone(&home, "over").await?;
    assert_eq!(requests_for(&home, "later").await?, []);

    let again = adopt(&home, &location).await?;
    assert_eq!(again.code, 0);
    assert!(again.output.ends_with("it was adopted before\n"), "{}", again.output);
    let stage = adopt(&home, &["--location=default", "--cluster-name=stage", "--yes"]).await?;
    assert_eq!(stage.code, 1);
    assert_eq!(stage.output, "location default is cluster prod's and stays so; this is cluster stage\n");
    let nowhere = adopt(&home, &["--location=nowhere"]).await?;
    assert_eq!((nowhere.code, nowhere.output.as_str()), (2, ""));
    assert!(nowhere.errors.contains("there is no BackupStorageLocation nowhere"), "{}", nowhere.errors);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_nobody_has_named_warns_and_ends_nothing_that_it_only_found() -> anyhow::Result<()> {
    let home = Home::new("unnamed").await?;
    let daemon = home.daemon(&[]).await?;
    logged(&daemon, &["no --cluster-name is given", "neither expire here"]).await?;
    let namespaces: Api<Namespace> = Api::all(home.testbed.client()?);
    let uid = namespaces.get("kube-system").await?.uid().unwrap_or_default();
    home.local_location().await?;
    synced(&home).await?;
    // Made here, and held until all three are there: the look that ends it sees the others as well.
    let by_us = json!({"metadata": {"annotations": {"holdfast.dev/cluster": uid}}});
    record(&home, &backup("made", by_us.clone())?)?;
    let mut held = by_us.clone();
    held["metadata"]["annotations"]["holdfast.dev/hold"] = json!("until the others are found");
    home.runs.create(&backup("made", held)?).await?;
    record(&home, &backup("found", by_us.clone())?)?;
    record(&home, &backup("nobodys", of_nobody(json!({})))?)?;
    let told = adopt(&home, &["--location=default", "--yes"]).await?;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.output.contains("as no --cluster-name is given"), "{}", told.output);
    let often = Patch::Merge(json!({"spec": {"backupSyncPeriod": "1s"}}));
    home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &often).await?;
    for name in ["found", "nobodys"] {
        home.runs
            .ended(name, PATIENCE, |it: &Backup| it.annotations().contains_key("holdfast.dev/synced"))
            .await?;
    }
    let release = Patch::Merge(json!({"metadata": {"annotations": {"holdfast.dev/hold": null}}}));
    home.runs.api::<Backup>().patch("made", &PatchParams::default(), &release).await?;
    gone(&home, "made").await?;
    for name in ["found", "nobodys"] {
        assert_eq!(requests_for(&home, name).await?, [], "{name}");
        home.runs.api::<Backup>().get(name).await?;
    }

    daemon.stop().await?;
    let _daemon = home.daemon(&[&format!("--cluster-name={uid}")]).await?;
    for name in ["found", "nobodys"] {
        gone(&home, name).await?;
    }
    Ok(())
}
