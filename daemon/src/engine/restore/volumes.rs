//! Persistent volumes and claims: which come back as they were, which are provisioned anew, and which hold data that
//! can't be brought back yet.
//!
//! In: objects, and the backup's own account of its volumes. Out: decisions and the changed objects. Restoring data
//! is not part of it: a backup whose data would be needed is refused before anything is created.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::velero;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::target_namespace;
use super::selection::Selection;
use crate::actions::restore::csi::{self, Csi};
use crate::engine::node_agents::DataPath;

const BIND_ANNOTATIONS: [&str; 2] =
    ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];

/// How a backup kept a volume, from its volume info file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct VolumeInfo {
    pub(crate) pvc_name: String,
    pub(crate) pvc_namespace: String,
    pub(crate) pv_name: String,
    pub(crate) backup_method: String,
    pub(crate) snapshot_data_moved: bool,
    pub(crate) pvb_info: Option<PodVolumeInfo>,
    pub(crate) csi_snapshot_info: Option<CsiSnapshotInfo>,
    pub(crate) native_snapshot_info: Option<NativeSnapshotInfo>,
    pub(crate) result: String,
    pub(crate) pv_info: Option<FormerVolume>,
}

/// Of a volume that its provider made a snapshot of. Capitals that stand out are Velero's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct NativeSnapshotInfo {
    pub(crate) snapshot_handle: String,
    volume_type: String,
    #[serde(rename = "volumeAZ")]
    volume_az: String,
    iops: String,
    #[serde(rename = "Phase")]
    phase: String,
}

/// What a volume was like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FormerVolume {
    pub(crate) reclaim_policy: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// Of a volume that is in a CSI snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CsiSnapshotInfo {
    pub(crate) snapshot_handle: String,
    size: i64,
    pub(crate) driver: String,
    /// Of the VolumeSnapshotContent.
    pub(crate) vsc_name: String,
    #[serde(rename = "ReadyToUse")]
    ready_to_use: Option<bool>,
    pub(crate) volume_group_snapshot_handle: String,
}

/// Of a volume whose files are in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodVolumeInfo {
    pub(crate) uploader_type: String,
    pub(crate) pod_namespace: String,
}

/// What happens to a persistent volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeDecision {
    /// Its storage went with it; the claim gets a new, empty one.
    ProvisionAnew,
    /// Its storage outlives it; the volume points at it again.
    AsItWas,
    /// Its provider makes a volume of a snapshot.
    FromSnapshot,
}

pub(crate) fn decide(volume: &Value, info: Option<&VolumeInfo>) -> VolumeDecision {
    if info.is_some_and(VolumeInfo::has_a_new_volume) {
        return VolumeDecision::ProvisionAnew;
    }
    if info.is_some_and(|info| info.backup_method == "NativeSnapshot") {
        return VolumeDecision::FromSnapshot;
    }
    match volume.pointer("/spec/persistentVolumeReclaimPolicy").and_then(Value::as_str) {
        Some("Delete") => VolumeDecision::ProvisionAnew,
        Some(_) | None => VolumeDecision::AsItWas,
    }
}

/// Under what a volume stands of which the backup only tells the claim; no volume can have such a name.
pub(crate) fn name_by_claim(volume: &Value) -> String {
    let claim =
        |key: &str| volume.pointer("/spec/claimRef").and_then(|claim| claim.get(key)).and_then(Value::as_str);
    format!("{}/{}", claim("namespace").unwrap_or_default(), claim("name").unwrap_or_default())
}

/// Makes a volume's claim reference fit the cluster it comes into.
pub(crate) fn rebind_volume(volume: &mut Value, mapping: &BTreeMap<String, String>) {
    if let Some(claim) = volume.pointer_mut("/spec/claimRef").and_then(Value::as_object_mut) {
        claim.remove("uid");
        claim.remove("resourceVersion");
        if let Some(namespace) = claim.get_mut("namespace")
            && let Some(target) =
                namespace.as_str().map(|source| target_namespace(mapping, source).to_owned())
        {
            *namespace = Value::String(target);
        }
    }
    remove_bind_annotations(volume);
}

/// Lets go of a claim's volume where that is provisioned anew, and names it as it is named here.
pub(crate) fn rebind_claim(
    claim: &mut Value,
    provisioned_anew: impl Fn(&str) -> bool,
    name_of: impl Fn(&str) -> Option<String>,
) {
    let Some(volume) =
        claim.pointer("/spec/volumeName").and_then(Value::as_str).filter(|name| !name.is_empty())
    else {
        return;
    };
    let (let_go, renamed) = (provisioned_anew(volume), name_of(volume));
    remove_bind_annotations(claim);
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let_go {
        spec.remove("volumeName");
    } else if let Some(name) = renamed {
        spec.insert("volumeName".to_owned(), Value::String(name));
    }
}

