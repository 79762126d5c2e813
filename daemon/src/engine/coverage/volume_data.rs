//! What backups would do with the data of one volume: the same decisions as a run's, from what is known without one (reference:
//! velero-backup.md 6.2, 6.3). Pure.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_policy::model::volumes::VolumeActionType;
use holdfast_policy::resource_policy::{ResourcePolicy, Volume};
use holdfast_policy::velero::{BackupSpec, labels};
use serde_json::Value;

use crate::cluster::Discovery;
use crate::engine::backup::csi::class::{self, Class, Wishes};
use crate::engine::native;
use crate::engine::select::Object;
use crate::snapshotters;

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "volumesnapshotclasses.snapshot.storage.k8s.io";
const CSI_SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
/// Kinds whose objects are looked into.
pub const LOOKED_AT: [&str; 5] = [CLAIMS, VOLUMES, "pods", CLASSES, "volumesnapshotlocations.velero.io"];

/// What a Schedule or Backup says of volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeChoice {
    pub namespace: String,
    pub annotations: BTreeMap<String, String>,
    /// The ConfigMap of its volume policies.
    pub rules: BTreeMap<String, String>,
    /// Providers by the names of the policies' snapshot locations.
    pub locations: BTreeMap<String, String>,
    pub(super) snapshots: bool,
    pub(super) all_files: bool,
    /// Snapshot locations.
    pub(super) named: Vec<String>,
}

/// What is known of all volumes of a cluster.
#[derive(Default)]
pub struct Surroundings<'a> {
    volumes: BTreeMap<&'a str, Value>,
    claims: BTreeMap<(&'a str, &'a str), Value>,
    pods: BTreeMap<&'a str, Vec<Value>>,
    /// Where VolumeSnapshots are served, volumes of CSI drivers have no other snapshots.
    classes: Option<Vec<Class>>,
    /// Providers by namespace and name.
    locations: BTreeMap<(&'a str, &'a str), String>,
}

/// What becomes of a volume's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Files { pod: String },
    CsiSnapshot { driver: String },
    NativeSnapshot { location: String },
    NotKept { reason: String },
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Files { pod } => write!(f, "read file by file from pod {pod}"),
            Data::CsiSnapshot { driver } => write!(f, "in a CSI snapshot of driver {driver}"),
            Data::NativeSnapshot { location } => write!(f, "in a snapshot of location {location}"),
            Data::NotKept { reason } => write!(f, "not kept: {reason}"),
        }
    }
}

impl VolumeChoice {
    /// What its spec tells.
    pub fn of(spec: &BackupSpec) -> Self {
        Self {
            snapshots: spec.snapshot_volumes != Some(false),
            all_files: spec.default_volumes_to_fs_backup == Some(true),
            named: spec.volume_snapshot_locations.clone(),
            ..Self::default()
        }
    }
}

impl<'a> Surroundings<'a> {
    pub fn of(discovery: &Discovery, objects: &'a [Object]) -> Self {
        let served = discovery.by_group_resource(CSI_SNAPSHOTS).is_some();
        let mut found = Self { classes: served.then(Vec::new), ..Self::default() };
        for object in objects {
            let group_resource = object.resource.group_resource();
            if !LOOKED_AT.contains(&group_resource.as_str()) {
                continue;
            }
            let Ok(json) = serde_json::from_slice::<Value>(&object.item.json) else { continue };
            let (namespace, name) =
                (object.item.namespace.as_deref().unwrap_or_default(), object.item.name.as_str());
            match group_resource.as_str() {
                VOLUMES => {
                    found.volumes.insert(name, json);
                }
                CLAIMS => {
                    found.claims.insert((namespace, name), json);
                }
                "pods" => found.pods.entry(namespace).or_default().push(json),
                CLASSES => {
                    found.classes.get_or_insert_default().extend(serde_json::from_value::<Class>(json));
                }
                _ => {
                    let provider = json.pointer("/spec/provider").and_then(Value::as_str).unwrap_or_default();
                    found.locations.insert((namespace, name), provider.to_owned());
                }
            }
        }
        found
    }

    /// None where the object is neither a claim nor a volume.
    pub fn data_of(&self, object: &Object, choice: &VolumeChoice) -> Option<Data> {
        let name = object.item.name.as_str();
        let (volume, claim) = match object.resource.group_resource().as_str() {
            VOLUMES => {
                let volume = self.volumes.get(name)?;
                let part =
                    |key: &str| volume.pointer(&format!("/spec/claimRef/{key}")).and_then(Value::as_str);
                (Some(volume), part("namespace").zip(part("name")))
            }
            CLAIMS => {
                let claim = (object.item.namespace.as_deref()?, name);
                let volume = self.claims.get(&claim)?.pointer("/spec/volumeName").and_then(Value::as_str);
                (volume.and_then(|volume| self.volumes.get(volume)), Some(claim))
            }
            _ => return None,
        };
        Some(match volume {
            Some(volume) => self.judge(volume, claim, choice),
            None => Data::NotKept { reason: "it is bound to no volume".to_owned() },
        })
    }

