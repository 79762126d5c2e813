//! What every backup's filters get besides what was written: namespaces that ask to be left out, and the
//! snapshot objects of other makers, of which a backup holds only those that it made itself.

use holdfast_policy::velero::{BackupSpec, labels};

use super::{NamespaceFacts, ResourceFilter};

pub const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
pub const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// Completes the filters; doing it again changes nothing.
pub fn complete_filters(spec: &mut BackupSpec, namespaces: &[NamespaceFacts]) {
    if spec.included_namespaces.is_empty() {
        spec.included_namespaces.push("*".into());
    }
    for namespace in namespaces.iter().filter(|namespace| namespace.asks_to_be_left_out()) {
        append(&mut spec.excluded_namespaces, &namespace.name);
    }
    leave_snapshots_out(spec);
}

impl NamespaceFacts {
    pub fn asks_to_be_left_out(&self) -> bool {
        self.labels.get(labels::EXCLUDE_FROM_BACKUP).is_some_and(|value| value == "true")
    }
}

fn leave_snapshots_out(spec: &mut BackupSpec) {
    if ResourceFilter::is_joint(spec) {
        for snapshots in [SNAPSHOTS, SNAPSHOT_CONTENTS] {
            spec.included_resources.retain(|included| included != snapshots);
            append(&mut spec.excluded_resources, snapshots);
        }
    } else {
        spec.included_namespace_scoped_resources.retain(|included| included != SNAPSHOTS);
        append(&mut spec.excluded_namespace_scoped_resources, SNAPSHOTS);
        spec.included_cluster_scoped_resources.retain(|included| included != SNAPSHOT_CONTENTS);
        append(&mut spec.excluded_cluster_scoped_resources, SNAPSHOT_CONTENTS);
    }
}

/// A run that is taken up again is prepared again, so nothing is appended twice.
fn append(list: &mut Vec<String>, entry: &str) {
    if !list.iter().any(|present| present == entry) {
        list.push(entry.to_owned());
    }
}
