//! CRDs of the time before schemas were required: their v1 form says what `preserveUnknownFields` meant.

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/crd-preserve-fields",
    applies_to: &["customresourcedefinitions.apiextensions.k8s.io"],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let preserves = item.pointer("/spec/preserveUnknownFields").and_then(Value::as_bool).unwrap_or_default();
    if text(item, "/apiVersion") == "apiextensions.k8s.io/v1" && preserves {
        item["spec"]["preserveUnknownFields"] = json!(false);
        for version in elements_mut(item, "/spec/versions") {
            if let Some(schema) =
                version.pointer_mut("/schema/openAPIV3Schema").and_then(Value::as_object_mut)
            {
                schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
        }
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn the_flag_moves_into_each_schema() {
        let mut item = json!({"apiVersion": "apiextensions.k8s.io/v1", "spec": {"preserveUnknownFields": true, "versions": [
            {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}, {"name": "v2"},
        ]}});
        run(&ACTION, &mut item).unwrap();
        assert_eq!(
            item["spec"],
            json!({"preserveUnknownFields": false, "versions": [
                {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                {"name": "v2"},
            ]})
        );
    }

    #[test]
    fn a_crd_without_the_flag_stays() {
        let mut item = json!({"apiVersion": "apiextensions.k8s.io/v1", "spec": {"versions": [
            {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}},
        ]}});
        let before = item.clone();
        run(&ACTION, &mut item).unwrap();
        assert_eq!(item, before);
    }
}
