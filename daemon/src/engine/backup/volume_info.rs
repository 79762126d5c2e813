//! What became of each volume: takes the pods and volumes that the run meets, gives the entries of the volume
//! info file. Without a snapshotter every volume is an entry that says why its data was not taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_policy::model::volumes::VolumeActionType;
use holdfast_policy::velero::{self, BackupSpec, labels};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::csi;
use super::ledger::Ledger;
use super::volume_entry::{Entry, PersistentVolumeInfo};
use super::volume_verdict::PodVerdicts;
use crate::cluster::Item;
use crate::engine::run_log::{Message, Place, RunLog};

mod peek;

pub(super) use peek::PodVolume;
use peek::{PodPeek, VolumePeek};

const NO_SNAPSHOT: &str = "A volume policy wants a snapshot, and nobody here can take one of this volume";
const CLAIM_KIND: &str = "v1/PersistentVolumeClaim";
const NOT_CHOSEN: &str =
    "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;";

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
    /// In so many words: a volume that cannot be is an error.
    Asked,
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
    /// Claims that some pod was to have read file by file.
    read: BTreeSet<(String, String)>,
    volumes: BTreeMap<String, Volume>,
    /// By namespace, for namespaces whose snapshots were asked about.
    read_by_files: BTreeMap<String, Arc<OnceCell<BTreeSet<String>>>>,
    /// By the volume's name: why a way of keeping it was not taken.
    passed_over: BTreeMap<(String, Approach), String>,
    /// Those of volumes that have data somewhere, or were to.
    kept: Vec<Entry>,
    lists: Lists,
    counts: SnapshotCounts,
}

#[derive(Debug)]
struct Volume {
    claim: Option<(String, String)>,
    /// Of the volume policies.
    verdict: Option<VolumeActionType>,
    /// Of a CSI volume.
    driver: Option<String>,
    reclaim_policy: String,
    labels: Option<BTreeMap<String, String>>,
}

/// Which way of keeping a volume has passed it over; in the order in which Velero tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Approach {
    CsiSnapshot,
}

impl Approach {
    fn name(self) -> &'static str {
        match self {
            Self::CsiSnapshot => "csiSnapshot",
        }
    }
}

/// Lists that stand in files of their own beside the archive.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Snapshots that a provider's own interface made.
    pub(super) native: Vec<Value>,
    pub(super) pod_volume_backups: Vec<velero::PodVolumeBackup>,
    pub(super) operations: Vec<Value>,
}

/// How many snapshots were tried and made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotCounts {
    pub native_attempted: u64,
    pub native_completed: u64,
    pub csi_attempted: u64,
    pub csi_completed: u64,
    /// Snapshots whose data was to be moved.
    pub moves_attempted: u64,
    pub moves_completed: u64,
}

impl VolumeInfo {
    pub(super) fn new(spec: &BackupSpec) -> Self {
        Self {
            snapshots: match spec.snapshot_volumes {
                Some(false) => Snapshots::Never,
                Some(true) => Snapshots::Asked,
                None => Snapshots::WherePossible,
            },
            files: match spec.default_volumes_to_fs_backup {
                Some(true) => Files::OptOut,
                Some(false) | None => Files::OptIn,
            },
            state: Mutex::default(),
        }
    }

    /// Remembers which claims the pod mounts. Gives the names of volumes that are to be read file by file.
    pub(super) fn meet_pod(
        &self,
        pod: &Item,
        verdicts: &PodVerdicts,
    ) -> Result<Vec<String>, serde_json::Error> {
        let PodPeek { metadata, spec } = serde_json::from_slice(&pod.json)?;
        let mut state = self.state();
        let mut wanted = Vec::new();
        for volume in spec.volumes.into_iter().filter(PodVolume::can_be_read) {
            let claim = volume.claim_name().map(str::to_owned);
            let claim = claim.map(|claim| (pod.namespace.clone().unwrap_or_default(), claim));
            let chosen = match verdicts.get(&volume.name) {
                Some(VolumeActionType::FsBackup) => true,
                Some(VolumeActionType::Skip | VolumeActionType::Snapshot | VolumeActionType::Custom) => false,
                None => self.files.choose(&metadata.annotations, &volume.name),
            };
            if chosen {
                wanted.push(volume.name);
                state.read.extend(claim);
            } else if let Some(claim) = claim {
                state.pods.entry(claim).or_insert_with(|| pod.name.clone());
            }
        }
        Ok(wanted)
    }

