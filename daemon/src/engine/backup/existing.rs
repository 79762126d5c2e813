//! The namespaces that the cluster has, with the facts that selection asks for.

use k8s_openapi::api::core::v1::Namespace;

use crate::cluster::{self, Cluster, Item, ListScope, Resource};
use crate::engine::select::{NamespaceFacts, Selection};

/// Names who manages a namespace by Argo CD.
const ARGO_CD: &str = "argocd.argoproj.io/managed-by";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listing namespaces failed")]
    List(#[from] cluster::Error),
    #[error("namespace {name} cannot be read")]
    Malformed { name: String, source: serde_json::Error },
}

pub async fn existing_namespaces(cluster: &Cluster) -> Result<Vec<NamespaceFacts>, Error> {
    // Every cluster has had this resource at this place since version 1.
    let namespaces = Resource {
        version: "v1".into(),
        kind: "Namespace".into(),
        plural: "namespaces".into(),
        ..Resource::default()
    };
    let mut pages = cluster.list(&namespaces, ListScope::everything());
    let mut existing = Vec::new();
    while let Some(items) = pages.next().await? {
        for item in items {
            existing.push(facts(&item)?);
        }
    }
    Ok(existing)
}

pub(super) fn facts(item: &Item) -> Result<NamespaceFacts, Error> {
    let namespace: Namespace = serde_json::from_slice(&item.json)
        .map_err(|source| Error::Malformed { name: item.name.clone(), source })?;
    Ok(namespace.into())
}

/// What to say of namespaces of the backup that are Argo CD's.
pub(super) fn argo_cd_warning(existing: &[NamespaceFacts], selection: &Selection) -> Option<String> {
    let managed = |facts: &&NamespaceFacts| {
        selection.namespaces.includes(&facts.name)
            && facts.labels.get(ARGO_CD).is_some_and(|by| !by.is_empty())
    };
    let names: Vec<&str> = existing.iter().filter(managed).map(|facts| facts.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Argo CD manages namespaces of this backup and may undo a restore of them: {}",
            names.join(", ")
        )
    })
}
