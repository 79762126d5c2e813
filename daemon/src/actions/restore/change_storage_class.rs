//! Storage classes mapped by a ConfigMap: key old class, value new class, which must exist in the target.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, Question, elements, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/change-storage-class",
    applies_to: &["persistentvolumeclaims", "persistentvolumes", "statefulsets.apps"],
    questions,
    apply,
};

const TEMPLATES: &str = "/spec/volumeClaimTemplates";
const CLASS: &str = "/spec/storageClassName";

fn questions(item: &Value, context: &Context<'_>) -> Vec<Question> {
    let Ok(Some(classes)) = context.configuration.change_storage_class.data(ACTION.name) else {
        return Vec::new();
    };
    let own = std::iter::once(item).filter(|_| context.group_resource != "statefulsets.apps");
    own.chain(elements(item, TEMPLATES))
        .filter_map(|claim| classes.get(text(claim, CLASS)))
        .map(|new| Question::StorageClassExists { name: new.clone() })
        .collect()
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    let Some(classes) = context.configuration.change_storage_class.data(ACTION.name)? else {
        return Ok(Effect::default());
    };
    let map = |claim: &mut Value| -> Result<(), Error> {
        let old = text(claim, CLASS).to_owned();
        let Some(new) = classes.get(&old).filter(|_| !old.is_empty()) else { return Ok(()) };
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

    fn mapped(item: &mut Value, exists: bool) -> Result<Effect, Error> {
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
        mapped(&mut slow, true).unwrap();
        assert_eq!(slow, json!({"spec": {"storageClassName": "fast"}}));
        let mut other = json!({"spec": {"storageClassName": "other"}});
        mapped(&mut other, true).unwrap();
        assert_eq!(other, json!({"spec": {"storageClassName": "other"}}));
        let mut none = json!({"spec": {}});
        mapped(&mut none, true).unwrap();
        assert_eq!(none, json!({"spec": {}}));
    }

    #[test]
    fn a_new_class_that_does_not_exist_is_an_error() {
        let mut item = json!({"spec": {"storageClassName": "slow"}});
        assert_eq!(
            mapped(&mut item, false),
            Err(Error::NoSuchStorageClass { old: "slow".to_owned(), name: "fast".to_owned() })
        );
    }
}
