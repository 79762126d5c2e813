//! A publisher, what it remembers, and what tests ask about the objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use holdfast::publish::act::Outcome;
use holdfast::publish::bucket::Verdict;
use holdfast::publish::decide::{Drift, LeaveReason};
use holdfast::publish::memory::Memory;
use holdfast::publish::mode::Mode;
use holdfast::publish::object::{CONTENT_HASH, Desired, Key, Kind, SOURCE};
use holdfast::publish::report::Report;
use holdfast::publish::{Publisher, Request, observe};
use holdfast_policy::velero;
use holdfast_tests::Testbed;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const US: &str = "policies";
const SOON: Duration = Duration::from_secs(20);

/// A publisher in a namespace of its own, with what it remembers.
pub(crate) struct Stage {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    pub(crate) publisher: Publisher,
    pub(crate) memory: Memory,
    pub(crate) drift: Drift,
    pub(crate) verdicts: BTreeMap<Key, Verdict>,
    pub(crate) approved: BTreeSet<String>,
    pub(crate) now: DateTime<Utc>,
    _watches: DropGuard,
}

impl Stage {
    pub(crate) async fn set() -> anyhow::Result<Stage> {
        let client = Testbed::shared().await?.client()?;
        Stage::set_with(client).await
    }

    /// The same with a client that the test watches.
    pub(crate) async fn set_with(client: kube::Client) -> anyhow::Result<Stage> {
        let testbed = Testbed::shared().await?;
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
            verdicts: BTreeMap::new(),
            approved: BTreeSet::new(),
            now: DateTime::from_timestamp(1_800_000_000, 0).context("an instant")?,
            _watches: shutdown.drop_guard(),
        })
    }

    pub(crate) async fn publish(&mut self, desired: &[Desired]) -> anyhow::Result<Report> {
        let request = Request {
            source: US,
            desired,
            drift: self.drift,
            prune_word: None,
            approved: &self.approved,
            notices: &BTreeMap::new(),
        };
        let decided = self.publisher.decide(&request, &mut self.memory, self.now).await?;
        let consulted = decided.consult(&self.verdicts);
        Ok(self.publisher.publish(&request, consulted, &mut self.memory, self.now).await)
    }

    /// The same as soon as the watches have told what the test did: until then everything seems to be in step.
    pub(crate) async fn publish_when_woken(&mut self, desired: &[Desired]) -> anyhow::Result<Report> {
        self.publish_while(desired, |outcome| matches!(outcome, Outcome::Left(LeaveReason::InStep))).await
    }

    /// The same where until then all objects seem to be somebody else's.
    pub(crate) async fn publish_when_given_away(&mut self, desired: &[Desired]) -> anyhow::Result<Report> {
        self.publish_while(desired, |outcome| matches!(outcome, Outcome::Left(LeaveReason::NotOurs { .. })))
            .await
    }

    async fn publish_while(
        &mut self,
        desired: &[Desired],
        seems: impl Fn(&Outcome) -> bool,
    ) -> anyhow::Result<Report> {
        loop {
            tokio::time::timeout(SOON, self.publisher.woken())
                .await
                .context("no watch told of the change")?;
            let report = self.publish(desired).await?;
            if !report.outcomes.values().all(&seems) {
                return Ok(report);
            }
        }
    }

    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &observe::resource(kind))
    }

    pub(crate) async fn spec(&self, kind: Kind, name: &str) -> anyhow::Result<Value> {
        Ok(self.api(kind).get(name).await?.data["spec"].clone())
    }

    /// An ordinary update, as `kubectl edit` does it.
    pub(crate) async fn edit(&self, name: &str, patch: Value) -> anyhow::Result<()> {
        let editor = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        self.api(Kind::Schedule).patch(name, &editor, &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(crate) fn schedule(&self, name: &str, hash: &str, spec: Value) -> Desired {
        self.desired(Kind::Schedule, name, hash, spec)
    }

    pub(crate) fn desired(&self, kind: Kind, name: &str, hash: &str, spec: Value) -> Desired {
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

pub(crate) async fn install_crds(client: &kube::Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in velero::crds() {
        let name = crd.metadata.name.clone().context("a CRD has a name")?;
        api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await?;
        await_condition(api.clone(), &name, is_crd_established()).await?;
    }
    Ok(())
}

pub(crate) fn nightly() -> Value {
    json!({"schedule": "0 1 * * *", "template": {"ttl": "720h0m0s", "includedNamespaces": ["shop"]}})
}

pub(crate) fn only(report: &Report) -> &Outcome {
    assert_eq!(report.outcomes.len(), 1, "{report:?}");
    report.outcomes.values().next().expect("one outcome")
}
