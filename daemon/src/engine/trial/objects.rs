//! The objects that a test gives, as the engine takes them.

use holdfast_policy::model::policy_test::GivenObject;
use holdfast_policy::parse::Path;
use holdfast_policy::policy_test::Remark;
use holdfast_policy::problem::Rule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::cluster::Discovery;
use crate::engine::select::Object;

/// All of a test's objects, and the kinds that they are of.
pub(super) struct Given {
    pub(super) discovery: Discovery,
    pub(super) objects: Vec<Object>,
}

/// The objects; or what is wrong with some.
pub(super) fn given(objects: &[GivenObject]) -> Result<Given, Vec<Remark>> {
    let discovery = kinds(objects);
    let mut remarks = Vec::new();
    let mut known: Vec<Object> = Vec::with_capacity(objects.len());
    for (index, given) in objects.iter().enumerate() {
        let path = Path::spec().key("objects").index(index);
        match object(given, &discovery) {
            Ok(object) if known.iter().any(|other| other.to_string() == object.to_string()) => {
                remarks.push(wrong(path, format!("{object} stands twice in the list")));
            }
            Ok(object) => known.push(object),
            Err(message) => remarks.push(wrong(path, message)),
        }
    }
    if remarks.is_empty() { Ok(Given { discovery, objects: known }) } else { Err(remarks) }
}

/// The object's place among all, by its name as a person writes it.
pub(super) fn find(name: &str, given: &Given) -> Result<usize, String> {
    let parts: Vec<&str> = name.split('/').collect();
    let (kind, namespace, name) = match parts[..] {
        [kind, name] => (kind, None, name),
        [kind, namespace, name] => (kind, Some(namespace), name),
        _ => return Err(format!("{name:?} is not KIND/NAMESPACE/NAME or KIND/NAME")),
    };
    let resource = given.discovery.resolve(kind).ok_or_else(|| format!("there is no kind {kind:?}"))?;
    let is_it = |object: &Object| {
        object.item.name == name
            && object.item.namespace.as_deref() == namespace
            && object.resource.group_resource() == resource.group_resource()
    };
    given.objects.iter().position(is_it).ok_or_else(|| {
        let place = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{}/{place}{name} is not among the objects of this test", resource.kind)
    })
}

fn wrong(path: Path, message: String) -> Remark {
    Remark { path, rule: Rule::PolicyTest, message, help: None }
}

/// Kubernetes' own kinds, those that are defined among the objects, and those that can only be guessed.
fn kinds(objects: &[GivenObject]) -> Discovery {
    let definitions: Vec<CustomResourceDefinition> = objects
        .iter()
        .filter_map(|given| given.manifest.as_ref())
        .filter(|manifest| manifest["kind"] == "CustomResourceDefinition")
        // One that can't be read is refused as an object.
        .filter_map(|manifest| serde_json::from_value(manifest.clone()).ok())
        .collect();
    let mut discovery = Discovery::without_a_cluster(&definitions);
    for GivenObject { kind, api_version, namespace, name: _, labels: _, manifest } in objects {
        match manifest {
            Some(manifest) => {
                if let (Some(version), Some(kind)) =
                    (manifest["apiVersion"].as_str(), manifest["kind"].as_str())
                {
                    discovery.guess(version, kind, manifest["metadata"]["namespace"].is_string());
                }
            }
            None => {
                if let (Some(version), Some(kind)) = (api_version, kind) {
                    discovery.guess(version, kind, namespace.is_some());
                }
            }
        }
    }
    discovery
}

fn object(given: &GivenObject, discovery: &Discovery) -> Result<Object, String> {
    let GivenObject { kind, api_version, namespace, name, labels, manifest } = given;
    let value = match manifest {
        Some(manifest) => manifest.clone(),
        None => {
            let kind = kind.as_deref().unwrap_or_default();
            let found = match api_version {
                Some(version) => discovery.by_kind(version, kind),
                None => discovery.resolve(kind),
            };
            let resource = found.ok_or_else(|| {
                format!("there is no kind {kind:?} in Kubernetes: custom resources need `apiVersion`")
            })?;
            let version = match resource.group.as_str() {
                "" => resource.version.clone(),
                group => format!("{group}/{}", resource.version),
            };
            let mut metadata = json!({"name": name, "labels": labels});
            match (resource.namespaced, namespace) {
                (true, Some(namespace)) => metadata["namespace"] = Value::String(namespace.clone()),
                (true, None) => return Err(format!("{} lives in a namespace", resource.kind)),
                (false, Some(_)) => return Err(format!("{} lives outside namespaces", resource.kind)),
                (false, None) => {}
            }
            json!({"apiVersion": version, "kind": resource.kind, "metadata": metadata})
        }
    };
    Object::parse(&value, discovery).map_err(|error| error.to_string())
}
