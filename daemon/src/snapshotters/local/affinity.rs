//! Whether a volume's files are of the node that the daemon sees. Pure. Files of the same path on another node are other
//! files, and a copy of them would look like a copy of the volume.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Error;

const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) fn check(volume: &Value, node: Option<&str>, nodes: &BTreeSet<String>) -> Result<(), Error> {
    let required = hostnames(volume);
    match (node, required.is_empty()) {
        // Without a choice of nodes there is nothing to mix up.
        (None, _) if nodes.len() <= 1 => Ok(()),
        (None, _) => Err(Error(format!(
            "the cluster has {} nodes: set config.node of the VolumeSnapshotLocation to the one whose files the daemon sees",
            nodes.len()
        ))),
        (Some(_), true) if nodes.len() <= 1 => Ok(()),
        (Some(_), true) => Err(Error("the volume does not tell the node that it is on".to_owned())),
        (Some(node), false) if required.len() == 1 && required.contains(node) => Ok(()),
        (Some(node), false) => {
            let required = required.into_iter().collect::<Vec<_>>().join(", ");
            Err(Error(format!("the volume is on {required}, and the location is for node {node}")))
        }
    }
}

/// The nodes of the volume's affinity.
fn hostnames(volume: &Value) -> BTreeSet<&str> {
    let terms = volume.pointer("/spec/nodeAffinity/required/nodeSelectorTerms").and_then(Value::as_array);
    let expressions = terms.into_iter().flatten().filter_map(|term| term.get("matchExpressions")?.as_array());
    let of_hostname = expressions.flatten().filter(|expression| {
        let text = |key: &str| expression.get(key).and_then(Value::as_str);
        text("key") == Some(HOSTNAME) && text("operator") == Some("In")
    });
    of_hostname
        .filter_map(|expression| expression.get("values")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_another_node_are_never_taken_for_the_volume_s() {
        let bound = |nodes: &[&str]| {
            json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": nodes}]},
            ]}}}})
        };
        let free = json!({"spec": {}});
        let check = |volume: &Value, node: Option<&str>, nodes: &[&str]| {
            check(volume, node, &nodes.iter().map(|node| (*node).to_owned()).collect()).is_ok()
        };
        assert!(check(&free, None, &["a"]));
        assert!(check(&bound(&["a"]), None, &["a"]));
        assert!(!check(&free, None, &["a", "b"]));
        assert!(!check(&bound(&["a"]), None, &["a", "b"]));
        assert!(check(&free, Some("a"), &["a"]));
        assert!(!check(&free, Some("a"), &["a", "b"]));
        assert!(check(&bound(&["a"]), Some("a"), &["a", "b"]));
        assert!(!check(&bound(&["b"]), Some("a"), &["a", "b"]));
        assert!(!check(&bound(&["a", "b"]), Some("a"), &["a", "b"]));
    }
}
