//! The zone that a volume is in: by its labels, else by its node affinity (reference: velero-backup.md 6.5). Pure.

use serde_json::Value;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// In the order in which they count.
const TOPOLOGY_KEYS: [&str; 7] = [
    "topology.ebs.csi.aws.com/zone",
    "topology.disk.csi.azure.com/zone",
    GCE,
    "topology.cinder.csi.openstack.org/zone",
    "topology.manila.csi.openstack.org/zone",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
/// Its disks may be in several zones at a time.
const GCE: &str = "topology.gke.io/zone";

/// Empty where nothing tells.
pub(super) fn of(volume: &Value) -> String {
    let labels = volume.pointer("/metadata/labels");
    let label = |key: &&str| labels?.get(key)?.as_str().filter(|zone| !zone.is_empty());
    if let Some(zone) = LABELS.iter().find_map(label) {
        return zone.to_owned();
    }
    let terms = volume.pointer("/spec/nodeAffinity/required/nodeSelectorTerms").and_then(Value::as_array);
    let expressions: Vec<&Value> = terms
        .into_iter()
        .flatten()
        .filter_map(|term| term.get("matchExpressions")?.as_array())
        .flatten()
        .filter(|expression| expression.get("operator").and_then(Value::as_str) == Some("In"))
        .collect();
    let zones = |key: &str| -> Vec<&str> {
        let of_key = |expression: &&&Value| expression.get("key").and_then(Value::as_str) == Some(key);
        let values =
            expressions.iter().filter(of_key).filter_map(|expression| expression.get("values")?.as_array());
        values.flatten().filter_map(Value::as_str).collect()
    };
    for key in TOPOLOGY_KEYS {
        match zones(key).as_slice() {
            [] => {}
            zones if key == GCE => return zones.join("__"),
            [first, ..] => return (*first).to_owned(),
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_come_before_affinity_and_gce_names_all_zones() {
        let affinity = |key: &str, zones: &[&str]| {
            json!({"metadata": {}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": key, "operator": "In", "values": zones}]},
            ]}}}})
        };
        let mut labelled = affinity("topology.ebs.csi.aws.com/zone", &["b"]);
        assert_eq!(of(&labelled), "b");
        labelled["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "a"});
        assert_eq!(of(&labelled), "a");
        assert_eq!(of(&affinity(GCE, &["a", "b"])), "a__b");
        assert_eq!(of(&affinity("other", &["a"])), "");
        assert_eq!(of(&json!({})), "");
    }
}
