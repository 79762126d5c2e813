//! What publishing does to objects on a real API server: what is ours is kept, what is others' is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use chrono::DateTime;
use holdfast::publish::act::Outcome;
use holdfast::publish::conflict::Operation;
use holdfast::publish::decide::{ApplyReason, Drift, LeaveReason, Situation};
use holdfast::publish::memory::Memory;
use holdfast::publish::mode::Mode;
use holdfast::publish::object::{CONTENT_HASH, Desired, Key, Kind, SOURCE};
use holdfast::publish::plan::{Change, What};
use holdfast::publish::report::Report;
use holdfast::publish::{Publisher, Request, observe, plan};
use holdfast_policy::velero;
use holdfast_tests::Testbed;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

const US: &str = "policies";
const SOON: Duration = Duration::from_secs(20);

/// A publisher in a namespace of its own, with what it remembers.
struct Stage {
    client: kube::Client,
    namespace: String,
    publisher: Publisher,
    memory: Memory,
    drift: Drift,
    _watches: DropGuard,
}

impl Stage {
    async fn set() -> anyhow::Result<Stage> {
        let testbed = Testbed::shared().await?;
        let client = testbed.client()?;
        install_crds(&client).await?;
        let namespace = testbed.namespace("publish").await?;
        let shutdown = CancellationToken::new();
        let publisher = Publisher::start(
            client.clone(),
            namespace.clone(),
            Some("prod".to_owned()),
            Mode::Full,
            &shutdown,
        );
        publisher.ready().await;
        Ok(Stage {
            client,
            namespace,
            publisher,
            memory: Memory::default(),
            drift: Drift::Revert,
            _watches: shutdown.drop_guard(),
        })
    }

    async fn publish(&mut self, desired: &[Desired]) -> anyhow::Result<Report> {
        let request = Request {
            source: US,
            desired,
            drift: self.drift,
            prune_word: None,
            approved: &BTreeSet::new(),
            notices: &BTreeMap::new(),
        };
        let now = DateTime::from_timestamp(1_800_000_000, 0).context("an instant")?;
        Ok(self.publisher.publish(&request, &mut self.memory, now).await?)
    }

    /// The same as soon as the watches have told what the test did: until then everything seems to be in step.
    async fn publish_when_woken(&mut self, desired: &[Desired]) -> anyhow::Result<Report> {
        loop {
            tokio::time::timeout(SOON, self.publisher.woken())
                .await
                .context("no watch told of the change")?;
            let report = self.publish(desired).await?;
            if !report.outcomes.values().all(|outcome| matches!(outcome, Outcome::Left(LeaveReason::InStep)))
            {
                return Ok(report);
            }
        }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &observe::resource(kind))
    }

    async fn spec(&self, kind: Kind, name: &str) -> anyhow::Result<Value> {
        Ok(self.api(kind).get(name).await?.data["spec"].clone())
    }

    /// An ordinary update, as `kubectl edit` does it.
    async fn edit(&self, name: &str, patch: Value) -> anyhow::Result<()> {
        let editor = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        self.api(Kind::Schedule).patch(name, &editor, &Patch::Merge(patch)).await?;
        Ok(())
    }

    fn schedule(&self, name: &str, hash: &str, spec: Value) -> Desired {
        self.desired(Kind::Schedule, name, hash, spec)
    }

    fn desired(&self, kind: Kind, name: &str, hash: &str, spec: Value) -> Desired {
        Desired {
            key: Key { kind, name: name.to_owned() },
            policy: "shop".to_owned(),
            content_hash: hash.to_owned(),
            value: json!({
                "apiVersion": kind.api_version(),
                "kind": kind.name(),
                "metadata": {
                    "name": name,
                    "namespace": self.namespace,
                    "labels": {SOURCE: US, CONTENT_HASH: hash},
                },
                "spec": spec,
            }),
            at_creation: None,
            gate: None,
        }
    }
}

async fn install_crds(client: &kube::Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in velero::crds() {
        let name = crd.metadata.name.clone().context("a CRD has a name")?;
        api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await?;
        await_condition(api.clone(), &name, is_crd_established()).await?;
    }
    Ok(())
}

fn nightly() -> Value {
    json!({"schedule": "0 1 * * *", "template": {"ttl": "720h0m0s", "includedNamespaces": ["shop"]}})
}

fn only(report: &Report) -> &Outcome {
    assert_eq!(report.outcomes.len(), 1, "{report:?}");
    report.outcomes.values().next().expect("one outcome")
}

#[tokio::test]
async fn what_is_in_step_is_not_applied_again() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    assert_eq!(stage.publish(&desired).await?.changes(), 1);
    assert_eq!(stage.publish(&desired).await?.changes(), 0);

    // Nor does a status that somebody writes give a reason to.
    stage.edit("shop", json!({"status": {"phase": "Enabled"}})).await?;
    let mut changed = desired.clone();
    changed[0].content_hash = "h2".to_owned();
    changed[0].value["metadata"]["labels"][CONTENT_HASH] = json!("h2");
    changed[0].value["spec"]["template"]["ttl"] = json!("48h0m0s");
    assert_eq!(stage.publish(&changed).await?.changes(), 1);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["template"]["ttl"], "48h0m0s");
    assert_eq!(stage.publish(&changed).await?.changes(), 0);
    Ok(())
}