fn remove_bind_annotations(object: &mut Value) {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        for annotation in BIND_ANNOTATIONS {
            annotations.remove(annotation);
        }
    }
}

/// What a restore can and shall read.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Whether snapshots are wanted at all; files are, always.
    pub(crate) snapshots: Snapshots,
    pub(crate) data_path: DataPath,
    /// CSI drivers that the cluster has a VolumeSnapshotClass of.
    pub(crate) drivers: BTreeSet<String>,
    /// Names of volumes whose snapshots their provider can make volumes of here.
    pub(crate) native: BTreeSet<String>,
}

/// The volumes that this restore would bring back empty although the backup has their data.
pub(crate) fn unreadable(volumes: &[VolumeInfo], selection: &Selection, reach: &Reach) -> Vec<String> {
    let Reach { snapshots, data_path, drivers, native } = reach;
    let wanted = ["persistentvolumeclaims", "persistentvolumes", "pods"]
        .iter()
        .any(|group_resource| selection.resources.includes(group_resource));
    volumes
        .iter()
        .filter(|volume| {
            let namespace = volume.namespace();
            wanted && (namespace.is_empty() || selection.namespaces.includes(namespace))
        })
        .filter_map(|volume| {
            let how = match (volume.backup_method.as_str(), *snapshots) {
                ("", _) => return None,
                ("PodVolumeBackup", _) if volume.is_readable(*data_path) => return None,
                ("PodVolumeBackup", _) => "a kopia repository",
                (_, Snapshots::Unwanted) => return None,
                // What needs it is not in the archive.
                ("CSISnapshot" | "NativeSnapshot", Snapshots::Wanted) if volume.has_no_snapshot() => return None,
                ("CSISnapshot", Snapshots::Wanted) if volume.snapshot_data_moved => match data_path {
                    DataPath::Holdfast => "a kopia repository",
                    DataPath::Velero => return None,
                },
                ("CSISnapshot", Snapshots::Wanted) => match &volume.csi_snapshot_info {
                    Some(info) if drivers.contains(&info.driver) => return None,
                    Some(_) => "a CSI snapshot of a driver without VolumeSnapshotClass here",
                    None => "a CSI snapshot that the volume info does not name",
                },
                ("NativeSnapshot", Snapshots::Wanted) if native.contains(&volume.pv_name) => return None,
                ("NativeSnapshot", Snapshots::Wanted) => {
                    "a snapshot that failed, or whose VolumeSnapshotLocation is not here"
                }
                (_, Snapshots::Wanted) => "a form that is not known",
            };
            let VolumeInfo { pvc_name, pvc_namespace, pv_name, .. } = volume;
            Some(format!("data of volume {pv_name} (claim {pvc_namespace}/{pvc_name}) is in {how}, which can't be read yet"))
        })
        .collect()
}

impl VolumeInfo {
    /// Its claim gets a volume of its own for the data, also where the data is not wanted.
    fn has_a_new_volume(&self) -> bool {
        matches!(self.backup_method.as_str(), "PodVolumeBackup" | "CSISnapshot")
    }

    /// What the claim's new volume is to become like.
    pub(crate) fn former_of_a_new_one(&self) -> Option<&FormerVolume> {
        self.pv_info.as_ref().filter(|_| self.has_a_new_volume())
    }

    fn namespace(&self) -> &str {
        match &self.pvb_info {
            Some(info) if self.pvc_namespace.is_empty() => &info.pod_namespace,
            Some(_) | None => &self.pvc_namespace,
        }
    }

    /// It failed before there was one.
    fn has_no_snapshot(&self) -> bool {
        let csi = self.csi_snapshot_info.as_ref().filter(|_| !self.snapshot_data_moved);
        let csi = csi.map(|info| info.snapshot_handle.as_str());
        let native = self.native_snapshot_info.as_ref().map(|info| info.snapshot_handle.as_str());
        self.result == "failed" && csi.or(native) == Some("")
    }

    /// Whether somebody is there who reads the repository with its files.
    fn is_readable(&self, data_path: DataPath) -> bool {
        match (self.pvb_info.as_ref().map(|info| info.uploader_type.as_str()), data_path) {
            // A list of old that does not say is restic's.
            (Some("restic" | ""), _) | (Some("kopia"), DataPath::Velero) => true,
            (Some(_), _) | (None, _) => false,
        }
    }
}

