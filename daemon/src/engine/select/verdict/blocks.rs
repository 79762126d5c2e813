//! Item blocks, told from the objects of a cluster.

use std::collections::BTreeMap;

use holdfast_policy::velero::BackupSpec;

use super::super::{Member, Object, Relations, VOLUME_GROUP_LABEL};
use crate::actions::backup as actions;

const PODS: &str = "pods";
const CLAIMS: &str = "persistentvolumeclaims";

/// By namespace. A pod or claim that cannot be read has none.
pub(super) fn relations_of<'o>(objects: &'o [Object], spec: &BackupSpec) -> BTreeMap<&'o str, Relations> {
    let label = spec.volume_group_snapshot_label_key.as_deref().unwrap_or(VOLUME_GROUP_LABEL);
    let mut all: BTreeMap<&str, Relations> = BTreeMap::new();
    for Object { resource, item, labels: _ } in objects {
        let Some(namespace) = item.namespace.as_deref() else { continue };
        match resource.group_resource().as_str() {
            PODS => drop(all.entry(namespace).or_default().add_pod(&item.name, &item.json)),
            CLAIMS => drop(all.entry(namespace).or_default().add_claim(&item.name, &item.json, label)),
            _ => {}
        }
    }
    all
}

/// What a claim brings into its block.
pub(super) fn block_of(
    object: &Object,
    relations: &BTreeMap<&str, Relations>,
) -> Vec<actions::ItemReference> {
    let namespace = object.item.namespace.as_deref().unwrap_or_default();
    let Some(relations) = relations.get(namespace).filter(|_| object.resource.group_resource() == CLAIMS)
    else {
        return vec![];
    };
    let reference = |member| {
        let (group_resource, name) = match member {
            Member::Pod(name) => (PODS, name),
            Member::Claim(name) => (CLAIMS, name),
        };
        actions::ItemReference { group_resource, namespace: Some(namespace.to_owned()), name }
    };
    relations.related(&Member::Claim(object.item.name.clone())).into_iter().map(reference).collect()
}
