//! Stand-ins for the group snapshots of a backup (reference: velero-restore.md 5.11 and 11.2).
//!
//! The driver says of a snapshot which group it is of, and the snapshot controller makes no VolumeSnapshot ready whose
//! group it does not know. So there is a VolumeGroupSnapshotContent for each group, without a VolumeGroupSnapshot, from before
//! the first VolumeSnapshot comes until all of them are ready. It deletes nothing when it goes. What goes wrong with it is a
//! warning: not every driver tells of groups.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::velero::labels::{CSI_GROUP_SNAPSHOT_HANDLE, RESTORE_NAME};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant, sleep};

use super::run::Run;
use crate::actions::GROUP_VERSIONS;
use crate::actions::restore::csi::{Csi, Kept};
use crate::causes::with_causes;
use crate::cluster::Resource;
use crate::engine::run_log::{Message, Place};

const CONTENTS: &str = "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io";
const CLASSES: &str = "volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The parameters of a class that name a Secret, and where a content has them.
const SECRETS: [(&str, &str); 2] = [
    (
        "csi.storage.k8s.io/group-snapshotter-secret-name",
        "groupsnapshot.storage.kubernetes.io/deletion-secret-name",
    ),
    (
        "csi.storage.k8s.io/group-snapshotter-secret-namespace",
        "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace",
    ),
];

/// A group whose snapshots come back in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    handle: String,
    driver: String,
    /// The one that they come into.
    namespace: String,
    members: BTreeSet<String>,
}

impl Group {
    fn name(&self, restore_uid: &str) -> String {
        let digest = Sha256::digest(format!("{restore_uid}/{}", self.handle));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn content(&self, api_version: &str, restore: (&str, &str), class: Option<&Value>) -> Value {
        let (restore, uid) = restore;
        let name = self.name(uid);
        let parameter = |key: &str| class?.pointer("/parameters")?.get(key)?.as_str();
        let secrets = SECRETS.iter().filter_map(|(key, annotation)| Some((*annotation, parameter(key)?)));
        json!({
            "apiVersion": api_version,
            "kind": "VolumeGroupSnapshotContent",
            "metadata": {
                "name": name,
                "labels": {RESTORE_NAME: restore},
                "annotations": secrets.collect::<BTreeMap<_, _>>(),
            },
            "spec": {
                "deletionPolicy": "Retain",
                "driver": self.driver,
                "source": {"groupSnapshotHandles": {
                    "volumeGroupSnapshotHandle": self.handle, "volumeSnapshotHandles": self.members,
                }},
                "volumeGroupSnapshotRef": {
                    "namespace": self.namespace, "name": format!("stub-vgs-{}", &name[..8]),
                },
            },
        })
    }
}

/// The groups of those snapshots that `target` gives a namespace.
fn groups<'a>(
    kept: impl Iterator<Item = &'a Kept>,
    target: impl Fn(&'a Kept) -> Option<&'a str>,
) -> Vec<Group> {
    let mut groups = BTreeMap::<(&str, &str), Group>::new();
    for kept in kept {
        let (Some(handle), Some(namespace)) = (&kept.group, target(kept)) else { continue };
        let group = groups.entry((&kept.driver, handle)).or_insert_with(|| Group {
            handle: handle.clone(),
            driver: kept.driver.clone(),
            namespace: namespace.to_owned(),
            members: BTreeSet::new(),
        });
        group.members.insert(kept.handle.clone());
    }
    groups.into_values().collect()
}

impl Run {
    fn volume_groups(&self) -> Vec<Group> {
        let Csi::Wanted(snapshots) = &self.csi else { return Vec::new() };
        let namespaces = &self.settings.selection.namespaces;
        groups(snapshots.kept.values(), |kept| {
            let target = self.settings.mapping.get(&kept.namespace).unwrap_or(&kept.namespace);
            namespaces.includes(&kept.namespace).then_some(target.as_str())
        })
    }