/// What the restore makes of CSI snapshots in a cluster that knows them.
pub(crate) fn csi(
    volumes: &[VolumeInfo],
    snapshots: Snapshots,
    backup: &str,
    restore: &velero::Restore,
) -> Csi {
    match snapshots {
        Snapshots::Unwanted => Csi::Unwanted,
        Snapshots::Wanted => {
            let in_snapshots = volumes.iter().filter(|volume| !volume.snapshot_data_moved);
            let kept = in_snapshots.filter_map(|volume| {
                let info = volume.csi_snapshot_info.as_ref()?;
                let kept = csi::Kept {
                    namespace: volume.pvc_namespace.clone(),
                    claim: volume.pvc_name.clone(),
                    handle: info.snapshot_handle.clone(),
                    driver: info.driver.clone(),
                    group: Some(info.volume_group_snapshot_handle.clone()).filter(|group| !group.is_empty()),
                };
                Some((info.vsc_name.clone(), kept))
            });
            Csi::Wanted(csi::Snapshots {
                backup: backup.to_owned(),
                restore_uid: restore.metadata.uid.clone().unwrap_or_default(),
                kept: kept.collect(),
            })
        }
    }
}

/// `spec.restorePVs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshots {
    Wanted,
    Unwanted,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::selection::{Details, NameFilter};
    use super::*;

    fn everything() -> Selection {
        Selection {
            resources: NameFilter::new(&[], &[]),
            namespaces: NameFilter::new(&[], &[]),
            cluster_scope: None.into(),
            details: Details::default(),
        }
    }

    /// A cluster that can read no snapshot.
    fn nothing() -> Reach {
        Reach {
            snapshots: Snapshots::Wanted,
            data_path: DataPath::Holdfast,
            drivers: BTreeSet::new(),
            native: BTreeSet::new(),
        }
    }

    #[test]
    fn only_storage_that_went_with_its_volume_is_provisioned_anew() {
        let volume = |policy: &str| json!({"spec": {"persistentVolumeReclaimPolicy": policy}});
        assert_eq!(decide(&volume("Delete"), None), VolumeDecision::ProvisionAnew);
        assert_eq!(decide(&volume("Retain"), None), VolumeDecision::AsItWas);
        assert_eq!(decide(&json!({"spec": {}}), None), VolumeDecision::AsItWas);
        let snapshot = VolumeInfo { backup_method: "CSISnapshot".to_owned(), ..VolumeInfo::default() };
        assert_eq!(decide(&volume("Retain"), Some(&snapshot)), VolumeDecision::ProvisionAnew);
    }

    #[test]
    fn a_volume_s_claim_reference_moves_and_forgets_its_uid() {
        let mut volume = json!({
            "metadata": {"annotations": {
                "pv.kubernetes.io/bound-by-controller": "yes", "pv.kubernetes.io/provisioned-by": "x",
            }},
            "spec": {"claimRef": {"namespace": "shop", "name": "data", "uid": "1", "resourceVersion": "2"}},
        });
        rebind_volume(&mut volume, &BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]));
        assert_eq!(
            volume,
            json!({
                "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "x"}},
                "spec": {"claimRef": {"namespace": "shop-r", "name": "data"}},
            })
        );
    }

    #[test]
    fn a_claim_lets_go_of_a_volume_that_is_provisioned_anew_only() {
        let claim = json!({"metadata": {}, "spec": {"volumeName": "vol", "storageClassName": "slow"}});
        let mut anew = claim.clone();
        rebind_claim(&mut anew, |name| name == "vol", |_| None);
        assert_eq!(anew["spec"], json!({"storageClassName": "slow"}));
        let mut kept = claim.clone();
        rebind_claim(&mut kept, |_| false, |_| None);
        assert_eq!(kept, claim);
        rebind_claim(&mut kept, |_| false, |_| Some("velero-clone-1".to_owned()));
        assert_eq!(kept["spec"]["volumeName"], "velero-clone-1");
    }

    #[test]
    fn data_that_can_t_be_read_is_named_unless_nobody_wants_it() {
        let volume = |method: &str| VolumeInfo {
            pvc_name: "data".to_owned(),
            pvc_namespace: "shop".to_owned(),
            pv_name: "vol".to_owned(),
            backup_method: method.to_owned(),
            ..VolumeInfo::default()
        };
        let selection = |namespaces: &[&str], excluded: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            Selection {
                resources: NameFilter::new(&[], &names(excluded)),
                namespaces: NameFilter::new(&names(namespaces), &[]),
                cluster_scope: None.into(),
                details: Details::default(),
            }
        };
        let found = |method: &str, selection: &Selection, snapshots| {
            let reach = Reach { snapshots, ..nothing() };
            unreadable(&[volume(method)], selection, &reach).len()
        };
        let everything = selection(&[], &[]);
        assert_eq!(found("", &everything, Snapshots::Wanted), 0);
        for method in ["PodVolumeBackup", "CSISnapshot", "NativeSnapshot", "Novel"] {
            assert_eq!(found(method, &everything, Snapshots::Wanted), 1, "{method}");
            assert_eq!(found(method, &selection(&["blog"], &[]), Snapshots::Wanted), 0, "{method}");
        }
        assert_eq!(found("CSISnapshot", &everything, Snapshots::Unwanted), 0);
        assert_eq!(found("PodVolumeBackup", &everything, Snapshots::Unwanted), 1);
        let no_volumes = selection(&[], &["persistentvolumeclaims", "persistentvolumes", "pods"]);
        assert_eq!(found("PodVolumeBackup", &no_volumes, Snapshots::Wanted), 0);
    }

    #[test]
    fn files_in_a_repository_of_restic_s_can_be_read_and_kopia_s_by_velero_s_agent() {
        let volume = |uploader: &str| VolumeInfo {
            backup_method: "PodVolumeBackup".to_owned(),
            pvb_info: Some(PodVolumeInfo {
                uploader_type: uploader.to_owned(),
                pod_namespace: "shop".to_owned(),
            }),
            ..VolumeInfo::default()
        };
        let selection = Selection {
            resources: NameFilter::new(&[], &[]),
            namespaces: NameFilter::new(&["shop".to_owned()], &[]),
            cluster_scope: None.into(),
            details: Details::default(),
        };
        let found = |uploader: &str, data_path| {
            let reach = Reach { data_path, ..nothing() };
            unreadable(&[volume(uploader)], &selection, &reach).len()
        };
        assert_eq!(found("restic", DataPath::Holdfast), 0);
        assert_eq!(found("", DataPath::Holdfast), 0);
        assert_eq!(found("kopia", DataPath::Holdfast), 1);
        assert_eq!(found("kopia", DataPath::Velero), 0);
        assert_eq!(found("novel", DataPath::Velero), 1);
    }

    #[test]
    fn a_csi_snapshot_can_be_read_where_its_driver_has_a_class_and_moved_data_by_velero_s_agent() {
        let volume = |driver: &str| VolumeInfo {
            backup_method: "CSISnapshot".to_owned(),
            csi_snapshot_info: Some(CsiSnapshotInfo {
                driver: driver.to_owned(),
                ..CsiSnapshotInfo::default()
            }),
            ..VolumeInfo::default()
        };
        let reach = Reach { drivers: BTreeSet::from(["disk.example".to_owned()]), ..nothing() };
        let found = |volume: VolumeInfo| unreadable(&[volume], &everything(), &reach).len();
        assert_eq!(found(volume("disk.example")), 0);
        assert_eq!(found(volume("other.example")), 1);
        let moved = VolumeInfo { snapshot_data_moved: true, ..volume("disk.example") };
        assert_eq!(found(moved.clone()), 1);
        let by_velero = Reach { data_path: DataPath::Velero, drivers: BTreeSet::new(), ..reach };
        assert_eq!(unreadable(&[moved], &everything(), &by_velero), [""; 0]);
    }

    #[test]
    fn a_snapshot_that_was_never_taken_is_no_data() {
        let csi = |snapshot_handle: &str| VolumeInfo {
            backup_method: "CSISnapshot".to_owned(),
            csi_snapshot_info: Some(CsiSnapshotInfo {
                snapshot_handle: snapshot_handle.to_owned(),
                ..CsiSnapshotInfo::default()
            }),
            ..VolumeInfo::default()
        };
        let native = |snapshot_handle: &str| VolumeInfo {
            backup_method: "NativeSnapshot".to_owned(),
            native_snapshot_info: Some(NativeSnapshotInfo {
                snapshot_handle: snapshot_handle.to_owned(),
                ..NativeSnapshotInfo::default()
            }),
            ..VolumeInfo::default()
        };
        let found = |volume: VolumeInfo, result: &str| {
            let volume = VolumeInfo { result: result.to_owned(), ..volume };
            unreadable(&[volume], &everything(), &nothing()).len()
        };
        let both: [&dyn Fn(&str) -> VolumeInfo; 2] = [&csi, &native];
        for volume in both {
            assert_eq!(found(volume(""), "failed"), 0);
            assert_eq!(found(volume("a"), "failed"), 1);
            assert_eq!(found(volume(""), "succeeded"), 1);
        }
        assert_eq!(found(VolumeInfo { snapshot_data_moved: true, ..csi("") }, "failed"), 1);
        assert_eq!(
            found(VolumeInfo { backup_method: "CSISnapshot".to_owned(), ..VolumeInfo::default() }, "failed"),
            1
        );
    }
}
