//! A PersistentVolume that is there under the name of one that is to come back: does it stay, or is it on its way out? Pure
//! (reference: velero-restore.md 6.3, step 3).

use serde_json::Value;

/// What a volume's claim reference leads to.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) claim: Option<Value>,
    pub(super) namespace: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is used as it is.
    Stays,
    /// It has lost its claim, and soon goes.
    Goes { reason: String },
}

pub(super) fn decide(volume: &Value, surroundings: &Surroundings) -> Existing {
    let goes = |reason: &str| Existing::Goes { reason: reason.to_owned() };
    let phase = |object: &Value| object.pointer("/status/phase").and_then(Value::as_str).map(str::to_owned);
    if is_deleting(volume) {
        return goes("a PersistentVolume of its name is being deleted");
    }
    if phase(volume).as_deref() == Some("Released") {
        return goes("a PersistentVolume of its name is Released and still there");
    }
    if volume.pointer("/spec/claimRef").is_none_or(Value::is_null) {
        return Existing::Stays;
    }
    let Surroundings { claim, namespace } = surroundings;
    match (claim, namespace) {
        (None, _) => goes("the claim of a PersistentVolume of its name is gone"),
        (Some(claim), _) if is_deleting(claim) => {
            goes("the claim of a PersistentVolume of its name is being deleted")
        }
        (Some(_), None) => goes("the namespace of the claim of a PersistentVolume of its name is gone"),
        (Some(_), Some(namespace))
            if is_deleting(namespace) || phase(namespace).as_deref() == Some("Terminating") =>
        {
            goes("the namespace of the claim of a PersistentVolume of its name is terminating")
        }
        (Some(_), Some(_)) => Existing::Stays,
    }
}

fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_that_has_lost_its_claim_is_waited_for_and_one_in_use_stays() {
        let bound = json!({"spec": {"claimRef": {"namespace": "shop", "name": "data"}}, "status": {"phase": "Bound"}});
        let there = || Some(json!({"metadata": {}, "status": {"phase": "Active"}}));
        let going = || Some(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        let stays = |volume: &Value, claim, namespace| {
            decide(volume, &Surroundings { claim, namespace }) == Existing::Stays
        };
        assert!(stays(&bound, there(), there()));
        assert!(!stays(&bound, None, there()));
        assert!(!stays(&bound, going(), there()));
        assert!(!stays(&bound, there(), None));
        assert!(!stays(&bound, there(), going()));
        assert!(stays(&json!({"spec": {}, "status": {"phase": "Available"}}), None, None));
        assert!(!stays(&json!({"spec": {}, "status": {"phase": "Released"}}), None, None));
        assert!(!stays(&going().unwrap(), None, None));
    }
}
