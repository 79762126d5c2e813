//! Image names mapped by a ConfigMap: any key, value `old part,new part`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/change-image-name",
    applies_to: &[
        "deployments.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "replicasets.apps",
        "replicationcontrollers",
        "jobs.batch",
        "cronjobs.batch",
        "pods",
    ],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    if let Some(rules) = context.configuration.change_image_name.data(ACTION.name)? {
        let pod_spec = match text(item, "/kind") {
            "Pod" => "/spec",
            "CronJob" => "/spec/jobTemplate/spec/template/spec",
            _ => "/spec/template/spec",
        };
        for list in ["containers", "initContainers"] {
            for container in elements_mut(item, &format!("{pod_spec}/{list}")) {
                if let Some(image) = container.get_mut("image")
                    && let Some(renamed) = image.as_str().and_then(|image| rename(image, rules))
                {
                    *image = Value::String(renamed);
                }
            }
        }
    }
    Ok(Effect::default())
}

/// The first rule, in the order of the ConfigMap's keys, whose old part is in the image.
fn rename(image: &str, rules: &BTreeMap<String, String>) -> Option<String> {
    rules.values().find_map(|rule| {
        let (old, new) = rule.split_once(',')?;
        let (old, new) = (old.trim(), new.trim());
        (!new.is_empty() && image.contains(old)).then(|| image.replace(old, new))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::PluginConfig;
    use super::super::fixtures::{run, run_with};
    use super::*;

    fn rules(values: &[&str]) -> PluginConfig {
        PluginConfig::Data(
            values.iter().enumerate().map(|(at, rule)| (format!("case{at}"), (*rule).to_owned())).collect(),
        )
    }

    fn renamed(mut item: Value, rules: PluginConfig) -> Value {
        run_with(
            &ACTION,
            &mut item,
            |setting| setting.configuration.change_image_name = rules,
            &Answers::default(),
        )
        .unwrap();
        item
    }

    #[test]
    fn images_of_containers_and_init_containers_are_renamed_wherever_the_kind_keeps_them() {
        let spec = json!({"containers": [{"image": "old.example/app:1"}], "initContainers": [{"image": "old.example/init:1"}]});
        let expected = json!({"containers": [{"image": "new.example/app:1"}], "initContainers": [{"image": "new.example/init:1"}]});
        let rule = || rules(&["old.example, new.example"]);
        let pod = renamed(json!({"kind": "Pod", "spec": spec}), rule());
        assert_eq!(pod["spec"], expected);
        let deployment = renamed(json!({"kind": "Deployment", "spec": {"template": {"spec": spec}}}), rule());
        assert_eq!(deployment.pointer("/spec/template/spec"), Some(&expected));
        let cron_job = renamed(
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
            rule(),
        );
        assert_eq!(cron_job.pointer("/spec/jobTemplate/spec/template/spec"), Some(&expected));
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_rules_without_a_new_part_do_nothing() {
        let item = json!({"kind": "Pod", "spec": {"containers": [{"image": "a/b:1"}]}});
        let item = renamed(item, rules(&["no comma", "a/,", "b:1,b:2", "a/,c/"]));
        assert_eq!(item["spec"]["containers"][0]["image"], "a/b:2");
    }

    #[test]
    fn two_config_maps_are_an_error() {
        let mut item = json!({"kind": "Pod"});
        let ambiguous = PluginConfig::Ambiguous(vec!["one".to_owned(), "two".to_owned()]);
        let result = run_with(
            &ACTION,
            &mut item,
            |setting| setting.configuration.change_image_name = ambiguous,
            &Answers::default(),
        );
        assert!(matches!(result, Err(Error::AmbiguousConfiguration { .. })));
    }

    #[test]
    fn without_a_config_map_nothing_changes() {
        let mut item = json!({"kind": "Pod", "spec": {"containers": [{"image": "a"}]}});
        let before = item.clone();
        run(&ACTION, &mut item).unwrap();
        assert_eq!(item, before);
    }
}
