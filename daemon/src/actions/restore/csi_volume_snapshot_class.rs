//! Classes of CSI snapshots bring along the secret with which their snapshots are listed.

use serde_json::Value;

use super::csi::{self, Csi};
use super::{Action, Answers, Context, Effect, Error, asks_nothing};

pub(super) const ACTION: Action = Action {
    name: "velero.io/csi-volumesnapshotclass-restorer",
    applies_to: &[csi::CLASSES],
    questions: asks_nothing,
    apply,
};

const SECRET_NAME: &str = "csi.storage.k8s.io/snapshotter-list-secret-name";
const SECRET_NAMESPACE: &str = "csi.storage.k8s.io/snapshotter-list-secret-namespace";

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    match context.csi {
        Csi::NotServed => Ok(Effect::default()),
        Csi::Unwanted => Ok(Effect::skip("the restore wants no snapshots")),
        Csi::Wanted(_) => {
            let additional_items = csi::secret(item, SECRET_NAME, SECRET_NAMESPACE);
            Ok(Effect { additional_items, ..Effect::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run_with;
    use super::*;

    #[test]
    fn a_class_brings_its_secret_and_stays_as_it_is() {
        let annotations = json!({SECRET_NAME: "key", SECRET_NAMESPACE: "storage"});
        let class = json!({"metadata": {"name": "fast", "annotations": annotations}});
        let mut item = class.clone();
        let wanted = csi::fixtures::wanted();
        let effect = run_with(&ACTION, &mut item, |setting| setting.csi = wanted, &Answers::default());
        assert_eq!(item, class);
        assert_eq!(effect.unwrap().additional_items[0].name, "key");
        let effect = run_with(&ACTION, &mut item, |setting| setting.csi = Csi::Unwanted, &Answers::default());
        assert!(effect.unwrap().additional_items.is_empty());
    }
}