#[tokio::test]
async fn a_field_changed_by_an_ordinary_update_is_put_back_with_an_event() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    for (patch, field) in [
        (json!({"spec": {"schedule": "@yearly"}}), ".spec.schedule"),
        (json!({"spec": {"template": {"ttl": null}}}), ".spec.template.ttl"),
        (json!({"metadata": {"labels": {SOURCE: null}}}), ".metadata.labels.holdfast.dev/source"),
    ] {
        stage.edit("shop", patch).await?;
        let report = stage.publish_when_woken(&desired).await?;
        let Outcome::Applied { reason: ApplyReason::Drifted { fields }, .. } = only(&report) else {
            panic!("not put back: {report:?}");
        };
        assert_eq!(fields, &[field]);
        assert_eq!(stage.publish(&desired).await?.changes(), 0);
    }
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?, nightly());

    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await?;
    let event = events.items.iter().find(|event| event.reason.as_deref() == Some("DriftReverted"));
    let note = event.context("an event tells of the drift")?.note.clone().unwrap_or_default();
    assert!(note.contains(".spec.schedule"), "{note}");
    Ok(())
}

#[tokio::test]
async fn drift_is_only_reported_where_the_policy_says_so() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    stage.drift = Drift::Report;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    stage.edit("shop", json!({"spec": {"schedule": "@yearly"}})).await?;
    let report = stage.publish_when_woken(&desired).await?;
    assert!(
        matches!(only(&report), Outcome::Left(LeaveReason::DriftReported { fields }) if *fields == [".spec.schedule"]),
        "{report:?}"
    );
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@yearly");
    Ok(())
}

#[tokio::test]
async fn a_field_that_another_manager_applies_is_reported_and_never_forced() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    let mut theirs = desired[0].value.clone();
    theirs["metadata"] = json!({"name": "shop"});
    theirs["spec"] = json!({"schedule": "@yearly", "template": {}});
    stage
        .api(Kind::Schedule)
        .patch("shop", &PatchParams::apply("argocd-controller").force(), &Patch::Apply(theirs))
        .await?;

    let report = stage.publish_when_woken(&desired).await?;
    let Outcome::Refused(conflicts) = only(&report) else { panic!("not refused: {report:?}") };
    let conflicts: Vec<_> =
        conflicts.iter().map(|c| (c.field.as_str(), c.manager.as_str(), c.operation)).collect();
    assert_eq!(conflicts, [(".spec.schedule", "argocd-controller", Operation::Apply)]);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@yearly");

    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::Conflict(_))), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone_until_it_is_given_away() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut theirs = stage.schedule("shop", "h1", json!({"schedule": "@weekly", "template": {}})).value;
    theirs["metadata"] = json!({"name": "shop", "namespace": stage.namespace});
    stage.api(Kind::Schedule).create(&Default::default(), &serde_json::from_value(theirs)?).await?;

    let desired = [stage.schedule("shop", "h1", nightly())];
    let report = stage.publish_when_woken(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::NotOurs { source: None })), "{report:?}");
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@weekly");

    stage.edit("shop", json!({"metadata": {"annotations": {"holdfast.dev/adopt": US}}})).await?;
    let report = stage.publish_when_woken(&desired).await?;
    assert!(matches!(only(&report), Outcome::Applied { reason: ApplyReason::Adopted, .. }), "{report:?}");
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?, nightly());
    assert_eq!(stage.publish(&desired).await?.changes(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_set_at_creation_stays_and_belongs_to_others() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut desired = [stage.schedule("shop", "h1", nightly())];
    desired[0].at_creation = Some(json!({"spec": {"skipImmediately": true}}));
    stage.publish(&desired).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], true);

    desired[0].content_hash = "h2".to_owned();
    desired[0].value["metadata"]["labels"][CONTENT_HASH] = json!("h2");
    assert_eq!(stage.publish(&desired).await?.changes(), 1);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], true);

    // The change of the label makes sure that the watch has told of the one before it.
    stage.edit("shop", json!({"spec": {"skipImmediately": false}})).await?;
    stage.edit("shop", json!({"metadata": {"labels": {CONTENT_HASH: "forged"}}})).await?;
    let report = stage.publish_when_woken(&desired).await?;
    assert!(
        matches!(only(&report), Outcome::Applied { reason: ApplyReason::Drifted { fields }, .. } if fields.len() == 1),
        "{report:?}"
    );
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], false);
    Ok(())
}

