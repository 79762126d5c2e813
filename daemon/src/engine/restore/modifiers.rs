//! Resource modifiers: rules from a ConfigMap that patch objects on their way into the cluster.
//!
//! In: the ConfigMap's data, then objects one by one. Out: [`Modifiers`], or what is wrong with it, and the patched
//! objects, or why one can't be patched. An object that can't be patched is not restored: that is left to the run.

mod conditions;
mod json_patch;
mod rules;
mod strategic;

use std::collections::BTreeMap;

use serde_json::Value;

use conditions::Conditions;
use json_patch::{Applied, Operation};
pub(crate) use rules::Invalid;

/// All rules of one ConfigMap, checked.
#[derive(Debug)]
pub(crate) struct Modifiers {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    conditions: Conditions,
    patches: Patches,
}

#[derive(Debug)]
enum Patches {
    Json(Vec<Operation>),
    Merge(Vec<Value>),
    Strategic(Vec<Value>),
}

/// The object that a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// As the archive has it.
    pub(crate) group_resource: &'a str,
    /// The namespace in the backup; none for cluster-scoped objects.
    pub(crate) source_namespace: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("modifier rule {rule}: a condition can't be tested")]
    Condition { rule: usize, source: json_patch::Error },
    #[error("modifier rule {rule} can't be applied")]
    Json { rule: usize, source: json_patch::Error },
    #[error("modifier rule {rule} can't be applied")]
    Strategic { rule: usize, source: strategic::Error },
}

impl Modifiers {
    pub(crate) fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        rules::parse(data).map(|rules| Self { rules })
    }

    /// Applies every rule whose conditions hold for the object as it came; patches add up in the rules' order.
    pub(crate) fn apply(&self, object: &mut Value, subject: Subject<'_>) -> Result<(), Error> {
        let mut holds = Vec::with_capacity(self.rules.len());
        for (at, rule) in self.rules.iter().enumerate() {
            let condition = |source| Error::Condition { rule: at + 1, source };
            holds.push(rule.conditions.hold(object, subject).map_err(condition)?);
        }
        for (at, (rule, _)) in self.rules.iter().zip(holds).enumerate().filter(|(_, (_, holds))| *holds) {
            rule.apply(object, at + 1)?;
        }
        Ok(())
    }
}

impl Rule {
    fn apply(&self, object: &mut Value, rule: usize) -> Result<(), Error> {
        match &self.patches {
            Patches::Json(operations) => {
                let mut patched = object.clone();
                let applied = json_patch::apply(&mut patched, operations);
                match applied.map_err(|source| Error::Json { rule, source })? {
                    Applied::All => *object = patched,
                    // The way to say "only if": the object stays as it is.
                    Applied::TestFailed => {}
                }
            }
            Patches::Merge(patches) => patches.iter().for_each(|patch| merge(object, patch)),
            Patches::Strategic(patches) => {
                for patch in patches {
                    strategic::apply(object, patch).map_err(|source| Error::Strategic { rule, source })?;
                }
            }
        }
        Ok(())
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn modifiers(rules: &str) -> Modifiers {
        let data = BTreeMap::from([(
            "rules.yaml".to_owned(),
            format!("version: v1\nresourceModifierRules:\n{rules}"),
        )]);
        Modifiers::from_config_map(&data).unwrap()
    }

    fn modified(rules: &str, group_resource: &str, mut object: Value) -> Result<Value, Error> {
        let subject = Subject { group_resource, source_namespace: Some("shop") };
        modifiers(rules).apply(&mut object, subject).map(|()| object)
    }

    const WEB: &str =
        "- conditions: {groupResource: deployments.apps, resourceNameRegex: '^web$', namespaces: [shop]}\n";

    fn web() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}})
    }

    #[test]
    fn a_json_patch_changes_what_it_names() {
        let rules = format!(
            "{WEB}  patches: [{{operation: replace, path: /spec/replicas, value: '7'}}, {{operation: add, path: /metadata/labels, value: '{{\"modified\": \"yes\"}}'}}]\n"
        );
        let object = modified(&rules, "deployments.apps", web()).unwrap();
        assert_eq!(object["spec"]["replicas"], 7);
        assert_eq!(object["metadata"]["labels"], json!({"modified": "yes"}));
    }

    #[test]
    fn a_failing_test_leaves_the_object_as_it_is() {
        let rules = format!(
            "{WEB}  patches: [{{operation: remove, path: /spec/replicas}}, {{operation: test, path: /metadata/name, value: other}}]\n"
        );
        assert_eq!(modified(&rules, "deployments.apps", web()).unwrap(), web());
    }

    #[test]
    fn a_patch_that_can_t_be_applied_is_an_error() {
        let rules = format!("{WEB}  patches: [{{operation: remove, path: /spec/no/such/thing}}]\n");
        assert!(matches!(modified(&rules, "deployments.apps", web()), Err(Error::Json { rule: 1, .. })));
    }

    #[test]
    fn a_merge_patch_merges_and_null_deletes() {
        let rules = "- conditions: {groupResource: configmaps}\n  mergePatches:\n  - patchData: |\n      {data: {quote: null, added: by-merge}}\n";
        let object = modified(rules, "configmaps", json!({"data": {"quote": "x", "keep": "y"}})).unwrap();
        assert_eq!(object, json!({"data": {"keep": "y", "added": "by-merge"}}));
    }

    #[test]
    fn conditions_are_those_of_the_object_before_the_first_rule() {
        let rules = "\
- conditions: {groupResource: configmaps, matches: [{path: /data/step, value: a}]}
  patches: [{operation: replace, path: /data/step, value: b}]
- conditions: {groupResource: configmaps, matches: [{path: /data/step, value: b}]}
  patches: [{operation: replace, path: /data/step, value: c}]
";
        let object =
            modified(rules, "configmaps", json!({"metadata": {"name": "a"}, "data": {"step": "a"}})).unwrap();
        assert_eq!(object["data"]["step"], "b");
    }

    #[test]
    fn other_objects_are_left_alone() {
        let rules = format!("{WEB}  patches: [{{operation: remove, path: /spec/replicas}}]\n");
        let mut other = web();
        other["metadata"]["name"] = json!("webber");
        assert_eq!(modified(&rules, "deployments.apps", other.clone()).unwrap(), other);
        assert_eq!(modified(&rules, "statefulsets.apps", web()).unwrap(), web());
        let mut object = web();
        let elsewhere = Subject { group_resource: "deployments.apps", source_namespace: Some("blog") };
        modifiers(&rules).apply(&mut object, elsewhere).unwrap();
        assert_eq!(object, web());
    }
}
