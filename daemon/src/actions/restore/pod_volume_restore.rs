//! Pods lose the init container that an earlier restore put in front of theirs: it waits for volumes that nobody fills
//! any more, for ever.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing, text};

pub(super) const ACTION: Action =
    Action { name: "velero.io/pod-volume-restore", applies_to: &["pods"], questions: asks_nothing, apply };

/// Today's name, and that of Velero before 1.10.
const WAITING: [&str; 2] = ["restore-wait", "restic-wait"];

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    if let Some(containers) = item.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut) {
        containers.retain(|container| !WAITING.contains(&text(container, "/name")));
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn the_waiting_container_of_an_earlier_restore_goes_and_others_stay_in_order() {
        let names = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let mut pod = json!({"spec": {"initContainers": names(&["restore-wait", "b", "restic-wait", "a"])}});
        run(&ACTION, &mut pod).unwrap();
        assert_eq!(pod, json!({"spec": {"initContainers": names(&["b", "a"])}}));
    }
}
