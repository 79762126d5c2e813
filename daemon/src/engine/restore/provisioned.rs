//! Volumes that the cluster provisioned anew for restored claims get back what their predecessors had: labels, and the
//! reclaim policy, without which the next deletion of the claim would take the data with it.
//!
//! In: the backup's word on its volumes, and which claims this restore created. Out: patched volumes, or an error in the
//! namespace of each claim that got none in time. Velero does the same while a restore is Finalizing (reference:
//! velero-restore.md 11.2); it also sets back labels of the zone, which would tell pods of the new volume a wrong one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::item::encode;
use super::run::Run;
use super::volumes::FormerVolume;
use crate::causes::with_causes;
use crate::engine::run_log::{Message, Place};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const LOOK_EVERY: Duration = Duration::from_secs(2);
const AT_A_TIME: usize = 8;
/// Where a volume lies is told by whoever made it.
const OF_ITS_PLACE: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// A claim of this restore whose volume is to become as its former one was.
#[derive(Debug, Clone, Copy)]
struct Due<'a> {
    namespace: &'a str,
    claim: &'a str,
    former: &'a FormerVolume,
}

/// What the cluster has.
#[derive(Debug, Clone, Copy, Default)]
struct Seen<'a> {
    claim: Option<&'a Value>,
    binding: Binding,
    volume: Option<&'a Value>,
}

/// When the claim's class gives it a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Binding {
    #[default]
    AtOnce,
    /// With the first pod.
    Late,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Wait {
        reason: String,
    },
    /// It gets a volume when somebody needs it, and no sooner.
    Leave,
    Patch {
        volume: String,
        patch: Value,
    },
    AsBefore,
    Fail {
        reason: String,
    },
}

fn decide(due: &Due<'_>, seen: &Seen<'_>) -> Step {
    let wait = |reason: &str| Step::Wait { reason: reason.to_owned() };
    let Some(claim) = seen.claim else { return wait("the claim is not there") };
    let name = text(claim, "/spec/volumeName");
    match text(claim, "/status/phase") {
        "Bound" if !name.is_empty() => {}
        "Pending" if seen.binding == Binding::Late => return Step::Leave,
        _ => return wait("the claim is not bound"),
    }
    let Some(volume) = seen.volume else { return wait("its volume is not there") };
    let owner = (text(volume, "/spec/claimRef/namespace"), text(volume, "/spec/claimRef/name"));
    if owner == ("", "") || text(volume, "/status/phase") != "Bound" {
        return wait("its volume is not bound");
    }
    if owner != (due.namespace, due.claim) {
        return Step::Fail { reason: format!("volume {name} is bound to claim {}/{}", owner.0, owner.1) };
    }
    match patch(due.former, volume) {
        None => Step::AsBefore,
        Some(patch) => Step::Patch { volume: name.to_owned(), patch },
    }
}

