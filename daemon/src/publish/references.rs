//! Which ConfigMaps of inline rules are still referred to, by anybody's Schedules, Backups and Restores.
//!
//! In: a place. Out: names. Read afresh each time, because what is not named here may be removed.

use std::collections::BTreeSet;

use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use super::object::Kind;
use super::observe::{Error, Place, resource};

/// Backups are large, and nothing of them is kept.
const PAGE: u32 = 200;

/// Where an object names its rules.
fn pointer(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Schedule => Some("/spec/template/resourcePolicy/name"),
        Kind::Backup => Some("/spec/resourcePolicy/name"),
        Kind::Restore => Some("/spec/resourceModifier/name"),
        Kind::ConfigMap | Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation => None,
    }
}

fn referred(kind: Kind, object: &Value) -> Option<&str> {
    object.pointer(pointer(kind)?)?.as_str()
}

/// The names of all ConfigMaps that something in the namespace refers to.
pub async fn config_maps(place: Place<'_>) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    for kind in Kind::ALL.into_iter().filter(|kind| pointer(*kind).is_some()) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(place.client.clone(), place.namespace, &resource(kind));
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = api.list(&page).await.map_err(|source| Error::List { kind: kind.name(), source })?;
            names.extend(listed.items.iter().filter_map(|one| referred(kind, &one.data)).map(str::to_owned));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_names_its_rules_in_a_place_of_its_own() {
        let rules = |name: &str| json!({"kind": "configmap", "name": name});
        let schedule = json!({"spec": {"template": {"resourcePolicy": rules("a")}}});
        assert_eq!(referred(Kind::Schedule, &schedule), Some("a"));
        assert_eq!(referred(Kind::Backup, &json!({"spec": {"resourcePolicy": rules("b")}})), Some("b"));
        assert_eq!(referred(Kind::Restore, &json!({"spec": {"resourceModifier": rules("c")}})), Some("c"));
        assert_eq!(referred(Kind::Backup, &json!({"spec": {}})), None);
    }
}
