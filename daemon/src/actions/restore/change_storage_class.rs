//! Storage classes changed by the restore's own `storageClasses`, and by a ConfigMap: key old class, value new class. The
//! new class must exist in the target.

use serde_json::Value;

use super::{Action, Answers, Configuration, Context, Effect, Error, Question, elements, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/change-storage-class",
    applies_to: &["persistentvolumeclaims", "persistentvolumes", "statefulsets.apps"],
    questions,
    apply,
};

const TEMPLATES: &str = "/spec/volumeClaimTemplates";
const CLASS: &str = "/spec/storageClassName";

/// The new class of an old one; the restore's own word comes before the ConfigMap's.
fn mapped<'a>(configuration: &'a Configuration, old: &str) -> Result<Option<&'a String>, Error> {
    let plugin = configuration.change_storage_class.data(ACTION.name)?;
    let own = configuration.remap.storage_classes.get(old);
    Ok(own.or_else(|| plugin?.get(old)).filter(|_| !old.is_empty()))
}

fn questions(item: &Value, context: &Context<'_>) -> Vec<Question> {
    let own = std::iter::once(item).filter(|_| context.group_resource != "statefulsets.apps");
    own.chain(elements(item, TEMPLATES))
        .filter_map(|claim| mapped(context.configuration, text(claim, CLASS)).ok()?)
        .map(|new| Question::StorageClassExists { name: new.clone() })
        .collect()
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    let map = |claim: &mut Value| -> Result<(), Error> {
        let old = text(claim, CLASS).to_owned();
        let Some(new) = mapped(context.configuration, &old)? else { return Ok(()) };
        if !answers.storage_classes.get(new).copied().unwrap_or_default() {
            return Err(Error::NoSuchStorageClass { old, name: new.clone() });
        }
        if let Some(class) = claim.pointer_mut(CLASS) {
            *class = Value::String(new.clone());
        }
        Ok(())
    };
    if context.group_resource == "statefulsets.apps" {
        elements_mut(item, TEMPLATES).try_for_each(map)?;
    } else {
        map(item)?;
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::PluginConfig;
    use super::super::fixtures::run_with;
    use super::*;

    fn changed(item: &mut Value, exists: bool) -> Result<Effect, Error> {
        let data = BTreeMap::from([("slow".to_owned(), "fast".to_owned())]);
        let answers =
            Answers { storage_classes: BTreeMap::from([("fast".to_owned(), exists)]), ..Answers::default() };
        run_with(
            &ACTION,
            item,
            |setting| setting.configuration.change_storage_class = PluginConfig::Data(data),
            &answers,
        )
    }

    #[test]
    fn a_mapped_class_is_replaced_and_others_stay() {
        let mut slow = json!({"spec": {"storageClassName": "slow"}});
        changed(&mut slow, true).unwrap();
        assert_eq!(slow, json!({"spec": {"storageClassName": "fast"}}));
        let mut other = json!({"spec": {"storageClassName": "other"}});
        changed(&mut other, true).unwrap();
        assert_eq!(other, json!({"spec": {"storageClassName": "other"}}));
        let mut none = json!({"spec": {}});
        changed(&mut none, true).unwrap();
        assert_eq!(none, json!({"spec": {}}));
    }

    #[test]
    fn a_new_class_that_does_not_exist_is_an_error() {
        let mut item = json!({"spec": {"storageClassName": "slow"}});
        assert_eq!(
            changed(&mut item, false),
            Err(Error::NoSuchStorageClass { old: "slow".to_owned(), name: "fast".to_owned() })
        );
    }

    #[test]
    fn the_restore_s_own_classes_come_before_the_config_map_and_reach_the_templates_of_stateful_sets() {
        let answers = Answers {
            storage_classes: [("fast", true), ("own", true)].map(|(name, it)| (name.to_owned(), it)).into(),
            ..Answers::default()
        };
        let claim = |class: &str| json!({"spec": {"storageClassName": class}});
        let mut set =
            json!({"spec": {"volumeClaimTemplates": [claim("slow"), claim("cold"), claim("other")]}});
        let change = |setting: &mut super::super::fixtures::Setting| {
            setting.group_resource = "statefulsets.apps";
            setting.configuration.remap.storage_classes = [("slow".to_owned(), "own".to_owned())].into();
            setting.configuration.change_storage_class =
                PluginConfig::Data(["slow", "cold"].map(|old| (old.to_owned(), "fast".to_owned())).into());
        };
        run_with(&ACTION, &mut set, change, &answers).unwrap();
        assert_eq!(
            set,
            json!({"spec": {"volumeClaimTemplates": [claim("own"), claim("fast"), claim("other")]}})
        );
    }

    #[test]
    fn two_config_maps_are_an_error_of_every_claim() {
        let mut item = json!({"spec": {}});
        let ambiguous = PluginConfig::Ambiguous(vec!["one".to_owned(), "two".to_owned()]);
        let change = |setting: &mut super::super::fixtures::Setting| {
            setting.configuration.change_storage_class = ambiguous
        };
        let result = run_with(&ACTION, &mut item, change, &Answers::default());
        assert!(matches!(result, Err(Error::AmbiguousConfiguration { .. })));
    }
}
