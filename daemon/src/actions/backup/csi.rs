//! Contents and classes of CSI snapshots bring along the Secret with which their driver works.

use holdfast_policy::velero::labels::BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS;
use serde_json::Value;

use super::{Action, Context, Error, ItemReference, Needs, Outcome};
use crate::cluster::Item;

pub(super) const CONTENT: Action = Action {
    name: "velero.io/csi-volumesnapshotcontent-backupper",
    applies_to: "volumesnapshotcontents.snapshot.storage.k8s.io",
    needs: Needs::Nothing,
    run: |item, _: &Context<'_>| bring_secret(item, "csi.storage.k8s.io/snapshotter-secret"),
};
pub(super) const CLASS: Action = Action {
    name: "velero.io/csi-volumesnapshotclass-backupper",
    applies_to: "volumesnapshotclasses.snapshot.storage.k8s.io",
    needs: Needs::Nothing,
    run: |item, _: &Context<'_>| bring_secret(item, "csi.storage.k8s.io/snapshotter-list-secret"),
};

/// The Secret that two annotations name together, whatever the filters say of it.
fn bring_secret(item: &Item, key: &str) -> Result<Outcome, Error> {
    let mut object: Value = serde_json::from_slice(&item.json)?;
    let annotation = |part: &str| {
        let annotations = object.pointer("/metadata/annotations")?;
        let text = annotations.get(format!("{key}-{part}"))?.as_str()?;
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let Some((name, namespace)) = annotation("name").zip(annotation("namespace")) else {
        return Ok(Outcome::default());
    };
    object["metadata"]["annotations"][BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS] = "true".into();
    Ok(Outcome {
        changed: Some(serde_json::to_vec(&object)?.into()),
        additional: vec![ItemReference { group_resource: "secrets", namespace: Some(namespace), name }],
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::super::Bindings;
    use super::*;

    fn outcome(action: &Action, annotations: &Value) -> Outcome {
        let object = json!({"metadata": {"name": "fast", "annotations": annotations}});
        let item = Item {
            name: "fast".into(),
            namespace: None,
            excluded: false,
            deleting: false,
            json: object.to_string().into(),
        };
        (action.run)(&item, &Context { backup: "b1", bindings: &Bindings::default() }).unwrap()
    }

    #[test]
    fn both_annotations_together_name_a_secret() {
        for (action, key) in [
            (&CONTENT, "csi.storage.k8s.io/snapshotter-secret"),
            (&CLASS, "csi.storage.k8s.io/snapshotter-list-secret"),
        ] {
            let (name, namespace) = (format!("{key}-name"), format!("{key}-namespace"));
            let brought = outcome(action, &json!({name.clone(): "key", namespace.clone(): "storage"}));
            let secret = ItemReference {
                group_resource: "secrets",
                namespace: Some("storage".into()),
                name: "key".into(),
            };
            assert_eq!(brought.additional, [secret]);
            let stored: Value = serde_json::from_slice(&brought.changed.unwrap()).unwrap();
            assert_eq!(stored["metadata"]["annotations"][BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS], "true");
            assert_eq!(outcome(action, &json!({name: "key"})), Outcome::default());
            assert_eq!(outcome(action, &json!({namespace: "storage"})), Outcome::default());
            assert_eq!(outcome(action, &Value::Null), Outcome::default());
        }
    }
}
