//! What the volume policies say of the volumes that a run meets. Takes a pod or a PersistentVolume, reads the claims
//! and volumes that the conditions look at, gives the action of the first policy that matches.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::model::volumes::VolumeActionType;
use holdfast_policy::resource_policy::Volume;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::collect::Collector;
use super::volume_info::PodVolume;
use crate::cluster::{self, Item, ListScope, PAGE_SIZE};

const PODS: &str = "pods";
const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";

/// By the name of the pod's volume.
pub(super) type PodVerdicts = BTreeMap<String, VolumeActionType>;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {kind} {name}, which the volume policies look at: {source}")]
    Get { kind: &'static str, name: String, source: cluster::Error },
    #[error(
        "cannot list the pods of namespace {namespace}, which decide on snapshots of its claims: {source}"
    )]
    List { namespace: String, source: cluster::Error },
    #[error("{kind} {name} does not exist, and the volume policies look at it")]
    Missing { kind: &'static str, name: String },
    #[error("volume {volume} has no PersistentVolume yet, and no volume policy matches it")]
    NotBound { volume: String },
    #[error("cannot read the object: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    volumes: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    spec: ClaimSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    volume_name: String,
}

impl Collector<'_> {
    /// The verdicts on those volumes of a pod that could be read file by file.
    pub(super) async fn judge_pod_volumes(&self, pod: &Item) -> Result<PodVerdicts, Error> {
        let mut verdicts = PodVerdicts::new();
        if self.policy.volume_policies.is_empty() {
            return Ok(verdicts);
        }
        let Pod { spec } = serde_json::from_slice(&pod.json)?;
        for fields in spec.volumes {
            let volume: PodVolume = serde_json::from_value(Value::Object(fields.clone()))?;
            if !volume.can_be_read() {
                continue;
            }
            let facts = Volume::of_pod_volume(&fields);
            let (facts, complete) = match volume.claim_name() {
                None => (facts, Complete::Yes),
                Some(claim) => self.claimed(facts, pod.namespace.as_deref(), claim).await?,
            };
            match (self.policy.volume_policy(&facts), complete) {
                (Some(policy), _) => {
                    verdicts.insert(volume.name, policy.action);
                }
                (None, Complete::Yes) => {}
                (None, Complete::WithoutVolume) => return Err(Error::NotBound { volume: volume.name }),
            }
        }
        Ok(verdicts)
    }

    /// The verdict on a PersistentVolume, together with the claim that it is bound to.
    pub(super) async fn judge_volume(
        &self,
        volume: &Item,
        claim: Option<&(String, String)>,
    ) -> Result<Option<VolumeActionType>, Error> {
        if self.policy.volume_policies.is_empty() {
            return Ok(None);
        }
        let mut facts = Volume::of_persistent_volume(&volume.json)?;
        if let Some((namespace, name)) = claim
            && let Some(claim) = self.read(CLAIMS, Some(namespace), name).await?
        {
            facts = facts.claimed_by(&claim.json)?;
        }
        Ok(self.policy.volume_policy(&facts).map(|policy| policy.action))
    }

    /// Whether a snapshot of a volume is wanted, by what the policies said of it (`verdict`) or else by the spec and by
    /// the pods of its claim's namespace, in whatever phase they are (reference: velero-backup.md 6.3).
    pub(super) async fn wants_snapshot(
        &self,
        verdict: Option<VolumeActionType>,
        claim: Option<&(String, String)>,
    ) -> Result<bool, Error> {
        match verdict {
            Some(VolumeActionType::Snapshot) => return Ok(true),
            Some(VolumeActionType::Skip | VolumeActionType::FsBackup | VolumeActionType::Custom) => {
                return Ok(false);
            }
            None if !self.volumes.wants_snapshots() => return Ok(false),
            None => {}
        }
        let Some((namespace, claim)) = claim else { return Ok(true) };
        let read = self.volumes.read_by_files(namespace);
        let read = read.get_or_try_init(|| self.claims_read_by_files(namespace)).await?;
        Ok(!read.contains(claim))
    }

    /// Whether a policy or the spec wants it in so many words, so that not to be able to is an error.
    pub(super) fn insists_on_snapshot(&self, verdict: Option<VolumeActionType>) -> bool {
        match verdict {
            Some(VolumeActionType::Snapshot) => true,
            Some(VolumeActionType::Skip | VolumeActionType::FsBackup | VolumeActionType::Custom) => false,
            None => self.volumes.insists_on_snapshots(),
        }
    }

    pub(super) async fn read_volume(&self, name: &str) -> Result<Option<Item>, Error> {
        self.read(VOLUMES, None, name).await
    }

    /// Claims of a namespace that some pod of it is to have read file by file.
    async fn claims_read_by_files(&self, namespace: &str) -> Result<BTreeSet<String>, Error> {
        let mut claims = BTreeSet::new();
        let Some(pods) = self.discovery.by_group_resource(PODS) else { return Ok(claims) };
        let scope =
            ListScope { namespace: Some(namespace.to_owned()), label_selector: None, page_size: PAGE_SIZE };
        let unlisted = |source| Error::List { namespace: namespace.to_owned(), source };
        let mut pages = self.cluster.list(pods, scope);
        while let Some(items) = pages.next().await.map_err(unlisted)? {
            for pod in items {
                claims.extend(self.volumes.claims_chosen_by(&pod)?);
            }
        }
        Ok(claims)
    }

    async fn claimed(
        &self,
        facts: Volume,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(Volume, Complete), Error> {
        let missing = || Error::Missing { kind: CLAIMS, name: name.to_owned() };
        let claim = self.read(CLAIMS, namespace, name).await?.ok_or_else(missing)?;
        let Claim { spec } = serde_json::from_slice(&claim.json)?;
        let volume = match spec.volume_name.as_str() {
            "" => None,
            name => self.read(VOLUMES, None, name).await?,
        };
        Ok(match volume {
            Some(volume) => {
                (Volume::of_persistent_volume(&volume.json)?.claimed_by(&claim.json)?, Complete::Yes)
            }
            None => (facts.claimed_by(&claim.json)?, Complete::WithoutVolume),
        })
    }

    async fn read(
        &self,
        kind: &'static str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Item>, Error> {
        let Some(resource) = self.discovery.by_group_resource(kind) else { return Ok(None) };
        let found = self.cluster.get(resource, namespace, name).await;
        found.map_err(|source| Error::Get { kind, name: name.to_owned(), source })
    }
}

/// Whether the facts hold all that there is to know.
#[derive(Clone, Copy)]
enum Complete {
    Yes,
    /// The claim's volume is not there.
    WithoutVolume,
}
