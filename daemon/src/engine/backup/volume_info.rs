//! What became of each volume: takes the pods and volumes that the run meets, gives the entries of the volume
//! info file. Without a snapshotter every volume is an entry that says why its data was not taken.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_policy::velero::BackupSpec;
use holdfast_policy::velero::labels;
use serde::{Deserialize, Serialize};

use crate::cluster::Item;

/// Shared by everything that stores objects for one run.
#[derive(Debug)]
pub(super) struct VolumeInfo {
    snapshots: Snapshots,
    files: Files,
    state: Mutex<State>,
}

/// Whether the spec wants volumes to be snapshotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    WherePossible,
    Never,
}

/// Which pod volumes the spec wants to be read file by file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    OptIn,
    OptOut,
}

#[derive(Debug, Default)]
struct State {
    /// By namespace and name of the claim: the first pod that was met with it.
    pods: BTreeMap<(String, String), String>,
    volumes: BTreeMap<String, Volume>,
}

#[derive(Debug)]
struct Volume {
    claim: Option<(String, String)>,
    reclaim_policy: String,
    labels: Option<BTreeMap<String, String>>,
}

/// One entry of the file.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pvc_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pvc_namespace: Option<String>,
    pv_name: String,
    snapshot_data_moved: bool,
    preserve_local_snapshot: bool,
    skipped: bool,
    skipped_reason: String,
    pv_info: PersistentVolume,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PersistentVolume {
    reclaim_policy: String,
    labels: Option<BTreeMap<String, String>>,
}

impl VolumeInfo {
    pub(super) fn new(spec: &BackupSpec) -> Self {
        Self {
            snapshots: match spec.snapshot_volumes {
                Some(false) => Snapshots::Never,
                Some(true) | None => Snapshots::WherePossible,
            },
            files: match spec.default_volumes_to_fs_backup {
                Some(true) => Files::OptOut,
                Some(false) | None => Files::OptIn,
            },
            state: Mutex::default(),
        }
    }

    /// Remembers which claims the pod mounts. Gives the names of volumes that were to be read file by file,
    /// which nothing here can do.
    pub(super) fn meet_pod(&self, pod: &Item) -> Result<Vec<String>, serde_json::Error> {
        let PodPeek { metadata, spec } = serde_json::from_slice(&pod.json)?;
        let mut state = self.state();
        let mut wanted = Vec::new();
        for volume in spec.volumes.into_iter().filter(PodVolume::can_be_read) {
            if self.files.choose(&metadata.annotations, &volume.name) {
                wanted.push(volume.name);
            } else if let Some(claim) = volume.persistent_volume_claim {
                let claim = (pod.namespace.clone().unwrap_or_default(), claim.claim_name);
                state.pods.entry(claim).or_insert_with(|| pod.name.clone());
            }
        }
        Ok(wanted)
    }

    pub(super) fn meet_volume(&self, volume: &Item) -> Result<(), serde_json::Error> {
        let VolumePeek { metadata, spec } = serde_json::from_slice(&volume.json)?;
        let known = Volume {
            claim: spec.claim_ref.map(|claim| (claim.namespace, claim.name)),
            reclaim_policy: spec.persistent_volume_reclaim_policy,
            labels: metadata.labels,
        };
        self.state().volumes.insert(volume.name.clone(), known);
        Ok(())
    }

    /// The file's entries, by the volume's name.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let state = self.state();
        let entry = |(name, volume): (&String, &Volume)| {
            let pod = volume.claim.as_ref().and_then(|claim| state.pods.get(claim));
            let (pvc_namespace, pvc_name) = volume.claim.clone().unzip();
            Entry {
                pvc_name,
                pvc_namespace,
                pv_name: name.clone(),
                snapshot_data_moved: false,
                preserve_local_snapshot: false,
                skipped: true,
                skipped_reason: self.reasons(pod),
                pv_info: PersistentVolume {
                    reclaim_policy: volume.reclaim_policy.clone(),
                    labels: volume.labels.clone(),
                },
            }
        };
        state.volumes.iter().map(entry).collect()
    }

    /// Velero's words: readers look for them.
    fn reasons(&self, pod: Option<&String>) -> String {
        let pod = pod.map(|pod| format!("podvolume: opted out due to annotation in pod {pod};"));
        let snapshot = match self.snapshots {
            Snapshots::WherePossible => "volumeSnapshot: no applicable volumesnapshotter found;",
            Snapshots::Never => {
                "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;"
            }
        };
        pod.unwrap_or_default() + snapshot
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn choose(self, annotations: &BTreeMap<String, String>, volume: &str) -> bool {
        let named_in =
            |key: &str| annotations.get(key).is_some_and(|list| list.split(',').any(|it| it == volume));
        match self {
            Self::OptIn => named_in(labels::BACKUP_VOLUMES),
            Self::OptOut => !named_in(labels::BACKUP_VOLUMES_EXCLUDES),
        }
    }
}