    pub(super) fn meet_volume(
        &self,
        volume: &Item,
        verdict: Option<VolumeActionType>,
    ) -> Result<(), serde_json::Error> {
        self.state().volumes.insert(volume.name.clone(), Volume::read(volume, verdict)?);
        Ok(())
    }

    /// What a snapshot has to know of a volume that was met.
    pub(super) fn known(&self, volume: &str) -> Option<csi::Volume> {
        self.state().volumes.get(volume).map(Volume::for_snapshots)
    }

    /// Whether the spec wants snapshots where nothing says otherwise.
    pub(super) fn wants_snapshots(&self) -> bool {
        match self.snapshots {
            Snapshots::Asked | Snapshots::WherePossible => true,
            Snapshots::Never => false,
        }
    }

    /// Whether the spec wants them in so many words.
    pub(super) fn insists_on_snapshots(&self) -> bool {
        match self.snapshots {
            Snapshots::Asked => true,
            Snapshots::WherePossible | Snapshots::Never => false,
        }
    }

    /// The claims of a namespace that are read file by file, once they were looked for.
    pub(super) fn read_by_files(&self, namespace: &str) -> Arc<OnceCell<BTreeSet<String>>> {
        self.state().read_by_files.entry(namespace.to_owned()).or_default().clone()
    }

    /// The claims among the volumes of a pod that its annotations, or the spec, want to be read file by file.
    pub(super) fn claims_chosen_by(&self, pod: &Item) -> Result<Vec<String>, serde_json::Error> {
        let PodPeek { metadata, spec } = serde_json::from_slice(&pod.json)?;
        let volumes = spec.volumes.into_iter().filter(PodVolume::can_be_read);
        let chosen = volumes.filter(|volume| self.files.choose(&metadata.annotations, &volume.name));
        Ok(chosen.filter_map(|volume| volume.claim_name().map(str::to_owned)).collect())
    }

    /// Reports volumes whose data a policy wants, and which this run has no copy of.
    pub(super) fn report_uncopied(&self, log: &RunLog) {
        let state = self.state();
        let is_kept = |name: &String| state.kept.iter().any(|entry| entry.pv_name.as_ref() == Some(name));
        for (name, volume) in state.volumes.iter().filter(|(name, _)| !is_kept(name)) {
            let message = |text: &str| Message::new(text).resource("persistentvolumes").name(name);
            match volume.verdict {
                Some(VolumeActionType::Snapshot) => log.error(Place::Cluster, message(NO_SNAPSHOT)),
                // The pods that mount it have been reported one by one.
                Some(VolumeActionType::FsBackup)
                    if volume.claim.as_ref().is_some_and(|claim| state.read.contains(claim)) => {}
                Some(VolumeActionType::FsBackup) => log.warning(
                    Place::Cluster,
                    message("No pod of the backup mounts the volume, so its files cannot be read"),
                ),
                Some(VolumeActionType::Skip | VolumeActionType::Custom) | None => {}
            }
        }
    }

    /// Remembers why a volume is not kept in one of the ways. Without any way, the entry tells all reasons.
    pub(super) fn pass_over(&self, volume: &str, approach: Approach, reason: &str) {
        self.state().passed_over.insert((volume.to_owned(), approach), reason.to_owned());
    }

    /// Remembers a volume that has been kept, or failed to be.
    pub(super) fn keep(&self, entry: Entry) {
        self.state().kept.push(entry);
    }

