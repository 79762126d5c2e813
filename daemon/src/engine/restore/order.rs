//! The plan in the order that webhooks ask for, and the wait for the services that answer them.
//!
//! In: a run. Out: its plan; and, after the wave that runs such services, either their readiness or a warning.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::plan::{Decision, Plan, Step, target_namespace};
use super::run::Run;
use super::webhooks::{self, Backing, CONFIGURATIONS, ServicePlace, WORKLOADS, Webhook};
use crate::engine::run_log::{Message, Place};
use crate::engine::select::DEFINITIONS;

const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

impl Run {
    pub(crate) async fn ordered_plan(&self) -> Plan {
        let mut plan = self.plan();
        let mut webhooks = self.webhooks_to_come(&plan);
        webhooks.extend(self.webhooks_that_are_there().await);
        let services: BTreeSet<ServicePlace> = webhooks.iter().map(|it| it.service.clone()).collect();
        let backing: Vec<Backing> =
            services.into_iter().filter_map(|service| self.backing(&plan, service)).collect();
        if !backing.is_empty() {
            webhooks::put_first(&mut plan, &self.entries(), &self.settings.mapping, &webhooks, &backing);
        }
        plan
    }

    /// Those of the archive.
    fn webhooks_to_come(&self, plan: &Plan) -> Vec<Webhook> {
        let target = |source: &str| target_namespace(&self.settings.mapping, source).to_owned();
        created(plan, |kind| kind == DEFINITIONS || CONFIGURATIONS.contains(&kind))
            .filter_map(|step| self.archived(step))
            .flat_map(|object| webhooks::webhooks(&object, target))
            .collect()
    }

    /// Those of the cluster. What can't be read is no reason to stop: the objects then meet it as they do without us.
    async fn webhooks_that_are_there(&self) -> Vec<Webhook> {
        let mut found = Vec::new();
        for kind in CONFIGURATIONS {
            let plural = kind.split('.').next().unwrap_or(kind);
            let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
            let list = match self.cluster.read(&path).await {
                Ok(json) => serde_json::from_slice::<List>(&json).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match list {
                Ok(list) => found
                    .extend(list.items.iter().flat_map(|object| webhooks::webhooks(object, str::to_owned))),
                Err(error) => {
                    let message = Message::new(format!("reading the {plural} of the cluster failed"));
                    self.log.warning(Place::Cluster, message.cause(&error));
                }
            }
        }
        found
    }

    /// What of the plan is the service and runs it; none where the plan does not bring it.
    fn backing(&self, plan: &Plan, service: ServicePlace) -> Option<Backing> {
        let there = |step: &&Step| {
            let item = &self.index.items[step.position];
            self.target(item) == Some(service.namespace.as_str())
        };
        let step = created(plan, |kind| kind == "services")
            .filter(there)
            .find(|step| *self.index.items[step.position].name == *service.name)?;
        let object = self.archived(step)?;
        let workloads = created(plan, |kind| WORKLOADS.contains(&kind))
            .filter(there)
            .filter(|step| self.archived(step).is_some_and(|workload| webhooks::selects(&object, &workload)));
        let positions = workloads.chain([step]).map(|step| step.position).collect();
        Some(Backing { service, positions })
    }

    /// What can't be read here is told when it is restored.
    fn archived(&self, step: &Step) -> Option<Value> {
        let json = self.index.read(&self.index.items[step.position]).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Until each has an endpoint that is ready; those that have none in time are told, and the restore goes on.
    pub(crate) async fn await_services(&self, services: &[ServicePlace]) {
        let within = self.timeouts.webhooks;
        let deadline = Instant::now() + within;
        for service in services {
            let ServicePlace { namespace, name } = service;
            self.log
                .info("Waiting for the service of a webhook", &[("namespace", namespace), ("service", name)]);
            while !self.answers(service).await {
                if self.cancel.is_cancelled() {
                    return;
                }
                if Instant::now() >= deadline {
                    let text = format!(
                        "service {name} has no ready endpoint after {} s: what its webhooks are asked about may be refused",
                        within.as_secs()
                    );
                    self.log.warning(Place::Namespace(namespace.clone()), text);
                    break;
                }
                sleep(ASK_EVERY).await;
            }
        }
    }

    async fn answers(&self, ServicePlace { namespace, name }: &ServicePlace) -> bool {
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        );
        // A failing read is no verdict: the deadline is.
        let Ok(json) = self.cluster.read(&path).await else { return false };
        serde_json::from_slice::<List>(&json).is_ok_and(|list| list.items.iter().any(has_ready_endpoint))
    }
}

/// The steps of these kinds that create something.
fn created(plan: &Plan, kind: impl Fn(&str) -> bool) -> impl Iterator<Item = &Step> {
    let waves: Vec<_> = plan.waves.iter().filter(|wave| kind(&wave.group_resource)).collect();
    waves.into_iter().flat_map(|wave| &wave.steps).filter(|step| step.decision == Decision::Create)
}

fn has_ready_endpoint(slice: &Value) -> bool {
    let endpoints = slice.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let mut ready = endpoints.filter(|endpoint| {
        // What says nothing is ready, as the API has it.
        endpoint.pointer("/conditions/ready").is_none_or(|ready| ready != false)
            && endpoint.get("addresses").and_then(Value::as_array).is_some_and(|it| !it.is_empty())
    });
    ready.next().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_is_ready_unless_it_says_otherwise() {
        let slice = |ready: Value| json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]});
        assert!(has_ready_endpoint(&slice(json!(true))));
        assert!(!has_ready_endpoint(&slice(json!(false))));
        assert!(has_ready_endpoint(&json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}]})));
        assert!(!has_ready_endpoint(&json!({"endpoints": null})));
        assert!(!has_ready_endpoint(&json!({"endpoints": [{"addresses": []}]})));
    }
}
