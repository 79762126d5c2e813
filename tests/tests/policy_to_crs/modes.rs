//! `--mode policy` and `--mode observe`: what such a daemon leaves alone, and what it says about that.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use holdfast::cluster::{Cluster, ListScope};
use holdfast::rights::Role;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{
    Backup, BackupSpec, BackupStorageLocation, Schedule, ServerStatusRequest, ServerStatusRequestSpec,
};
use holdfast_tests::command::holdfast;
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::stage::{IN_FORCE, SOON, Stage, policy, write};

/// A policy of which Velero ignores a part.
fn jittery(name: &str) -> String {
    policy(name, "0 1 * * *")
        .replace("skipImmediately: true", "skipImmediately: true, jitter: 5m, maxRuntime: 6h")
}

/// Requests and runs that any controller would take up at once.
async fn leave_work(runs: &Runs, folder: &std::path::Path) -> anyhow::Result<()> {
    runs.local_location("default", folder, "bucket").await?;
    runs.create(&Backup::new("untouched", BackupSpec::default())).await?;
    runs.create(&ServerStatusRequest::new("unanswered", ServerStatusRequestSpec::default())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_mode_publishes_runs_no_controller_and_tells_what_velero_ignores() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", jittery("shop"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    let folder = tempfile::tempdir()?;
    let runs = Runs::in_namespace(stage.client.clone(), &stage.namespace).await?;
    leave_work(&runs, folder.path()).await?;

    let set = stage.condition("policies", "Enforced", "False IgnoredByVelero").await?;
    let conditions = set.status.unwrap_or_default().conditions;
    let enforced =
        conditions.iter().find(|condition| condition.type_ == "Enforced").map(|it| it.message.as_str());
    assert_eq!(
        enforced,
        Some(
            "Schedule shop-nightly: `jitter` has no effect: Velero starts every run when it is due (and 1 more)"
        )
    );
    stage.condition("policies", "Ready", "True InForce").await?;

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 2 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;
    stage.condition("policies", "Enforced", "True ByVelero").await?;
    // Somebody who had work for a controller would have begun it long since.
    let backup: Backup = runs.api().get("untouched").await?;
    let location: BackupStorageLocation = runs.api().get("default").await?;
    let request: ServerStatusRequest = runs.api().get("unanswered").await?;
    let schedule: Schedule = runs.api().get("shop-nightly").await?;
    assert_eq!((backup.status.phase, location.status.phase, request.status.phase), (None, None, None));
    assert_eq!(schedule.status.phase, None);
    assert_eq!(runs.api::<Backup>().list(&ListParams::default()).await?.items.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_only_restores_publishes_schedules_and_tells_that_they_do_not_run() -> anyhow::Result<()>
{
    let mut stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    stage.stop().await?;
    stage.start_in("--mode=full", &["--restore-only"]).await?;
    stage.condition("policies", "Enforced", "False RestoreOnly").await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    Ok(())
}

/// The resource version of everything in a cluster that does not change by itself.
async fn versions(testbed: &Testbed) -> anyhow::Result<BTreeMap<String, String>> {
    let cluster = Cluster::new(testbed.client()?);
    let discovery = cluster.discover().await?;
    let mut versions = BTreeMap::new();
    for resource in discovery.resources.iter().filter(|resource| resource.supports("list")) {
        let name = resource.group_resource();
        // Servers renew their leases, and tell of it.
        if ["leases.coordination.k8s.io", "componentstatuses"].contains(&name.as_str()) {
            continue;
        }
        let mut pages = cluster.list(resource, ListScope::everything());
        while let Some(items) = pages.next().await? {
            for item in items {
                let object: Value = serde_json::from_slice(&item.json)?;
                let namespace = item.namespace.unwrap_or_default();
                let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                versions.insert(format!("{name} {namespace}/{}", item.name), version.to_owned());
            }
        }
    }
    Ok(versions)
}

/// All that a daemon has which only looks on.
const LOOKING_ON: [Role; 1] = [Role::Observe];

#[tokio::test(flavor = "multi_thread")]
async fn observe_mode_writes_nothing_but_policy_sets_and_these_need_not_be_there() -> anyhow::Result<()> {
    let testbed = Testbed::start().await?;
    let namespace = testbed.namespace("observed").await?;
    let folder = tempfile::tempdir()?;
    let policies = folder.path().join("policies");
    fs::create_dir(&policies)?;
    fs::write(policies.join("shop.yaml"), policy("shop", "0 1 * * *"))?;
    // Made before anything is compared.
    testbed.account(&namespace, &LOOKING_ON).await?;
    let options = |arguments: &[&str]| DaemonOptions {
        namespace: namespace.clone(),
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .chain([format!("--policies={}", policies.display())])
            .collect(),
        ..DaemonOptions::default()
    };
    let schedules: Api<Schedule> = Api::namespaced(testbed.client()?, &namespace);
    let publishing = Daemon::start(&testbed, options(&["--mode=policy", "--install-crds"])).await?;
    let start = Instant::now();
    while schedules.get_opt("shop-nightly").await?.is_none() {
        anyhow::ensure!(start.elapsed() < SOON, "{}", publishing.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    publishing.stop().await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    leave_work(&runs, folder.path()).await?;
    fs::write(policies.join("shop.yaml"), policy("shop", "0 2 * * *"))?;
    fs::write(policies.join("web.yaml"), policy("web", "0 3 * * *"))?;

    let before = versions(&testbed).await?;
    let looking_on = DaemonOptions { roles: &LOOKING_ON, ..options(&["--mode=observe"]) };
    let daemon = Daemon::start(&testbed, looking_on).await?;
    let sets: Api<PolicySet> = Api::namespaced(testbed.client()?, &namespace);
    let start = Instant::now();
    let told = loop {
        let status = sets.get("policies").await?.status.unwrap_or_default();
        let told: Vec<String> =
            status.notices.iter().map(|notice| format!("{} {}", notice.name, notice.reason)).collect();
        if told.len() == 2 {
            let of = |kind: &str| {
                let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
                condition.map(|it| format!("{} {}", it.status, it.reason)).unwrap_or_default()
            };
            assert_eq!([of("Ready"), of("Enforced")], ["False ObjectsNotInStep", "False OnlyObserved"]);
            break told;
        }
        anyhow::ensure!(start.elapsed() < SOON, "{told:?}\n{}", daemon.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(told, ["shop-nightly WouldBeChanged", "web-nightly WouldBeCreated"]);
    let mut after = versions(&testbed).await?;
    let own = format!("policysets.holdfast.dev {namespace}/policies");
    let mut before = before;
    assert_ne!(after.remove(&own), before.remove(&own));
    assert_eq!(after, before);
    daemon.stop().await?;

    // Where nobody installed PolicySets, policies are published all the same.
    let definitions: Api<CustomResourceDefinition> = Api::all(testbed.client()?);
    let name = "policysets.holdfast.dev";
    let definition = definitions.get(name).await?;
    definitions.delete(name, &DeleteParams::default()).await?;
    await_condition(definitions, name, is_deleted(&definition.uid().unwrap_or_default())).await?;
    let daemon = Daemon::start(&testbed, options(&["--mode=policy"])).await?;
    let start = Instant::now();
    while schedules.get_opt("web-nightly").await?.is_none() {
        anyhow::ensure!(start.elapsed() < SOON, "{}", daemon.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(daemon.log_text().contains("the cluster does not serve PolicySets"), "{}", daemon.log_text());
    let kubeconfig = format!("--kubeconfig={}", testbed.kubeconfig().display());
    let (policies, namespace) = (policies.display().to_string(), format!("--namespace={namespace}"));
    let planned = holdfast(["plan", &policies, &kubeconfig, &namespace]).await?;
    assert_eq!(
        (planned.code, planned.output.as_str()),
        (0, "source policies: nothing to change\n"),
        "{planned:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_that_contradict_other_flags_are_refused() -> anyhow::Result<()> {
    for (arguments, expected) in [
        (["--mode=observe", "--install-crds"], "--mode observe writes nothing, and --install-crds would"),
        (["--mode=policy", "--restore-only"], "--restore-only is about what is carried out"),
    ] {
        let ended = holdfast(["run"].iter().chain(&arguments)).await?;
        assert!(ended.code != 0 && ended.errors.contains(expected), "{ended:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_velero_lists_what_it_ignores_and_strict_makes_it_an_error() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", jittery("shop"))]).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    let kubeconfig = format!("--kubeconfig={}", Testbed::shared().await?.kubeconfig().display());
    let (policies, namespace) =
        (stage.policies.display().to_string(), format!("--namespace={}", stage.namespace));
    let plan = async |more: &[&str]| {
        let arguments = ["plan", &policies, &kubeconfig, &namespace, "--cluster-name=prod"];
        holdfast(arguments.iter().chain(more)).await
    };
    let ended = plan(&["--mode=policy"]).await?;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (
            0,
            "source policies: nothing to change\n  \
             ! not enforced on Schedule shop-nightly: `jitter` has no effect: Velero starts every run when it is due\n  \
             ! not enforced on Schedule shop-nightly: `maxRuntime` has no effect: Velero waits for an unfinished run for ever\n"
        ),
        "{}",
        ended.errors
    );
    let machine: Value = serde_json::from_str(&plan(&["--mode=policy", "--output=json"]).await?.output)?;
    assert_eq!(machine["policies"][0]["action"], "unenforced");
    assert_eq!(plan(&[]).await?.output, "source policies: nothing to change\n");
    let strict = plan(&["--mode=policy", "--strict"]).await?;
    assert_eq!(strict.code, 2);
    assert!(strict.errors.contains("Velero won't honour all of the policies"), "{}", strict.errors);
    let check = holdfast(["check", "--mode=policy", "--strict", &policies]).await?;
    assert_eq!(check.code, 1);
    assert!(check.output.contains("error[unenforced]: `jitter` has no effect"), "{}", check.output);
    assert_eq!(holdfast(["check", "--strict", &policies]).await?.code, 0);
    Ok(())
}
