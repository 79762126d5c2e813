//! The definition of a custom resource is stored as v1beta1 where its v1 form could not be created again: it lacks a schema
//! or has one that v1 refuses. Only servers before Kubernetes 1.22 serve that version and hold such definitions.

use serde::Deserialize;

use super::{Action, Context, Error, Needs, Outcome};
use crate::cluster::Item;

pub(super) const ACTION: Action = Action {
    name: "velero.io/crd-remap-version",
    applies_to: "customresourcedefinitions.apiextensions.k8s.io",
    needs: Needs::Nothing,
    run,
};

const TAKES: &str = "apiextensions.k8s.io/v1";
const GIVES: &str = "apiextensions.k8s.io/v1beta1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    preserve_unknown_fields: bool,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    schema: Option<Schema>,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default, rename = "openAPIV3Schema")]
    open_api: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
}

fn run(item: &Item, _: &Context<'_>) -> Result<Outcome, Error> {
    let Definition { api_version, spec, status } = serde_json::from_slice(&item.json)?;
    let has_schema = |version: &Version| version.schema.as_ref().is_some_and(|it| it.open_api.is_some());
    let lacks_schema = spec.versions.first().is_some_and(|version| !has_schema(version));
    let mut conditions = status.conditions.iter().flatten();
    let is_refused = conditions.any(|condition| condition.r#type == "NonStructuralSchema");
    let is_old = lacks_schema || is_refused || spec.preserve_unknown_fields;
    Ok(Outcome { in_version: (api_version == TAKES && is_old).then_some(GIVES), ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::super::Bindings;
    use super::*;

    fn version_of(definition: Value) -> Option<&'static str> {
        let item = Item {
            name: "gizmos.example.org".into(),
            namespace: None,
            excluded: false,
            deleting: false,
            json: definition.to_string().into(),
        };
        run(&item, &Context { backup: "b1", bindings: &Bindings::default() }).unwrap().in_version
    }

    fn definition(spec: Value) -> Value {
        let mut definition = json!({
            "apiVersion": TAKES,
            "metadata": {"name": "gizmos.example.org"},
            "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]},
        });
        definition["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        definition
    }

    #[test]
    fn what_v1_could_not_create_again_is_stored_as_v1beta1() {
        assert_eq!(version_of(definition(json!({"versions": [{"name": "v1"}]}))), Some(GIVES));
        assert_eq!(version_of(definition(json!({"preserveUnknownFields": true}))), Some(GIVES));
        let mut refused = definition(json!({}));
        refused["status"] = json!({"conditions": [{"type": "Established"}, {"type": "NonStructuralSchema"}]});
        assert_eq!(version_of(refused), Some(GIVES));
    }

    #[test]
    fn others_stay_as_they_are() {
        assert_eq!(version_of(definition(json!({}))), None);
        assert_eq!(version_of(definition(json!({"preserveUnknownFields": false}))), None);
        let mut older = definition(json!({"preserveUnknownFields": true}));
        older["apiVersion"] = json!(GIVES);
        assert_eq!(version_of(older), None);
    }
}
