//! A first look into each object of an archive: what the plan needs of its content, without a tree of values.
//!
//! In: an object's place and JSON, what is asked of it. Out: [`Head`]; kinds that many objects share are kept once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::plan::AtRest;
use super::selection::{Details, Filtered};
use crate::archive::IndexedItem;
use crate::engine::select::Archived;

/// What is remembered of one object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) kind: KindId,
    /// Whether the object itself is wanted.
    pub(crate) details: Result<(), Filtered>,
    pub(crate) at_rest: Option<AtRest>,
}

/// Place of an apiVersion and kind in [`Kinds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KindId(u32);

/// The apiVersions and kinds of an archive.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    list: Vec<(String, String)>,
    ids: HashMap<(String, String), KindId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peek<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    completion_time: Option<String>,
}

impl Kinds {
    pub(crate) fn look_at(
        &mut self,
        item: &IndexedItem,
        json: &[u8],
        asked: &Details,
    ) -> Result<Head, serde_json::Error> {
        let Peek { api_version, kind, metadata, status } = serde_json::from_slice(json)?;
        let group_resource = &*item.group_resource;
        let object =
            Archived { group_resource, kind: &kind, namespace: item.namespace.as_deref(), name: &item.name };
        let details = asked.take(object, &metadata.labels.unwrap_or_default());
        let kind = self.id(api_version, kind);
        let mirror = metadata.annotations.and_then(|annotations| annotations.mirror).unwrap_or_default();
        let at_rest = match group_resource {
            "pods" | "jobs.batch" if is_completed(group_resource, status) => Some(AtRest::Completed),
            "pods" if !mirror.is_empty() => Some(AtRest::MirrorPod),
            _ => None,
        };
        Ok(Head { kind, details, at_rest })
    }

    pub(crate) fn api_version(&self, id: KindId) -> &str {
        self.list.get(id.0 as usize).map_or("", |(api_version, _)| api_version)
    }

    pub(crate) fn kind(&self, id: KindId) -> &str {
        self.list.get(id.0 as usize).map_or("", |(_, kind)| kind)
    }

    /// As the resource list names it: `apps/v1/Deployment`.
    pub(crate) fn name(&self, id: KindId) -> String {
        format!("{}/{}", self.api_version(id), self.kind(id))
    }

    fn id(&mut self, api_version: Cow<'_, str>, kind: Cow<'_, str>) -> KindId {
        let key = (api_version.into_owned(), kind.into_owned());
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = KindId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.list.push(key.clone());
        self.ids.insert(key, id);
        id
    }
}

/// Failed jobs have no completion time and are restored.
fn is_completed(group_resource: &str, status: Option<&RawValue>) -> bool {
    let status: Status =
        status.and_then(|status| serde_json::from_str(status.get()).ok()).unwrap_or_default();
    match group_resource {
        "pods" => matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        _ => status.completion_time.is_some_and(|time| !time.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(group_resource: &str) -> IndexedItem {
        let namespace = Some("shop".into());
        IndexedItem { group_resource: group_resource.into(), namespace, name: "a".into(), offset: 0, len: 0 }
    }

    fn at_rest(group_resource: &str, rest: Value) -> Option<AtRest> {
        let mut object = json!({"apiVersion": "v1", "kind": "Any", "metadata": {}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let json = object.to_string();
        let head = Kinds::default().look_at(&item(group_resource), json.as_bytes(), &Details::default());
        head.unwrap().at_rest
    }

    #[test]
    fn pods_and_jobs_that_ended_are_told_from_those_that_did_not() {
        assert_eq!(at_rest("pods", json!({"status": {"phase": "Succeeded"}})), Some(AtRest::Completed));
        assert_eq!(at_rest("pods", json!({"status": {"phase": "Failed"}})), Some(AtRest::Completed));
        assert_eq!(at_rest("pods", json!({"status": {"phase": "Running"}})), None);
        assert_eq!(
            at_rest("jobs.batch", json!({"status": {"completionTime": "t"}})),
            Some(AtRest::Completed)
        );
        assert_eq!(at_rest("jobs.batch", json!({"status": {"failed": 1}})), None);
        assert_eq!(at_rest("gizmos.example.com", json!({"status": {"phase": "Failed"}})), None);
        assert_eq!(at_rest("gizmos.example.com", json!({"status": "text"})), None);
    }

    #[test]
    fn a_mirror_pod_is_recognised_by_its_annotation() {
        let metadata = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "hash"}}});
        assert_eq!(at_rest("pods", metadata), Some(AtRest::MirrorPod));
    }

    #[test]
    fn kinds_are_kept_once() {
        let mut kinds = Kinds::default();
        let pod = json!({"apiVersion": "v1", "kind": "Pod"}).to_string();
        let mut look = || kinds.look_at(&item("pods"), pod.as_bytes(), &Details::default()).unwrap().kind;
        let (first, second) = (look(), look());
        assert_eq!(first, second);
        assert_eq!((kinds.api_version(first), kinds.kind(first)), ("v1", "Pod"));
    }
}
