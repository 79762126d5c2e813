//! Inline rules and modifiers as ConfigMaps that never change: another content is another name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, TypedLocalObjectReference};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::PublishMode;
use super::object::{Object, Objects};
use crate::model::modifiers::ModifierRule;
use crate::model::volumes::VolumeRule;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumePolicies<'a> {
    version: &'static str,
    volume_policies: &'a [VolumeRule],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceModifiers<'a> {
    version: &'static str,
    resource_modifier_rules: &'a [ModifierRule],
}

/// A ConfigMap with volume policies.
pub(super) fn volume_policies(
    policy: &str,
    rules: &[VolumeRule],
    objects: &mut Objects<'_>,
) -> TypedLocalObjectReference {
    let text = yaml(&VolumePolicies { version: "v1", volume_policies: rules });
    config_map(policy, "volume-policies.yaml", text, objects)
}

/// A ConfigMap with resource modifiers.
pub(super) fn modifiers(
    policy: &str,
    rules: &[ModifierRule],
    objects: &mut Objects<'_>,
) -> TypedLocalObjectReference {
    let text = yaml(&ResourceModifiers { version: "v1", resource_modifier_rules: rules });
    config_map(policy, "resource-modifiers.yaml", text, objects)
}

pub(super) fn reference(name: &str) -> TypedLocalObjectReference {
    TypedLocalObjectReference { api_group: None, kind: "configmap".to_owned(), name: name.to_owned() }
}

fn yaml(value: &impl Serialize) -> String {
    crate::yaml::to_string(value).expect("rules are trees of texts and numbers")
}

fn config_map(policy: &str, key: &str, text: String, objects: &mut Objects<'_>) -> TypedLocalObjectReference {
    let hash: String =
        Sha256::digest(format!("{key}\n{text}")).iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{policy}-{hash}");
    if !objects.has_config_map(&name) {
        let value = ConfigMap {
            metadata: objects.metadata(&name, policy, &BTreeMap::new(), BTreeMap::new()),
            data: Some(BTreeMap::from([(key.to_owned(), text)])),
            immutable: Some(true),
            ..ConfigMap::default()
        };
        objects.add(Object {
            api_version: "v1",
            kind: "ConfigMap",
            policy: policy.to_owned(),
            value,
            at_creation: None,
            publish: PublishMode::CreateWhenMissing,
        });
    }
    reference(&name)
}