/// None where all is as it was.
fn patch(former: &FormerVolume, volume: &Value) -> Option<Value> {
    let of_its_place = |label: &str| OF_ITS_PLACE.contains(&label);
    let empty = (BTreeMap::new(), Map::new());
    let wanted = former.labels.as_ref().unwrap_or(&empty.0);
    let wanted = || wanted.iter().filter(|(label, _)| !of_its_place(label));
    let found = volume.pointer("/metadata/labels").and_then(Value::as_object).unwrap_or(&empty.1);
    let policy = &former.reclaim_policy;
    let other_policy = !policy.is_empty() && text(volume, "/spec/persistentVolumeReclaimPolicy") != policy;
    let other_labels = wanted().any(|(label, value)| found.get(label).and_then(Value::as_str) != Some(value));
    if !other_policy && !other_labels {
        return None;
    }
    let gone = found.keys().filter(|label| !of_its_place(label)).map(|label| (label.clone(), Value::Null));
    let mut labels: Map<String, Value> = gone.collect();
    labels.extend(wanted().map(|(label, value)| (label.clone(), json!(value))));
    let mut patch = json!({"metadata": {"labels": labels}});
    if other_policy {
        patch["spec"] = json!({"persistentVolumeReclaimPolicy": policy});
    }
    Some(patch)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Run {
    /// Returns when all volumes are as they were, or it is known that they won't be in time, or the run is cancelled.
    pub(crate) async fn finish_volumes(&self) {
        let due = self.volumes_to_finish();
        if due.is_empty() {
            return;
        }
        self.log.info("Waiting for the new volumes of claims", &[("claims", &due.len().to_string())]);
        // Cancelled, the caller ends the run as such.
        let _cancelled = self.cancel.run_until_cancelled(self.finish_all(due)).await;
    }

    fn volumes_to_finish(&self) -> Vec<Due<'_>> {
        let without_volume = self.downloads.without_volume();
        let due = self.volumes.values().filter_map(|volume| {
            let former = volume.former_of_a_new_one()?;
            let position = self.find(CLAIMS, Some(&volume.pvc_namespace), &volume.pvc_name)?;
            let item = &self.index.items[position];
            let namespace = self.target(item).filter(|_| self.records.is_created(position))?;
            if without_volume.contains(&(namespace.to_owned(), item.name.to_string())) {
                return None;
            }
            Some(Due { namespace, claim: &item.name, former })
        });
        due.collect()
    }

    async fn finish_all(&self, mut due: Vec<Due<'_>>) {
        let deadline = tokio::time::Instant::now() + self.timeouts.resource;
        loop {
            let looks: Vec<_> = due.into_iter().map(|due| self.finish(due)).collect();
            let done: Vec<_> = futures::stream::iter(looks).buffer_unordered(AT_A_TIME).collect().await;
            let waiting = done.into_iter().filter_map(|(due, waits)| Some((due, waits?)));
            let waiting: Vec<(Due<'_>, String)> = waiting.collect();
            if tokio::time::Instant::now() >= deadline {
                for (due, reason) in waiting {
                    let waited = self.timeouts.resource.as_secs();
                    self.tell_unfinished(&due, &format!("{reason} after {waited} s"));
                }
                return;
            }
            if waiting.is_empty() {
                return;
            }
            due = waiting.into_iter().map(|(due, _)| due).collect();
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + LOOK_EVERY)).await;
        }
    }

    /// Gives what it still waits for, if it does.
    fn finish<'a>(&'a self, due: Due<'a>) -> BoxFuture<'a, (Due<'a>, Option<String>)> {
        Box::pin(async move {
            let step = match self.look_at_volume(&due).await {
                Ok(step) => step,
                Err(error) => Step::Wait { reason: with_causes(&error) },
            };
            let waits = match step {
                Step::Wait { reason } => Some(reason),
                Step::Leave | Step::AsBefore => None,
                Step::Fail { reason } => {
                    self.tell_unfinished(&due, &reason);
                    None
                }
                Step::Patch { volume, patch } => self.patch_volume(&due, &volume, &patch).await,
            };
            (due, waits)
        })
    }

    async fn look_at_volume(&self, due: &Due<'_>) -> Result<Step, crate::cluster::Error> {
        let claim = self.read_value(CLAIMS, Some(due.namespace), due.claim).await?;
        let of_claim = |pointer| claim.as_ref().map_or("", |claim| text(claim, pointer));
        let volume = self.read_value(VOLUMES, None, of_claim("/spec/volumeName")).await?;
        let class = match of_claim("/status/phase") {
            "Pending" => self.read_value(CLASSES, None, of_claim("/spec/storageClassName")).await?,
            _ => None,
        };
        let mode = class.as_ref().map_or("", |class| text(class, "/volumeBindingMode"));
        let binding = if mode == "WaitForFirstConsumer" { Binding::Late } else { Binding::AtOnce };
        Ok(decide(due, &Seen { claim: claim.as_ref(), binding, volume: volume.as_ref() }))
    }

    /// None also where there is no name.
    pub(super) async fn read_value(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, crate::cluster::Error> {
        match self.discovery.by_group_resource(kind).filter(|_| !name.is_empty()) {
            Some(resource) => self.cluster.get_value(resource, namespace, name).await,
            None => Ok(None),
        }
    }

    async fn patch_volume(&self, due: &Due<'_>, volume: &str, patch: &Value) -> Option<String> {
        let resource = self.discovery.by_group_resource(VOLUMES)?;
        let written = match encode(patch) {
            Ok(body) => self.cluster.merge_patch(resource, None, volume, body).await,
            Err(error) => return Some(error.to_string()),
        };
        match written {
            Ok(_) => {
                let fields =
                    [("persistentVolume", volume), ("namespace", due.namespace), ("claim", due.claim)];
                self.log.info("Volume has the labels and the reclaim policy of its predecessor", &fields);
                None
            }
            Err(error) => Some(with_causes(&error)),
        }
    }

    fn tell_unfinished(&self, due: &Due<'_>, reason: &str) {
        let text = format!("labels and reclaim policy of the volume of claim {} are not back", due.claim);
        self.log.error(Place::Namespace(due.namespace.to_owned()), Message::new(text).cause(&reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former() -> FormerVolume {
        let labels = [("disk", "fast"), ("topology.kubernetes.io/zone", "old")];
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
        FormerVolume { reclaim_policy: "Retain".to_owned(), labels: Some(labels.into()) }
    }

    fn claim(phase: &str, volume: &str) -> Value {
        json!({"spec": {"volumeName": volume}, "status": {"phase": phase}})
    }

    fn volume(claim: &str, policy: &str, labels: Value) -> Value {
        json!({
            "metadata": {"labels": labels}, "status": {"phase": "Bound"},
            "spec": {
                "claimRef": {"namespace": "shop", "name": claim}, "persistentVolumeReclaimPolicy": policy,
            },
        })
    }

    fn decided(seen: &Seen<'_>) -> Step {
        decide(&Due { namespace: "shop", claim: "data", former: &former() }, seen)
    }

    #[test]
    fn a_claim_without_a_volume_is_waited_for_unless_its_class_waits_too() {
        let (pending, bound, lost) = (claim("Pending", ""), claim("Bound", "vol"), claim("Lost", "vol"));
        let unbound = json!({"metadata": {}, "spec": {}, "status": {"phase": "Available"}});
        let late = Binding::Late;
        let table = [
            (Seen::default(), Some("the claim is not there")),
            (Seen { claim: Some(&pending), ..Seen::default() }, Some("the claim is not bound")),
            (Seen { claim: Some(&pending), binding: late, volume: None }, None),
            (Seen { claim: Some(&lost), binding: late, volume: None }, Some("the claim is not bound")),
            (Seen { claim: Some(&bound), ..Seen::default() }, Some("its volume is not there")),
            (
                Seen { claim: Some(&bound), volume: Some(&unbound), ..Seen::default() },
                Some("its volume is not bound"),
            ),
        ];
        for (seen, waits) in table {
            let expected = waits.map_or(Step::Leave, |reason| Step::Wait { reason: reason.to_owned() });
            assert_eq!(decided(&seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_volume_gets_policy_and_labels_back_but_tells_its_own_zone() {
        let bound = claim("Bound", "vol");
        let with =
            |found: &Value| decided(&Seen { claim: Some(&bound), volume: Some(found), ..Seen::default() });
        let zone = json!({"topology.kubernetes.io/zone": "new", "made-by": "driver"});
        let Step::Patch { volume: name, patch } = with(&volume("data", "Delete", zone)) else {
            panic!("no patch")
        };
        assert_eq!(name, "vol");
        assert_eq!(
            patch,
            json!({
                "metadata": {"labels": {"disk": "fast", "made-by": null}},
                "spec": {"persistentVolumeReclaimPolicy": "Retain"},
            })
        );
        // Others' labels alone are no reason.
        let labels = json!({"disk": "fast", "made-by": "driver"});
        assert_eq!(with(&volume("data", "Retain", labels)), Step::AsBefore);
        let Step::Patch { patch, .. } = with(&volume("data", "Retain", json!({}))) else {
            panic!("no patch")
        };
        assert_eq!(patch, json!({"metadata": {"labels": {"disk": "fast"}}}));
    }

    #[test]
    fn a_volume_of_another_claim_is_left_alone() {
        let (bound, other) = (claim("Bound", "vol"), volume("other", "Delete", json!({})));
        let seen = Seen { claim: Some(&bound), volume: Some(&other), ..Seen::default() };
        assert_eq!(
            decided(&seen),
            Step::Fail { reason: "volume vol is bound to claim shop/other".to_owned() }
        );
    }
}
