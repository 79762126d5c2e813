//! Which pods and volume claims of a namespace belong together, because pods share a claim or claims form a volume
//! group. Pure: takes the objects, gives the block of one of them.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use serde::Deserialize;

/// What every annotation that asks for a hook has in its key.
pub const HOOK_ANNOTATION: &[u8] = b"hook.backup.velero.io/";

/// Pods that mount claims, and claims, of one namespace.
#[derive(Debug, Default)]
pub struct Relations {
    pods: BTreeMap<String, PodFacts>,
    claims: BTreeMap<String, ClaimFacts>,
}

#[derive(Debug)]
struct PodFacts {
    claims: Vec<String>,
    /// One that waits for its node, or has ended, is not brought by a claim.
    runs: bool,
    /// Its annotations may ask for hooks.
    annotated: bool,
}

#[derive(Debug)]
struct ClaimFacts {
    bound: bool,
    /// The value of the label that makes a volume group.
    group: Option<String>,
}

/// An object that has a block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    Pod(String),
    Claim(String),
}

/// What is stored together: all hooks before come before the first object, all hooks after behind the last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// In order. With whether annotations may ask for hooks in it.
    pub pods: Vec<(String, bool)>,
    pub claims: Vec<String>,
}

impl Relations {
    pub fn add_pod(&mut self, name: &str, json: &[u8]) -> Result<(), serde_json::Error> {
        let Pod { metadata, spec, status } = serde_json::from_slice(json)?;
        let placed = !spec.node_name.is_empty();
        let claims: Vec<String> = spec.claims().collect();
        if !claims.is_empty() {
            let runs = status.phase == "Running" && placed && metadata.deletion_timestamp.is_none();
            let annotated = memmem::find(json, HOOK_ANNOTATION).is_some();
            self.pods.insert(name.to_owned(), PodFacts { claims, runs, annotated });
        }
        Ok(())
    }

    pub fn add_claim(&mut self, name: &str, json: &[u8], group_label: &str) -> Result<(), serde_json::Error> {
        let Claim { metadata, spec, status } = serde_json::from_slice(json)?;
        let group = metadata.labels.and_then(|mut labels| labels.remove(group_label));
        let group = group.filter(|group| !group.is_empty());
        let bound = status.phase == "Bound" && !spec.volume_name.is_empty();
        self.claims.insert(name.to_owned(), ClaimFacts { bound, group });
        Ok(())
    }

    /// Everything that is stored together with this object, itself included.
    pub fn block(&self, of: Member) -> Block {
        let mut found = BTreeSet::from([of.clone()]);
        let mut open = vec![of];
        while let Some(member) = open.pop() {
            for related in self.related(&member) {
                if found.insert(related.clone()) {
                    open.push(related);
                }
            }
        }
        let mut block = Block::default();
        for member in found {
            match member {
                Member::Pod(name) => {
                    let annotated = self.pods.get(&name).is_some_and(|pod| pod.annotated);
                    block.pods.push((name, annotated));
                }
                Member::Claim(name) => block.claims.push(name),
            }
        }
        block
    }

    /// What an object brings into its block by itself.
    pub fn related(&self, member: &Member) -> Vec<Member> {
        match member {
            Member::Pod(name) => {
                let claims = self.pods.get(name).map(|pod| pod.claims.as_slice()).unwrap_or_default();
                claims.iter().cloned().map(Member::Claim).collect()
            }
            Member::Claim(name) => {
                let Some(claim) = self.claims.get(name).filter(|claim| claim.bound) else { return vec![] };
                let pods = self.pods.iter().filter(|(_, pod)| pod.runs && pod.claims.contains(name));
                let pods = pods.map(|(name, _)| Member::Pod(name.clone()));
                let group = self
                    .claims
                    .iter()
                    .filter(|(_, other)| claim.group.is_some() && other.group == claim.group);
                pods.chain(group.map(|(name, _)| Member::Claim(name.clone()))).collect()
            }
        }
    }
}

impl Block {
    /// The same for all of its members.
    pub fn key(&self) -> Option<&str> {
        self.claims.first().map(String::as_str)
    }

    pub fn has_others(&self) -> bool {
        self.pods.len() > 1 || self.claims.len() > 1 || (!self.pods.is_empty() && !self.claims.is_empty())
    }
}

/// The claims that a pod mounts.
pub fn claims_of(pod: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    // Most pods mount none, and are not even read.
    if memmem::find(pod, b"persistentVolumeClaim").is_none() {
        return Ok(Vec::new());
    }
    let Pod { spec, .. } = serde_json::from_slice(pod)?;
    Ok(spec.claims().collect())
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: ClaimSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    persistent_volume_claim: Option<ClaimName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimName {
    claim_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    volume_name: String,
}

impl PodSpec {
    fn claims(self) -> impl Iterator<Item = String> {
        self.volumes.into_iter().filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name))
    }
}

#[cfg(test)]
mod tests;