#[tokio::test]
async fn a_person_may_pause_a_schedule_and_a_policy_gives_its_own_pause_back() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let awake = [stage.schedule("shop", "h1", nightly())];
    let mut spec = nightly();
    spec["paused"] = json!(true);
    let suspended = [stage.schedule("shop", "h2", spec)];

    stage.publish(&suspended).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], true);
    stage.publish(&awake).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], Value::Null);

    stage.edit("shop", json!({"spec": {"paused": true}})).await?;
    assert_eq!(stage.publish(&awake).await?.changes(), 0);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], true);
    Ok(())
}

#[tokio::test]
async fn a_backup_is_made_once_and_not_again_when_it_is_gone() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.desired(Kind::Backup, "shop-before", "h1", json!({"ttl": "1h0m0s"}))];
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Created), "{report:?}");
    stage.api(Kind::Backup).delete("shop-before", &DeleteParams::default()).await?;
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::RanBefore)), "{report:?}");
    assert!(stage.api(Kind::Backup).get_opt("shop-before").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_schedule_that_no_policy_asks_for_is_removed_and_what_others_made_is_not() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let location = json!({"provider": "aws", "objectStorage": {"bucket": "backups"}});
    let desired = [
        stage.schedule("gone", "h1", nightly()),
        stage.schedule("kept", "h1", nightly()),
        stage.desired(Kind::BackupStorageLocation, "default", "h1", location),
    ];
    stage.publish(&desired).await?;
    let mut theirs = stage.schedule("theirs", "h1", nightly()).value;
    theirs["metadata"]["labels"] = json!({SOURCE: US});
    stage.api(Kind::Schedule).create(&Default::default(), &serde_json::from_value(theirs)?).await?;

    let report = stage.publish_when_woken(&desired[1..2]).await?;
    assert_eq!(report.changes(), 1, "{report:?}");
    let left = stage.api(Kind::Schedule).list(&ListParams::default()).await?;
    let mut left: Vec<String> =
        left.items.into_iter().filter_map(|schedule| schedule.metadata.name).collect();
    left.sort();
    assert_eq!(left, ["kept", "theirs"]);
    assert!(stage.api(Kind::BackupStorageLocation).get_opt("default").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_plan_tells_what_would_change_and_changes_nothing() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let before =
        ["changed", "drifted", "gone", "contested"].map(|name| stage.schedule(name, "h1", nightly()));
    stage.publish(&before).await?;
    stage.edit("drifted", json!({"spec": {"schedule": "@yearly"}})).await?;
    let theirs = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Schedule",
        "metadata": {"name": "contested"},
        "spec": {"schedule": "@yearly", "template": {}},
    });
    stage
        .api(Kind::Schedule)
        .patch("contested", &PatchParams::apply("argocd-controller").force(), &Patch::Apply(theirs))
        .await?;
    let mut changed = nightly();
    changed["schedule"] = json!("0 5 * * *");
    let desired = [
        stage.schedule("changed", "h2", changed),
        stage.schedule("drifted", "h1", nightly()),
        stage.schedule("contested", "h1", nightly()),
        stage.schedule("new", "h1", nightly()),
    ];

    let place = observe::Place { client: &stage.client, namespace: &stage.namespace };
    let live = plan::live(place, &desired, &stage.memory).await?;
    let situation = Situation {
        source: US,
        desired: &desired,
        live: &live,
        newest_completed: &BTreeMap::new(),
        memory: &stage.memory,
        drift: Drift::Revert,
        prune_word: None,
        cluster_name: Some("prod"),
        approved: &BTreeSet::new(),
    };
    let now = DateTime::from_timestamp(1_800_000_000, 0).context("an instant")?;
    let changes = plan::plan(place, &situation, now).await?;
    let told: Vec<String> = changes
        .iter()
        .map(|Change { key, what }| {
            let what = match what {
                What::Create => "create".to_owned(),
                What::Prune => "remove".to_owned(),
                What::Conflict(conflicts) => conflicts.iter().map(ToString::to_string).collect(),
                What::Change { reason: _, fields } => {
                    let fields = fields.iter().filter(|field| field.path.starts_with(".spec"));
                    fields.map(ToString::to_string).collect()
                }
                What::Leave(reason) => format!("{reason:?}"),
            };
            format!("{}: {what}", key.name)
        })
        .collect();
    assert_eq!(
        told,
        [
            "changed: .spec.schedule: \"0 1 * * *\" -> \"0 5 * * *\"",
            "contested: .spec.schedule belongs to argocd-controller",
            "drifted: .spec.schedule: \"@yearly\" -> \"0 1 * * *\"",
            "new: create",
            "gone: remove",
        ]
    );
    assert_eq!(stage.spec(Kind::Schedule, "changed").await?["schedule"], "0 1 * * *");
    assert_eq!(stage.spec(Kind::Schedule, "drifted").await?["schedule"], "@yearly");
    assert!(stage.api(Kind::Schedule).get_opt("new").await?.is_none());
    Ok(())
}