    /// Where the cluster knows of groups at all.
    fn stand_ins(&self) -> Option<(&Resource, Api<DynamicObject>)> {
        let contents = self.discovery.by_group_resource(CONTENTS);
        let contents = contents.filter(|contents| GROUP_VERSIONS.contains(&contents.version.as_str()))?;
        let kind = GroupVersionKind::gvk(&contents.group, &contents.version, &contents.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &contents.plural);
        Some((contents, Api::all_with(self.cluster.client().clone(), &resource)))
    }

    pub(super) async fn stand_in_for_groups(&self) {
        let groups = self.volume_groups();
        let Some((resource, contents)) = self.stand_ins().filter(|_| !groups.is_empty()) else { return };
        for group in groups {
            if let Err(error) = self.stand_in_for(&group, resource, &contents).await {
                self.tell_of_group(&group, "cannot stand in for the snapshot of a volume group", &error);
            }
        }
    }

    async fn stand_in_for(
        &self,
        group: &Group,
        resource: &Resource,
        contents: &Api<DynamicObject>,
    ) -> Result<(), String> {
        let class = self.class_of_groups(&group.driver).await.map_err(|error| with_causes(&error))?;
        let restore = (self.restore_label(), self.restore_uid());
        let content = group.content(&resource.api_version(), restore, class.as_ref());
        let content: DynamicObject = serde_json::from_value(content).map_err(|error| error.to_string())?;
        match contents.create(&PostParams::default(), &content).await {
            Ok(_) => {}
            // Of an attempt before.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(with_causes(&error)),
        }
        let told = json!({"status": {"volumeGroupSnapshotHandle": group.handle}});
        let name = group.name(restore.1);
        let patched = contents.patch_status(&name, &PatchParams::default(), &Patch::Merge(told)).await;
        patched.map(drop).map_err(|error| with_causes(&error))
    }

    /// The first of the driver.
    async fn class_of_groups(&self, driver: &str) -> Result<Option<Value>, crate::cluster::Error> {
        let Some(resource) = self.discovery.by_group_resource(CLASSES) else { return Ok(None) };
        let mut pages = self.cluster.list(resource, crate::cluster::ListScope::everything());
        while let Some(items) = pages.next().await? {
            let classes = items.iter().filter_map(|item| serde_json::from_slice::<Value>(&item.json).ok());
            let mut of_driver = classes.filter(|class| class["driver"] == driver);
            if let Some(class) = of_driver.next() {
                return Ok(Some(class));
            }
        }
        Ok(None)
    }

    /// Each when the VolumeSnapshots of its group are ready; at once when the restore is cancelled.
    pub(super) async fn remove_stand_ins(&self) {
        let groups = self.volume_groups();
        let Some((_, contents)) = self.stand_ins().filter(|_| !groups.is_empty()) else { return };
        let end = Instant::now() + self.timeouts.resource;
        for group in groups {
            let waited = self.cancel.run_until_cancelled(self.until_members_are_ready(&group, end)).await;
            if let Some(Err(reason)) = waited {
                let text = "the VolumeSnapshots of a volume group are not ready, so the \
                            VolumeGroupSnapshotContent that stands in for it stays";
                self.tell_of_group(&group, text, &reason);
                continue;
            }
            match contents.delete(&group.name(self.restore_uid()), &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    let text =
                        "cannot delete the VolumeGroupSnapshotContent that stood in for a volume group";
                    self.tell_of_group(&group, text, &with_causes(&error));
                }
            }
        }
    }