    /// Adds to the lists beside the archive.
    pub(super) fn list(&self, add: impl FnOnce(&mut Lists)) {
        add(&mut self.state().lists);
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut SnapshotCounts)) {
        add(&mut self.state().counts);
    }

    pub(super) fn counts(&self) -> SnapshotCounts {
        self.state().counts
    }

    pub(super) fn take_lists(&self) -> Lists {
        std::mem::take(&mut self.state().lists)
    }

    /// What is known of a volume that was met.
    pub(super) fn volume_facts(&self, volume: &str) -> Option<PersistentVolumeInfo> {
        self.state().volumes.get(volume).map(Volume::info)
    }

    /// The file's entries: volumes that were skipped, by name, then those that were kept.
    pub(super) fn entries(&self, ledger: &Ledger) -> Vec<Entry> {
        let state = self.state();
        let is_kept = |name: &String| state.kept.iter().any(|entry| entry.pv_name.as_ref() == Some(name));
        let skipped = |(name, volume): (&String, &Volume)| {
            let pod = volume.claim.as_ref().and_then(|claim| state.pods.get(claim));
            let (pvc_namespace, pvc_name) = volume.claim.clone().unzip();
            let passed_over = |approach| state.passed_over.get(&(name.clone(), approach));
            Entry {
                pvc_name,
                pvc_namespace,
                pv_name: Some(name.clone()),
                skipped: true,
                skipped_reason: Some(self.reasons(volume, pod, passed_over(Approach::CsiSnapshot), ledger)),
                pv_info: Some(volume.info()),
                ..Entry::default()
            }
        };
        let volumes = state.volumes.iter().filter(|(name, _)| !is_kept(name)).map(skipped);
        volumes.chain(state.kept.iter().cloned()).collect()
    }

    /// Velero's words: readers look for them.
    fn reasons(
        &self,
        volume: &Volume,
        pod: Option<&String>,
        no_csi_snapshot: Option<&String>,
        ledger: &Ledger,
    ) -> String {
        let mut reasons = String::new();
        let has_claim = volume
            .claim
            .as_ref()
            .is_some_and(|(namespace, name)| ledger.has(CLAIM_KIND, Some(namespace), name));
        if volume.verdict == Some(VolumeActionType::Skip) && has_claim {
            reasons.push_str("any: skipped due to resource policy ;");
        }
        if let Some(reason) = no_csi_snapshot {
            reasons.push_str(&format!("{}: {reason};", Approach::CsiSnapshot.name()));
        }
        if let Some(pod) = pod {
            reasons.push_str(&format!("podvolume: opted out due to annotation in pod {pod};"));
        }
        let wanted = match volume.verdict {
            Some(VolumeActionType::Snapshot) => Snapshots::WherePossible,
            Some(VolumeActionType::Skip | VolumeActionType::FsBackup | VolumeActionType::Custom) => {
                Snapshots::Never
            }
            None => self.snapshots,
        };
        reasons.push_str(match wanted {
            Snapshots::Asked | Snapshots::WherePossible => {
                "volumeSnapshot: no applicable volumesnapshotter found;"
            }
            Snapshots::Never => NOT_CHOSEN,
        });
        reasons
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    fn read(volume: &Item, verdict: Option<VolumeActionType>) -> Result<Self, serde_json::Error> {
        let VolumePeek { metadata, spec } = serde_json::from_slice(&volume.json)?;
        Ok(Self {
            claim: spec.claim_ref.map(|claim| (claim.namespace, claim.name)),
            verdict,
            driver: spec.csi.map(|source| source.driver),
            reclaim_policy: spec.persistent_volume_reclaim_policy,
            labels: metadata.labels,
        })
    }

    fn for_snapshots(&self) -> csi::Volume {
        csi::Volume { driver: self.driver.clone(), verdict: self.verdict, facts: self.info() }
    }

    fn info(&self) -> PersistentVolumeInfo {
        PersistentVolumeInfo { reclaim_policy: self.reclaim_policy.clone(), labels: self.labels.clone() }
    }
}

/// Namespace and name of the claim that a PersistentVolume is bound to.
pub(super) fn claim_of(volume: &Item) -> Result<Option<(String, String)>, serde_json::Error> {
    let VolumePeek { metadata: _, spec } = serde_json::from_slice(&volume.json)?;
    Ok(spec.claim_ref.map(|claim| (claim.namespace, claim.name)))
}

/// What a snapshot has to know of a volume that is not in the backup.
pub(super) fn look_at(
    volume: &Item,
    verdict: Option<VolumeActionType>,
) -> Result<csi::Volume, serde_json::Error> {
    Ok(Volume::read(volume, verdict)?.for_snapshots())
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

#[cfg(test)]
mod tests;
