//! Where the kubelet has a pod's volume on the node, and whether a restored pod waits for it.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::{Api, Client};

use crate::cluster::patience::until_answered;
use crate::engine::pod_volumes::RESTORE_WAIT;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {kind} {name}")]
    Read { kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("{kind} {name} does not exist")]
    Missing { kind: &'static str, name: String },
    #[error("pod {name} has no volume {volume}")]
    NoVolume { name: String, volume: String },
    #[error("claim {claim} has no volume")]
    NotBound { claim: String },
    #[error("cannot look into {path}")]
    Look { path: PathBuf, source: io::Error },
    #[error("the kubelet has no folder for volume {volume} in {path}")]
    NoFolder { volume: String, path: PathBuf },
    #[error("{text:?} can't be the name of a folder")]
    Name { text: String },
}

/// How the kubelet calls the volume's folder, below one named after the plug-in.
struct Folder {
    name: String,
    depth: Depth,
}

/// Where its files begin.
#[derive(Clone, Copy)]
enum Depth {
    InTheFolder,
    /// CSI volumes are mounted one level deeper.
    BelowMount,
}

impl Depth {
    fn of(is_csi: bool) -> Self {
        if is_csi { Self::BelowMount } else { Self::InTheFolder }
    }
}

/// The node that the pod is on.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// Whether the container runs that holds the pod back until its volumes are restored.
pub(super) fn waits_for_restore(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    statuses.into_iter().flatten().any(|status| {
        status.name == RESTORE_WAIT && status.state.as_ref().is_some_and(|state| state.running.is_some())
    })
}

/// The folder with the volume's files.
pub(super) async fn folder(
    client: &Client,
    pods: &Path,
    pod: &ObjectReference,
    volume: &str,
) -> Result<PathBuf, Error> {
    let namespace = pod.namespace.as_deref().unwrap_or_default();
    let name = pod.name.clone().unwrap_or_default();
    let found: Pod = get(client, namespace, "pod", &name).await?;
    let uid = found.metadata.uid.clone().unwrap_or_default();
    if pod.uid.as_ref().is_some_and(|wanted| *wanted != uid) {
        return Err(Error::Missing { kind: "pod", name });
    }
    let volumes = found.spec.and_then(|spec| spec.volumes).unwrap_or_default();
    let known = volumes.into_iter().find(|known| known.name == volume);
    let known = known.ok_or_else(|| Error::NoVolume { name: name.clone(), volume: volume.to_owned() })?;
    let folder = folder_of(client, namespace, &name, &known).await?;
    let below = pods.join(checked(&uid)?).join("volumes");
    // Reads of a disk that may be slow, a few names each.
    let found = find(&below, checked(&folder.name)?)?;
    let found = found.ok_or(Error::NoFolder { volume: volume.to_owned(), path: below })?;
    Ok(match folder.depth {
        Depth::InTheFolder => found,
        Depth::BelowMount => found.join("mount"),
    })
}

async fn folder_of(client: &Client, namespace: &str, pod: &str, volume: &Volume) -> Result<Folder, Error> {
    let claim = match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => claim.claim_name.clone(),
        (None, Some(_)) => format!("{pod}-{}", volume.name),
        (None, None) => {
            return Ok(Folder { name: volume.name.clone(), depth: Depth::of(volume.csi.is_some()) });
        }
    };
    let found: PersistentVolumeClaim = get(client, namespace, "claim", &claim).await?;
    let name = found.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
    let name = name.ok_or(Error::NotBound { claim })?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let persistent = until_answered(|| volumes.get_opt(&name)).await;
    let persistent = answer("persistent volume", &name, persistent)?;
    let is_csi = persistent.spec.is_some_and(|spec| spec.csi.is_some());
    Ok(Folder { name, depth: Depth::of(is_csi) })
}

async fn get<K>(client: &Client, namespace: &str, kind: &'static str, name: &str) -> Result<K, Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    answer(kind, name, until_answered(|| api.get_opt(name)).await)
}

fn answer<K>(kind: &'static str, name: &str, found: kube::Result<Option<K>>) -> Result<K, Error> {
    let name = || name.to_owned();
    found
        .map_err(|source| Error::Read { kind, name: name(), source: Box::new(source) })?
        .ok_or_else(|| Error::Missing { kind, name: name() })
}

/// A folder of this name below any of the plug-ins'.
fn find(volumes: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let look = |source| Error::Look { path: volumes.to_owned(), source };
    for plugin in std::fs::read_dir(volumes).map_err(look)? {
        let candidate = plugin.map_err(look)?.path().join(name);
        if candidate.is_dir() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// One step of a path, and nothing that leads elsewhere.
fn checked(text: &str) -> Result<&str, Error> {
    match text {
        "" | "." | ".." => Err(Error::Name { text: text.to_owned() }),
        text if text.contains('/') => Err(Error::Name { text: text.to_owned() }),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_is_found_below_whatever_plug_in_mounted_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("kubernetes.io~local-volume/pv-1");
        std::fs::create_dir_all(&made).unwrap();
        std::fs::create_dir_all(folder.path().join("kubernetes.io~empty-dir/cache")).unwrap();
        assert_eq!(find(folder.path(), "pv-1").unwrap(), Some(made));
        assert_eq!(find(folder.path(), "pv-2").unwrap(), None);
        assert!(find(&folder.path().join("absent"), "pv-1").is_err());
        for text in ["", ".", "..", "a/b"] {
            assert!(checked(text).is_err());
        }
    }

    #[test]
    fn a_pod_waits_while_its_init_container_runs() {
        let pod = |name: &str, state: &str| -> Pod {
            let state = json!({"name": name, "state": {state: {}}, "image": "", "imageID": "", "ready": false, "restartCount": 0});
            serde_json::from_value(json!({"status": {"initContainerStatuses": [state]}})).unwrap()
        };
        assert!(waits_for_restore(&pod("restore-wait", "running")));
        assert!(!waits_for_restore(&pod("restore-wait", "waiting")));
        assert!(!waits_for_restore(&pod("other", "running")));
    }
}
