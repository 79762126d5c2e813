//! What item actions must know of the target cluster, read when it is asked for.
//!
//! In: questions. Out: answers, remembered for the run where they don't change during it: the service accounts of a
//! namespace are restored in a wave before the secrets that ask for them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::model::remap::Remap;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::actions::restore::{Answers, Configuration, PluginConfig, Question};
use crate::cluster::{Cluster, Error};

pub(crate) struct Facts {
    cluster: Cluster,
    service_accounts: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    /// Of a VolumeSnapshotClass.
    #[serde(default)]
    driver: String,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

impl Facts {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, service_accounts: Mutex::default() }
    }

    pub(crate) async fn answer(&self, questions: Vec<Question>) -> Result<Answers, Error> {
        let mut answers = Answers::default();
        for question in questions {
            match question {
                Question::ServiceAccountNames { namespace } => {
                    let names = self.service_accounts(&namespace).await?;
                    answers.service_accounts.insert(namespace, names);
                }
                Question::StorageClassExists { name } => {
                    let exists = self.exists("/apis/storage.k8s.io/v1/storageclasses", &name).await?;
                    answers.storage_classes.insert(name, exists);
                }
                Question::NodeExists { name } => {
                    let exists = self.exists("/api/v1/nodes", &name).await?;
                    answers.nodes.insert(name, exists);
                }
                Question::ClaimExists { namespace, name } => {
                    let claims = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
                    if self.exists(&claims, &name).await? {
                        answers.claims.insert((namespace, name));
                    }
                }
                Question::SnapshotClass { driver } => {
                    let mut classes = snapshot_classes(&self.cluster).await?;
                    if let Some(class) = classes.remove(&driver) {
                        answers.snapshot_classes.insert(driver, class);
                    }
                }
            }
        }
        Ok(answers)
    }

    async fn exists(&self, collection: &str, name: &str) -> Result<bool, Error> {
        // What users wrote is no name before it looks like one, and never a path.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            return Ok(false);
        }
        match self.cluster.read(&format!("{collection}/{name}")).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn service_accounts(&self, namespace: &str) -> Result<BTreeSet<String>, Error> {
        let mut known = self.service_accounts.lock().await;
        if let Some(names) = known.get(namespace) {
            return Ok(names.clone());
        }
        let items = list(&self.cluster, &format!("/api/v1/namespaces/{namespace}/serviceaccounts")).await?;
        let names: BTreeSet<String> = items.into_iter().map(|item| item.metadata.name).collect();
        known.insert(namespace.to_owned(), names.clone());
        Ok(names)
    }
}

/// By driver, the first VolumeSnapshotClass; nothing where the cluster does not serve them.
pub(crate) async fn snapshot_classes(cluster: &Cluster) -> Result<BTreeMap<String, String>, Error> {
    let items = match list(cluster, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses").await {
        Ok(items) => items,
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut classes = BTreeMap::new();
    for Item { metadata, data: _, driver } in items {
        classes.entry(driver).or_insert(metadata.name);
    }
    Ok(classes)
}

/// The ConfigMaps of Velero's namespace that configure actions, found by their labels, beside the restore's own word.
pub(crate) async fn configuration(
    cluster: &Cluster,
    home: &str,
    remap: Remap,
) -> Result<Configuration, Error> {
    Ok(Configuration {
        remap,
        change_image_name: plugin_config(cluster, home, "velero.io/change-image-name").await?,
        change_storage_class: plugin_config(cluster, home, "velero.io/change-storage-class").await?,
    })
}

/// The data of the ConfigMap that configures the init container of pods whose files come back; one that is ambiguous is none.
pub(crate) async fn wait_container(
    cluster: &Cluster,
    home: &str,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    Ok(match plugin_config(cluster, home, "velero.io/pod-volume-restore").await? {
        PluginConfig::Data(data) => Some(data),
        PluginConfig::Absent | PluginConfig::Ambiguous(_) => None,
    })
}

/// The image of the Deployment `velero`, or of `holdfast`: the helper is in it, too.
pub(crate) async fn server_image(cluster: &Cluster, home: &str) -> Result<Option<String>, Error> {
    for name in ["velero", "holdfast"] {
        let path = format!("/apis/apps/v1/namespaces/{home}/deployments/{name}");
        let json = match cluster.read(&path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let deployment: serde_json::Value =
            serde_json::from_slice(&json).map_err(|source| Error::Malformed { path, source })?;
        let image = deployment.pointer("/spec/template/spec/containers/0/image");
        return Ok(image.and_then(serde_json::Value::as_str).map(str::to_owned));
    }
    Ok(None)
}

async fn plugin_config(cluster: &Cluster, home: &str, action: &str) -> Result<PluginConfig, Error> {
    let path = format!(
        "/api/v1/namespaces/{home}/configmaps?labelSelector=velero.io%2Fplugin-config,{}%3DRestoreItemAction",
        action.replace('/', "%2F")
    );
    let mut items = list(cluster, &path).await?;
    Ok(match (items.pop(), items.is_empty()) {
        (None, _) => PluginConfig::Absent,
        (Some(only), true) => PluginConfig::Data(only.data.unwrap_or_default()),
        (Some(last), false) => {
            PluginConfig::Ambiguous(items.into_iter().chain([last]).map(|item| item.metadata.name).collect())
        }
    })
}

async fn list(cluster: &Cluster, path: &str) -> Result<Vec<Item>, Error> {
    let json = cluster.read(path).await?;
    let list: List =
        serde_json::from_slice(&json).map_err(|source| Error::Malformed { path: path.to_owned(), source })?;
    Ok(list.items)
}
