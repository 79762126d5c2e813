//! Image names changed by the restore's own `images`, and by a ConfigMap: any key, value `old part,new part`.

use serde_json::Value;

use super::{Action, Answers, Configuration, Context, Effect, Error, asks_nothing, elements_mut, pod_spec};

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
    let rules = rules(context.configuration)?;
    let pod_spec = pod_spec(context.group_resource).filter(|_| !rules.is_empty());
    for list in
        pod_spec.iter().flat_map(|spec| ["containers", "initContainers"].map(|it| format!("{spec}/{it}")))
    {
        for container in elements_mut(item, &list) {
            if let Some(image) = container.get_mut("image")
                && let Some(renamed) = image.as_str().and_then(|image| rename(image, &rules))
            {
                *image = Value::String(renamed);
            }
        }
    }
    Ok(Effect::default())
}

/// Old and new parts: the restore's own first, those that say most before those that say less; then the ConfigMap's, in
/// the order of its keys.
fn rules(configuration: &Configuration) -> Result<Vec<(&str, &str)>, Error> {
    let mut own: Vec<(&str, &str)> =
        configuration.remap.images.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
    own.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
    let data = configuration.change_image_name.data(ACTION.name)?;
    let plugin = data.into_iter().flat_map(|data| data.values()).filter_map(|rule| {
        let (old, new) = rule.split_once(',')?;
        Some((old.trim(), new.trim()))
    });
    Ok(own.into_iter().chain(plugin).filter(|(_, new)| !new.is_empty()).collect())
}

/// By the first rule whose old part is in the image.
fn rename(image: &str, rules: &[(&str, &str)]) -> Option<String> {
    let (old, new) = rules.iter().find(|(old, _)| image.contains(old))?;
    Some(image.replace(old, new))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::PluginConfig;
    use super::super::fixtures::{Setting, run, run_with};
    use super::*;

    fn rules(values: &[&str]) -> PluginConfig {
        PluginConfig::Data(
            values.iter().enumerate().map(|(at, rule)| (format!("case{at}"), (*rule).to_owned())).collect(),
        )
    }

    fn renamed(item: Value, rules: PluginConfig) -> Value {
        renamed_with(item, |setting| setting.configuration.change_image_name = rules)
    }

    fn renamed_with(mut item: Value, change: impl FnOnce(&mut Setting)) -> Value {
        let group_resource = match item["kind"].as_str().unwrap() {
            "Pod" => "pods",
            "CronJob" => "cronjobs.batch",
            _ => "deployments.apps",
        };
        let change = |setting: &mut Setting| {
            setting.group_resource = group_resource;
            change(setting);
        };
        run_with(&ACTION, &mut item, change, &Answers::default()).unwrap();
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
    fn the_restore_s_own_names_come_first_and_the_longest_of_them_before_all() {
        let own = ["old.example/", "old.example/team/"];
        let images = own.map(|old| (old.to_owned(), old.replace("old", "new"))).into();
        let image = |image: &str| json!({"kind": "Pod", "spec": {"containers": [{"image": image}]}});
        let change = |images: BTreeMap<String, String>| {
            move |setting: &mut Setting| {
                setting.configuration.remap.images = images;
                setting.configuration.change_image_name = rules(&["old.example/,plugin/", "only/,plugin/"]);
            }
        };
        let images: BTreeMap<String, String> = images;
        let renamed = |name: &str| renamed_with(image(name), change(images.clone()));
        assert_eq!(renamed("old.example/team/app:1"), image("new.example/team/app:1"));
        assert_eq!(renamed("only/app:1"), image("plugin/app:1"));
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