    async fn until_members_are_ready(&self, group: &Group, end: Instant) -> Result<(), String> {
        let Some(resource) = self.discovery.by_group_resource(SNAPSHOTS) else { return Ok(()) };
        let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &resource.plural);
        let snapshots: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client().clone(), &group.namespace, &resource);
        let own = format!("{RESTORE_NAME}={}", self.restore_label());
        let parameters = ListParams::default().labels(&own);
        loop {
            let reason = match snapshots.list(&parameters).await {
                Ok(found) => match found.items.iter().find(|snapshot| group.waits_for(snapshot)) {
                    None => return Ok(()),
                    Some(snapshot) => {
                        let name = snapshot.metadata.name.as_deref().unwrap_or_default();
                        format!("VolumeSnapshot {name} is not ready")
                    }
                },
                Err(error) => with_causes(&error),
            };
            if Instant::now() >= end {
                return Err(format!("{reason} after {} s", self.timeouts.resource.as_secs()));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// On everything that this restore makes.
    fn restore_label(&self) -> &str {
        self.settings.labels.get(RESTORE_NAME).and_then(Value::as_str).unwrap_or_default()
    }

    fn restore_uid(&self) -> &str {
        match &self.csi {
            Csi::Wanted(snapshots) => &snapshots.restore_uid,
            Csi::Unwanted | Csi::NotServed => "",
        }
    }

    fn tell_of_group(&self, group: &Group, text: &str, reason: &str) {
        let place = Place::Namespace(group.namespace.clone());
        self.log.warning(place, Message::new(text).name(&group.handle).cause(&reason));
    }
}

impl Group {
    fn waits_for(&self, snapshot: &DynamicObject) -> bool {
        let annotations = snapshot.metadata.annotations.as_ref();
        let group = annotations.and_then(|annotations| annotations.get(CSI_GROUP_SNAPSHOT_HANDLE));
        let is_ready = snapshot.data.pointer("/status/readyToUse").and_then(Value::as_bool);
        group == Some(&self.handle) && is_ready != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn kept(namespace: &str, handle: &str, group: Option<&str>) -> Kept {
        Kept {
            namespace: namespace.to_owned(),
            claim: "data".to_owned(),
            handle: handle.to_owned(),
            driver: "disk.example".to_owned(),
            group: group.map(str::to_owned),
        }
    }

    #[test]
    fn every_group_has_one_with_all_snapshots_that_come_back() {
        let all = [
            kept("shop", "snap-1", Some("group-1")),
            kept("shop", "snap-2", Some("group-1")),
            kept("shop", "snap-3", None),
            kept("blog", "snap-4", Some("group-2")),
        ];
        let found = groups(all.iter(), |kept| (kept.namespace == "shop").then_some("copy"));
        let expected = Group {
            handle: "group-1".to_owned(),
            driver: "disk.example".to_owned(),
            namespace: "copy".to_owned(),
            members: ["snap-1", "snap-2"].map(str::to_owned).into(),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn it_is_velero_s() {
        let found = groups([kept("shop", "snap-1", Some("group-1"))].iter(), |_| Some("shop"));
        let class = json!({"parameters": {SECRETS[0].0: "key", SECRETS[1].0: "storage"}});
        let name = found[0].name("r-uid");
        let content =
            found[0].content("groupsnapshot.storage.k8s.io/v1beta2", ("back", "r-uid"), Some(&class));
        assert_eq!(
            content,
            json!({
                "apiVersion": "groupsnapshot.storage.k8s.io/v1beta2", "kind": "VolumeGroupSnapshotContent",
                "metadata": {
                    "name": name, "labels": {"velero.io/restore-name": "back"},
                    "annotations": {
                        "groupsnapshot.storage.kubernetes.io/deletion-secret-name": "key",
                        "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace": "storage",
                    },
                },
                "spec": {
                    "deletionPolicy": "Retain", "driver": "disk.example",
                    "source": {"groupSnapshotHandles": {
                        "volumeGroupSnapshotHandle": "group-1", "volumeSnapshotHandles": ["snap-1"],
                    }},
                    "volumeGroupSnapshotRef": {
                        "namespace": "shop", "name": format!("stub-vgs-{}", &name[..8]),
                    },
                },
            })
        );
    }

    #[test]
    fn it_stays_until_every_snapshot_of_its_group_is_ready() {
        let found = groups([kept("shop", "snap-1", Some("group-1"))].iter(), |_| Some("shop"));
        let snapshot = |group: &str, ready: bool| -> DynamicObject {
            let annotations = json!({CSI_GROUP_SNAPSHOT_HANDLE: group});
            let object = json!({
                "apiVersion": "v1", "kind": "x", "metadata": {"annotations": annotations},
                "status": {"readyToUse": ready},
            });
            serde_json::from_value(object).unwrap()
        };
        assert!(found[0].waits_for(&snapshot("group-1", false)));
        assert!(!found[0].waits_for(&snapshot("group-1", true)));
        assert!(!found[0].waits_for(&snapshot("group-2", false)));
    }
}
