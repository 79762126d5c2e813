//! A pod whose volumes are to be read: whether that is possible at all, and for which of them. Pure.

use k8s_openapi::api::core::v1::{Pod, Volume};

/// A pod that runs on a node.
pub(super) struct Subject<'a> {
    pub(super) pod: &'a Pod,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    pub(super) node: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Yes,
    /// Behind "volume NAME".
    No {
        reason: &'static str,
    },
}

impl<'a> Subject<'a> {
    pub(super) fn of(pod: &'a Pod) -> Result<Self, &'static str> {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|it| !it.is_empty());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_some() {
            return Err("The pod is on its way out");
        }
        let node = node.ok_or("The pod is not scheduled")?;
        if phase != Some("Running") {
            return Err("The pod is not running");
        }
        Ok(Self {
            pod,
            namespace: pod.metadata.namespace.as_deref().unwrap_or_default(),
            name: pod.metadata.name.as_deref().unwrap_or_default(),
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            node,
        })
    }

    pub(super) fn look_at(&self, volume: &str) -> Readable {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut mounted = false;
        for container in containers {
            if container.volume_devices.iter().flatten().any(|device| device.name == volume) {
                return Readable::No { reason: "is a block device, which has no files to read" };
            }
            mounted |= container.volume_mounts.iter().flatten().any(|mount| mount.name == volume);
        }
        if mounted { Readable::Yes } else { Readable::No { reason: "is not mounted by any container" } }
    }

    /// Name of the claim, of one that Kubernetes made for the pod, too.
    pub(super) fn claim_of(&self, volume: &str) -> Option<String> {
        let volumes = self.pod.spec.as_ref()?.volumes.as_ref()?;
        let found: &Volume = volumes.iter().find(|known| known.name == volume)?;
        match (&found.persistent_volume_claim, &found.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{volume}", self.name)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str, node: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "u"},
            "spec": {
                "nodeName": node,
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
                    {"name": "scratch", "ephemeral": {}}, {"name": "cache", "emptyDir": {}},
                ],
                "containers": [{
                    "name": "main", "volumeDevices": [{"name": "raw", "devicePath": "/dev/x"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
                "initContainers": [{"name": "init", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}],
            },
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_pod_that_runs_somewhere_has_volumes_to_read() {
        let reason = |pod: &Pod| Subject::of(pod).err();
        assert_eq!(reason(&pod("Running", "n1")), None);
        assert_eq!(reason(&pod("Pending", "n1")), Some("The pod is not running"));
        assert_eq!(reason(&pod("Running", "")), Some("The pod is not scheduled"));
        let mut ending = pod("Running", "n1");
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-26T10:00:00Z")).unwrap();
        assert_eq!(reason(&ending), Some("The pod is on its way out"));
    }

    #[test]
    fn volumes_without_a_mounted_file_system_are_left_out() {
        let pod = pod("Running", "n1");
        let subject = Subject::of(&pod).unwrap();
        assert_eq!(subject.look_at("data"), Readable::Yes);
        assert!(matches!(subject.look_at("raw"), Readable::No { reason } if reason.contains("block device")));
        assert!(
            matches!(subject.look_at("cache"), Readable::No { reason } if reason.contains("not mounted"))
        );
    }

    #[test]
    fn a_claim_is_known_by_its_name_or_by_that_of_the_pod_it_was_made_for() {
        let pod = pod("Running", "n1");
        let subject = Subject::of(&pod).unwrap();
        assert_eq!(subject.claim_of("data").as_deref(), Some("data-db-0"));
        assert_eq!(subject.claim_of("scratch").as_deref(), Some("db-scratch"));
        assert_eq!(subject.claim_of("cache"), None);
    }
}
