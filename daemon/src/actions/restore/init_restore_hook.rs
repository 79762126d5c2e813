//! Pods get the init containers that hooks of the Restore, or their own annotations, put in front of theirs.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing};
use crate::hooks::Pod;

pub(super) const ACTION: Action =
    Action { name: "velero.io/init-restore-hook", applies_to: &["pods"], questions: asks_nothing, apply };

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let mut pod = Pod::from_value(item).map_err(|error| Error::InitHook { reason: error.to_string() })?;
    // Namespaces of hooks are those of the target cluster.
    if let Some(target) = context.namespace_mapping.get(&pod.namespace) {
        pod.namespace.clone_from(target);
    }
    let added = context.hooks.add_init_containers(&pod, item);
    added.map_err(|error| Error::InitHook { reason: error.to_string() })?;
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{run, run_with};
    use super::*;
    use crate::hooks::restore::Rules;

    #[test]
    fn hooks_are_chosen_by_the_namespace_that_the_pod_goes_to() {
        let hooks = serde_json::from_value(json!({"resources": [{
            "name": "warm", "includedNamespaces": ["shop-2"],
            "postHooks": [{"init": {"initContainers": [{"name": "warm", "image": "i", "command": ["c"]}]}}],
        }]}))
        .unwrap();
        let pod = json!({"metadata": {"namespace": "shop", "name": "a"}, "spec": {"containers": []}});
        let mut mapped = pod.clone();
        run_with(
            &ACTION,
            &mut mapped,
            |setting| {
                setting.namespace_mapping = [("shop".to_owned(), "shop-2".to_owned())].into();
                setting.hooks = Rules::new(&hooks).unwrap();
            },
            &Answers::default(),
        )
        .unwrap();
        assert_eq!(mapped["spec"]["initContainers"][0]["name"], "warm");
        let mut not_mapped = pod.clone();
        let change =
            |setting: &mut super::super::fixtures::Setting| setting.hooks = Rules::new(&hooks).unwrap();
        run_with(&ACTION, &mut not_mapped, change, &Answers::default()).unwrap();
        assert_eq!(not_mapped, pod);
    }

    #[test]
    fn an_annotation_without_a_command_is_an_error_of_the_pod() {
        let mut pod = json!({
            "metadata": {
                "namespace": "shop", "name": "a",
                "annotations": {"init.hook.restore.velero.io/container-image": "busybox"},
            },
            "spec": {"containers": []},
        });
        let error = run(&ACTION, &mut pod).unwrap_err();
        assert!(error.to_string().contains("has no command for it"), "{error}");
    }
}