    fn judge(&self, volume: &Value, claim: Option<(&str, &str)>, choice: &VolumeChoice) -> Data {
        let not = |reason: String| Data::NotKept { reason };
        let pod = claim.and_then(|claim| self.pods_of(claim).next());
        match self.action(volume, claim, choice) {
            Err(reason) => return not(reason),
            Ok(Some(VolumeActionType::Skip)) => return not("a volume policy says skip".to_owned()),
            Ok(Some(VolumeActionType::Custom)) => return not("a volume policy says custom".to_owned()),
            Ok(Some(VolumeActionType::FsBackup)) => {
                let none = "a volume policy says fs-backup, and no pod mounts it".to_owned();
                return pod.map_or_else(|| not(none), |(pod, _)| Data::Files { pod });
            }
            Ok(Some(VolumeActionType::Snapshot)) => {}
            Ok(None) => {
                let chosen = claim.and_then(|claim| {
                    self.pods_of(claim).find(|(_, chosen)| chosen(choice.all_files)).map(|(pod, _)| pod)
                });
                if let Some(pod) = chosen {
                    return Data::Files { pod };
                }
                if !choice.snapshots {
                    return not("snapshotVolumes is false".to_owned());
                }
            }
        }
        let driver = volume.pointer("/spec/csi/driver").and_then(Value::as_str);
        match (driver, &self.classes) {
            (Some(driver), Some(classes)) => self.csi_snapshot(driver, claim, choice, classes),
            (Some(_) | None, _) => self.native_snapshot(volume, choice),
        }
    }

    fn action(
        &self,
        volume: &Value,
        claim: Option<(&str, &str)>,
        choice: &VolumeChoice,
    ) -> Result<Option<VolumeActionType>, String> {
        if choice.rules.is_empty() {
            return Ok(None);
        }
        let policy = ResourcePolicy::parse(&choice.rules);
        let policy = policy.map_err(|_| "its volume policies can't be read".to_owned())?;
        let unread = |_| "it can't be read".to_owned();
        let mut facts = Volume::of_persistent_volume(volume.to_string().as_bytes()).map_err(unread)?;
        if let Some(claim) = claim.and_then(|claim| self.claims.get(&claim)) {
            facts = facts.claimed_by(claim.to_string().as_bytes()).map_err(unread)?;
        }
        Ok(policy.volume_policy(&facts).map(|policy| policy.action))
    }

    /// These are made of claims.
    fn csi_snapshot(
        &self,
        driver: &str,
        claim: Option<(&str, &str)>,
        choice: &VolumeChoice,
        classes: &[Class],
    ) -> Data {
        let Some(claim) = claim.and_then(|claim| self.claims.get(&claim)) else {
            return Data::NotKept { reason: "its claim is not there".to_owned() };
        };
        let annotations = claim.pointer("/metadata/annotations").cloned();
        let annotations = annotations.and_then(|annotations| serde_json::from_value(annotations).ok());
        let claim = &annotations.unwrap_or_default();
        match class::choose(&Wishes { driver, claim, backup: &choice.annotations }, classes) {
            Ok(_) => Data::CsiSnapshot { driver: driver.to_owned() },
            Err(error) => Data::NotKept { reason: error.to_string() },
        }
    }

    /// The server's default locations are not known here.
    fn native_snapshot(&self, volume: &Value, choice: &VolumeChoice) -> Data {
        let here = self.locations.iter().filter(|((namespace, _), _)| *namespace == choice.namespace);
        let here = here.map(|((_, name), provider)| ((*name).to_owned(), provider.clone()));
        let mut known: BTreeMap<String, String> = here.collect();
        known.extend(choice.locations.clone());
        let named: Vec<String> = choice
            .named
            .iter()
            .filter(|name| match known.get(*name) {
                Some(provider) => snapshotters::may_take(provider, volume),
                None => true,
            })
            .cloned()
            .collect();
        known.retain(|_, provider| snapshotters::may_take(provider, volume));
        let reason = match native::choice::resolve(&named, &known, &BTreeMap::new()) {
            Err(problems) => problems.join("; "),
            Ok(names) => match names.into_iter().next() {
                Some(location) => return Data::NativeSnapshot { location },
                None => "no snapshot location takes such volumes".to_owned(),
            },
        };
        Data::NotKept { reason }
    }

    /// Pods that mount a claim, each with whether it is to be read file by file where that is so for all or for those that ask.
    fn pods_of<'b>(
        &'b self,
        claim: (&'b str, &'b str),
    ) -> impl Iterator<Item = (String, impl Fn(bool) -> bool + 'b)> {
        let (namespace, name) = claim;
        let pods = self.pods.get(namespace).into_iter().flatten();
        pods.filter_map(move |pod| {
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array)?;
            let mounts = |volume: &&Value| {
                volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str) == Some(name)
            };
            let volume = volumes.iter().find(mounts)?.get("name").and_then(Value::as_str)?;
            let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str)?;
            let listed = move |key: &str| {
                let list =
                    pod.pointer("/metadata/annotations").and_then(|all| all.get(key)).and_then(Value::as_str);
                list.is_some_and(|list| list.split(',').any(|listed| listed == volume))
            };
            let chosen = move |all: bool| match all {
                true => !listed(labels::BACKUP_VOLUMES_EXCLUDES),
                false => listed(labels::BACKUP_VOLUMES),
            };
            Some((pod_name.to_owned(), chosen))
        })
    }
}

#[cfg(test)]
mod tests;
