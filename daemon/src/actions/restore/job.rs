//! Jobs lose the selector on their old UID, which the controller makes anew.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing, remove};

pub(super) const ACTION: Action =
    Action { name: "velero.io/job", applies_to: &["jobs.batch"], questions: asks_nothing, apply };

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    for pointer in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
            remove(item, pointer, key);
        }
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn both_uid_labels_go_and_the_job_name_stays() {
        let labels =
            json!({"controller-uid": "1", "batch.kubernetes.io/controller-uid": "1", "job-name": "open"});
        let mut item = json!({"spec": {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "1"}},
            "template": {"metadata": {"labels": labels}},
        }});
        run(&ACTION, &mut item).unwrap();
        assert_eq!(
            item,
            json!({"spec": {
                "selector": {"matchLabels": {}},
                "template": {"metadata": {"labels": {"job-name": "open"}}},
            }})
        );
    }
}
