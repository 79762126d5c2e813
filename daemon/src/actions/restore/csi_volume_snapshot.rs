//! VolumeSnapshots come back under a new name, bound in advance to the content that stands for the same snapshot.

use holdfast_policy::velero::labels::RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS;
use serde_json::{Value, json};

use super::csi::{self, Csi};
use super::{Action, AdditionalItem, Answers, Context, Effect, Error, asks_nothing, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/csi-volumesnapshot-restorer",
    applies_to: &[csi::SNAPSHOTS],
    questions: asks_nothing,
    apply,
};

const HANDLE: &str = "velero.io/csi-volumesnapshot-handle";
const DELETION_POLICY: &str = "velero.io/csi-vsc-deletion-policy";

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let snapshots = match context.csi {
        Csi::NotServed => return Ok(Effect::default()),
        Csi::Unwanted => return Ok(Effect::skip("the restore wants no snapshots")),
        Csi::Wanted(snapshots) => snapshots,
    };
    let old_name = text(item, "/metadata/name").to_owned();
    let content = match text(context.from_backup, "/status/boundVolumeSnapshotContentName") {
        "" => return Err(Error::NoContent { snapshot: old_name }),
        content => content.to_owned(),
    };
    let annotations = item.pointer("/metadata/annotations");
    if let Some(handle) = annotations.and_then(|annotations| annotations.get(HANDLE)).and_then(Value::as_str)
    {
        snapshots.check(&content, handle)?;
    }
    let name = snapshots.name(&old_name);
    item["metadata"]["name"] = json!(name);
    item["spec"] = json!({"source": {"volumeSnapshotContentName": name}});
    csi::set(item, "annotations", DELETION_POLICY, "Retain");
    csi::set(item, "annotations", RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS, "true");
    let needed = AdditionalItem { group_resource: csi::CONTENTS, namespace: None, name: content };
    Ok(Effect { additional_items: vec![needed], ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run_with;
    use super::*;

    fn snapshot(handle: &str) -> Value {
        json!({
            "metadata": {"name": "velero-data-1", "namespace": "shop", "annotations": {HANDLE: handle}},
            "spec": {"source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "fast"},
            "status": {"boundVolumeSnapshotContentName": "snapcontent-1"},
        })
    }

    fn restored(mut item: Value, csi: Csi) -> Result<(Value, Effect), Error> {
        let effect = run_with(&ACTION, &mut item, |setting| setting.csi = csi, &Answers::default())?;
        Ok((item, effect))
    }

    #[test]
    fn a_snapshot_names_its_content_in_advance() {
        let (item, effect) = restored(snapshot("snap-1"), csi::fixtures::wanted()).unwrap();
        assert_eq!(item["metadata"]["name"], csi::fixtures::name());
        assert_eq!(item["spec"], json!({"source": {"volumeSnapshotContentName": csi::fixtures::name()}}));
        assert_eq!(item["metadata"]["annotations"][DELETION_POLICY], "Retain");
        assert_eq!(effect.additional_items[0].name, "snapcontent-1");
        assert_eq!(effect.additional_items[0].namespace, None);
    }

    #[test]
    fn a_mixed_up_handle_is_refused() {
        let error = restored(snapshot("snap-2"), csi::fixtures::wanted()).unwrap_err();
        assert!(matches!(error, Error::MixedUp { .. }), "{error}");
    }

    #[test]
    fn a_snapshot_that_was_never_bound_is_an_error_and_an_unwanted_one_is_left_out() {
        let mut unbound = snapshot("snap-1");
        unbound["status"] = json!({});
        let error = restored(unbound, csi::fixtures::wanted()).unwrap_err();
        assert_eq!(error, Error::NoContent { snapshot: "velero-data-1".to_owned() });
        let (_, effect) = restored(snapshot("snap-1"), Csi::Unwanted).unwrap();
        assert_eq!(effect, Effect::skip("the restore wants no snapshots"));
    }
}