#[derive(Deserialize)]
struct PodPeek {
    #[serde(default)]
    metadata: PodMetadata,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodMetadata {
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    volumes: Vec<PodVolume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodVolume {
    name: String,
    persistent_volume_claim: Option<PodClaim>,
    host_path: Option<serde::de::IgnoredAny>,
    secret: Option<serde::de::IgnoredAny>,
    config_map: Option<serde::de::IgnoredAny>,
    projected: Option<serde::de::IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<serde::de::IgnoredAny>,
}

impl PodVolume {
    /// Volumes whose content is in other objects, or on the node, are never read file by file.
    fn can_be_read(&self) -> bool {
        let Self { name, persistent_volume_claim: _, host_path, secret, config_map, projected, downward_api } =
            self;
        let elsewhere = [host_path, secret, config_map, projected, downward_api];
        elsewhere.iter().all(|source| source.is_none()) && !name.starts_with("default-token")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodClaim {
    claim_name: String,
}

#[derive(Deserialize)]
struct VolumePeek {
    #[serde(default)]
    metadata: VolumeMetadata,
    #[serde(default)]
    spec: VolumeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeMetadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeSpec {
    claim_ref: Option<ClaimReference>,
    persistent_volume_reclaim_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimReference {
    namespace: String,
    name: String,
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn item(namespace: Option<&str>, name: &str, json: Value) -> Item {
        Item {
            name: name.into(),
            namespace: namespace.map(str::to_owned),
            excluded: false,
            deleting: false,
            json: json.to_string().into(),
        }
    }

    fn info(spec: Value) -> VolumeInfo {
        VolumeInfo::new(&serde_json::from_value(spec).unwrap())
    }

    fn pod(name: &str, annotations: Value) -> Item {
        let volumes = json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-retain"}},
            {"name": "token", "projected": {"sources": []}},
            {"name": "cache", "emptyDir": {}},
        ]);
        item(
            Some("shop"),
            name,
            json!({"metadata": {"annotations": annotations}, "spec": {"volumes": volumes}}),
        )
    }

    fn volume(claim: Value) -> Item {
        let spec = json!({"claimRef": claim, "persistentVolumeReclaimPolicy": "Retain"});
        item(None, "vol-retain", json!({"metadata": {"labels": {"disk": "vol-retain"}}, "spec": spec}))
    }

    #[test]
    fn a_volume_that_a_pod_mounts_names_the_first_pod() {
        let info = info(json!({}));
        info.meet_pod(&pod("runner", json!({}))).unwrap();
        info.meet_pod(&pod("web", json!({}))).unwrap();
        info.meet_volume(&volume(json!({"namespace": "shop", "name": "data-retain"}))).unwrap();
        assert_eq!(
            serde_json::to_value(info.entries()).unwrap(),
            json!([{
                "pvcName": "data-retain",
                "pvcNamespace": "shop",
                "pvName": "vol-retain",
                "snapshotDataMoved": false,
                "preserveLocalSnapshot": false,
                "skipped": true,
                "skippedReason": "podvolume: opted out due to annotation in pod runner;volumeSnapshot: no applicable volumesnapshotter found;",
                "pvInfo": {"reclaimPolicy": "Retain", "labels": {"disk": "vol-retain"}},
            }])
        );
    }

    #[test]
    fn a_volume_without_claim_or_snapshots_says_so() {
        let info = info(json!({"snapshotVolumes": false}));
        info.meet_volume(&volume(Value::Null)).unwrap();
        let entry = serde_json::to_value(&info.entries()[0]).unwrap();
        assert_eq!(entry.get("pvcName"), None);
        assert_eq!(
            entry["skippedReason"],
            "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;"
        );
    }

    #[test]
    fn volumes_to_be_read_file_by_file_are_told() {
        let wanted = |spec, annotations| info(spec).meet_pod(&pod("web", annotations)).unwrap();
        let none: Vec<String> = vec![];
        assert_eq!(wanted(json!({}), json!({})), none);
        assert_eq!(wanted(json!({}), json!({"backup.velero.io/backup-volumes": "data,other"})), ["data"]);
        let opt_out = json!({"defaultVolumesToFsBackup": true});
        assert_eq!(wanted(opt_out.clone(), json!({})), ["data", "cache"]);
        assert_eq!(wanted(opt_out, json!({"backup.velero.io/backup-volumes-excludes": "cache"})), ["data"]);
    }
}
