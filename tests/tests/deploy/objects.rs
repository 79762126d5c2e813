//! Objects as kustomize and Helm print them, made comparable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_tests::command::{Ended, kubectl};
use serde::Deserialize as _;
use serde_json::Value;

/// What Helm puts on everything, and nothing selects by.
const HELMS_OWN: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

/// By kind, namespace and name.
pub(crate) type Objects = BTreeMap<String, Value>;

pub(crate) fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

/// What a command printed, which must have gone well.
pub(crate) fn printed(ended: &Ended) -> anyhow::Result<Objects> {
    anyhow::ensure!(ended.code == 0, "{}", ended.errors);
    read(&ended.output)
}

pub(crate) fn read(text: &str) -> anyhow::Result<Objects> {
    let mut objects = Objects::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object = Value::deserialize(document).context("reading a document")?;
        if object.is_null() {
            continue;
        }
        if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.retain(|name, _| !HELMS_OWN.contains(&name.as_str()));
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        anyhow::ensure!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    Ok(objects)
}

pub(crate) async fn overlay(name: &str) -> anyhow::Result<Objects> {
    let folder = deploy("kustomize/overlays").join(name);
    printed(&kubectl(["kustomize".as_ref(), folder.as_os_str()]).await?)
}
