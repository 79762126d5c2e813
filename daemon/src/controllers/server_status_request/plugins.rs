//! What `velero plugin get` shows: the actions under the names that Velero registers, those that Velero lacks, and our
//! providers of storage.

use holdfast_policy::velero::PluginInfo;

use crate::actions;

const DOMAIN: &str = "velero.io";

const BY_KIND: [(&str, &[&str]); 7] = [
    ("ObjectStore", &["aws", "azure", "gcp", "local"]),
    ("BackupItemAction", &["pv", "pod", "service-account", "crd-remap-version"]),
    (
        "BackupItemActionV2",
        &[
            "csi-pvc-backupper",
            "csi-volumesnapshot-backupper",
            "csi-volumesnapshotcontent-backupper",
            "csi-volumesnapshotclass-backupper",
        ],
    ),
    (
        "RestoreItemAction",
        &[
            "job",
            "pod",
            "pod-volume-restore",
            "init-restore-hook",
            "service",
            "service-account",
            "add-pvc-from-pod",
            "change-storage-class",
            "change-image-name",
            "role-bindings",
            "cluster-role-bindings",
            "crd-preserve-fields",
            "pvc",
            "apiservice",
            "admission-webhook-configuration",
            "secret",
            "dataupload",
        ],
    ),
    (
        "RestoreItemActionV2",
        &[
            "csi-pvc-restorer",
            "csi-volumesnapshot-restorer",
            "csi-volumesnapshotcontent-restorer",
            "csi-volumesnapshotclass-restorer",
        ],
    ),
    ("DeleteItemAction", &["dataupload-delete", "csi-volumesnapshotcontent-delete"]),
    ("ItemBlockAction", &["pvc", "pod", "service-account"]),
];

pub(super) fn all() -> Vec<PluginInfo> {
    let info =
        |kind: &str, name: &str| PluginInfo { name: format!("{DOMAIN}/{name}"), kind: kind.to_owned() };
    let velero = BY_KIND.iter().flat_map(|(kind, names)| names.iter().map(|name| info(kind, name)));
    let ours = actions::restore::all().iter().map(|action| action.name);
    let ours = ours
        .filter(|name| !name.starts_with(DOMAIN))
        .map(|name| PluginInfo { name: name.to_owned(), kind: "RestoreItemAction".to_owned() });
    velero.chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_ours_is_listed_under_its_name() {
        let listed = all();
        let restore = actions::restore::all().iter().map(|action| ("RestoreItemAction", action.name));
        let backup = actions::backup::all().iter().map(|action| ("BackupItemAction", action.name));
        for (kind, name) in restore.chain(backup) {
            let found = listed.iter().any(|plugin| plugin.name == name && plugin.kind.starts_with(kind));
            assert!(found, "{kind} {name}");
        }
    }
}
