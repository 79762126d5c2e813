//! All objects of a cluster, for those who judge them: each once, and without its bytes where nobody looks at them.

use bytes::Bytes;

use crate::actions::backup as actions;
use crate::cluster::{self, Cluster, Discovery, ListScope, Resource};
use crate::engine::coverage::volume_data;
use crate::engine::select::{NAMESPACES, Object, ObjectError, are_twins};

/// Without these nothing can be said about namespaces and volumes.
const NEEDED: [&str; 3] = [NAMESPACES, "persistentvolumeclaims", "persistentvolumes"];

/// The objects, and what could not be read.
pub struct Inventory {
    pub discovery: Discovery,
    pub objects: Vec<Object>,
    /// A sentence for each kind or group whose objects are missing.
    pub missing: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot learn what the cluster serves")]
    Discover(#[source] cluster::Error),
    #[error("cannot list {resource}")]
    List { resource: String, source: cluster::Error },
    #[error("cannot read an object of {resource}")]
    Object { resource: String, source: ObjectError },
}

/// Reads everything that can be listed. A kind that fails is told, and only those that everybody asks about are needed.
pub async fn read(cluster: &Cluster) -> Result<Inventory, Error> {
    let discovery = cluster.discover().await.map_err(Error::Discover)?;
    let mut missing: Vec<String> = discovery
        .failed
        .iter()
        .map(|failed| format!("API group {} {}: {}", failed.group, failed.version, failed.reason))
        .collect();
    let mut objects = Vec::new();
    for (place, resource) in discovery.resources.iter().enumerate() {
        let shown_before = discovery.resources[..place].iter().any(|other| are_twins(other, resource));
        if shown_before || !resource.supports("list") {
            continue;
        }
        match list(cluster, resource).await {
            Ok(listed) => objects.extend(listed),
            Err(Error::List { resource, source }) if !NEEDED.contains(&resource.as_str()) => {
                missing.push(format!("{resource}: {source}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Inventory { discovery, objects, missing })
}

async fn list(cluster: &Cluster, resource: &Resource) -> Result<Vec<Object>, Error> {
    let name = resource.group_resource();
    let looked_at = name == NAMESPACES
        || name == actions::Bindings::GROUP_RESOURCE
        || volume_data::LOOKED_AT.contains(&name.as_str())
        || actions::all().iter().any(|action| action.applies_to == name);
    let mut objects = Vec::new();
    let mut pages = cluster.list(resource, ListScope::everything());
    loop {
        let page = pages.next().await.map_err(|source| Error::List { resource: name.clone(), source })?;
        let Some(items) = page else { return Ok(objects) };
        for item in items {
            let mut object = Object::new(resource, item)
                .map_err(|source| Error::Object { resource: name.clone(), source })?;
            if !looked_at {
                object.item.json = Bytes::new();
            }
            objects.push(object);
        }
    }
}
