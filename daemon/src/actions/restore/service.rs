//! Services get new addresses, and new node ports unless somebody asked for the old ones explicitly.
//!
//! Who asked is read from the annotation that `kubectl apply` leaves, or else from the managed fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Action, Answers, Context, Effect, Error, NodePorts, asks_nothing, elements, elements_mut, remove, text,
};

pub(super) const ACTION: Action =
    Action { name: "velero.io/service", applies_to: &["services"], questions: asks_nothing, apply };

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    if text(item, "/spec/clusterIP") != "None" {
        remove(item, "/spec", "clusterIP");
        remove(item, "/spec", "clusterIPs");
    }
    match context.node_ports {
        NodePorts::Preserve => {}
        NodePorts::KeepExplicit => {
            let last_applied = last_applied(item)?;
            drop_assigned_node_ports(item, last_applied.as_ref());
            drop_assigned_health_check_port(item, last_applied.as_ref());
        }
    }
    Ok(Effect::default())
}

fn last_applied(item: &Value) -> Result<Option<Value>, Error> {
    let annotation =
        item.pointer("/metadata/annotations").and_then(|annotations| annotations.get(LAST_APPLIED));
    let Some(annotation) = annotation.and_then(Value::as_str) else { return Ok(None) };
    let bad = |reason: String| Error::BadLastApplied { annotation: LAST_APPLIED, reason };
    let applied: Value = serde_json::from_str(annotation).map_err(|error| bad(error.to_string()))?;
    if applied.is_object() { Ok(Some(applied)) } else { Err(bad("it is no JSON object".to_owned())) }
}

fn drop_assigned_node_ports(item: &mut Value, last_applied: Option<&Value>) {
    if text(item, "/spec/type") == "ExternalName" {
        return;
    }
    let explicit = match last_applied {
        Some(applied) => ExplicitPorts::from_last_applied(applied),
        None => ExplicitPorts::from_managed_fields(item),
    };
    for port in elements_mut(item, "/spec/ports") {
        if !explicit.holds(port) {
            remove(port, "", "nodePort");
        }
    }
}

/// The ports of a Service whose node port was asked for.
enum ExplicitPorts {
    /// Named ports by name, the others by number.
    Applied { names: BTreeSet<String>, numbers: BTreeSet<i64> },
    /// The keys of managed fields: `k:{"port":80,"protocol":"TCP"}`.
    Managed(BTreeSet<(i64, String)>),
}

impl ExplicitPorts {
    fn from_last_applied(applied: &Value) -> Self {
        let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for port in elements(applied, "/spec/ports") {
            if port.get("nodePort").and_then(number).is_some_and(|node_port| node_port > 0) {
                match text(port, "/name") {
                    "" => {
                        numbers.extend(port.get("port").and_then(number));
                    }
                    name => {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
        Self::Applied { names, numbers }
    }

    fn from_managed_fields(item: &Value) -> Self {
        let mut ports = BTreeSet::new();
        for entry in elements(item, "/metadata/managedFields") {
            let fields = entry.pointer("/fieldsV1/f:spec/f:ports").and_then(Value::as_object);
            for (key, fields) in fields.into_iter().flatten() {
                let key = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Value>(key).ok());
                if let Some(key) = key.filter(|_| fields.get("f:nodePort").is_some()) {
                    let protocol = text(&key, "/protocol").to_owned();
                    ports.extend(key.get("port").and_then(number).map(|port| (port, protocol)));
                }
            }
        }
        Self::Managed(ports)
    }

    fn holds(&self, port: &Value) -> bool {
        let port_number = port.get("port").and_then(number);
        match self {
            Self::Applied { names, numbers } => match text(port, "/name") {
                "" => port_number.is_some_and(|port| numbers.contains(&port)),
                name => names.contains(name),
            },
            Self::Managed(ports) => {
                let protocol = text(port, "/protocol");
                port_number.is_some_and(|port| ports.contains(&(port, protocol.to_owned())))
            }
        }
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn drop_assigned_health_check_port(item: &mut Value, last_applied: Option<&Value>) {
    let local_load_balancer =
        text(item, "/spec/externalTrafficPolicy") == "Local" && text(item, "/spec/type") == "LoadBalancer";
    if !local_load_balancer {
        return;
    }
    let applied = last_applied
        .and_then(|applied| applied.pointer("/spec/healthCheckNodePort"))
        .and_then(number)
        .is_some_and(|port| port != 0);
    let managed = elements(item, "/metadata/managedFields")
        .any(|entry| entry.pointer("/fieldsV1/f:spec/f:healthCheckNodePort").is_some());
    if !applied && !managed {
        remove(item, "/spec", "healthCheckNodePort");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{run, run_with};
    use super::*;

    fn restored(mut item: Value) -> Value {
        run(&ACTION, &mut item).unwrap();
        item
    }

    fn last_applied_with(spec: Value) -> Value {
        json!({"annotations": {LAST_APPLIED: json!({"spec": spec}).to_string()}})
    }

    #[test]
    fn addresses_go_but_a_headless_service_stays_headless() {
        let plain = restored(json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}}));
        assert_eq!(plain, json!({"spec": {}}));
        let headless = json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
        assert_eq!(restored(headless.clone()), headless);
    }

    #[test]
    fn node_ports_that_nobody_asked_for_go() {
        let item = restored(
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}}),
        );
        assert_eq!(item["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    }

    #[test]
    fn managed_fields_tell_which_ports_were_asked_for() {
        let item = restored(json!({
            "metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:ports": {
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}},
                "k:{\"port\":81,\"protocol\":\"TCP\"}": {"f:port": {}},
            }}}}]},
            "spec": {"ports": [
                {"port": 80, "protocol": "TCP", "nodePort": 30080},
                {"port": 80, "protocol": "UDP", "nodePort": 30081},
                {"port": 81, "protocol": "TCP", "nodePort": 30082},
            ]},
        }));
        assert_eq!(
            item["spec"]["ports"],
            json!([
                {"port": 80, "protocol": "TCP", "nodePort": 30080},
                {"port": 80, "protocol": "UDP"},
                {"port": 81, "protocol": "TCP"},
            ])
        );
    }

    #[test]
    fn the_last_applied_configuration_alone_decides_where_there_is_one() {
        let mut metadata = last_applied_with(json!({"ports": [
            {"name": "web", "port": 80, "nodePort": "30080"}, {"port": 82, "nodePort": 30082}, {"name": "auto", "port": 83},
        ]}));
        metadata["managedFields"] = json!([{"fieldsV1": {"f:spec": {"f:ports": {"k:{\"port\":83,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}}}}]);
        let item = restored(json!({"metadata": metadata, "spec": {"ports": [
            {"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"port": 82, "protocol": "TCP", "nodePort": 30082},
            {"name": "auto", "port": 83, "protocol": "TCP", "nodePort": 30083},
        ]}}));
        assert_eq!(
            item["spec"]["ports"],
            json!([
                {"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30080},
                {"port": 82, "protocol": "TCP", "nodePort": 30082},
                {"name": "auto", "port": 83, "protocol": "TCP"},
            ])
        );
    }

    #[test]
    fn a_broken_last_applied_configuration_is_an_error() {
        let mut item = json!({"metadata": {"annotations": {LAST_APPLIED: "{"}}, "spec": {}});
        assert!(matches!(run(&ACTION, &mut item), Err(Error::BadLastApplied { .. })));
    }

    #[test]
    fn preserving_keeps_all_node_ports_and_the_health_check_port() {
        let spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        });
        let mut item = json!({"spec": spec});
        run_with(&ACTION, &mut item, |setting| setting.node_ports = NodePorts::Preserve, &Answers::default())
            .unwrap();
        assert_eq!(item["spec"], spec);
    }

    #[test]
    fn a_health_check_port_stays_only_where_it_was_asked_for() {
        let spec =
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000});
        assert_eq!(restored(json!({"spec": spec}))["spec"].get("healthCheckNodePort"), None);
        let absent =
            json!({"metadata": last_applied_with(json!({"healthCheckNodePort": null})), "spec": spec});
        assert_eq!(restored(absent)["spec"].get("healthCheckNodePort"), None);
        let applied =
            json!({"metadata": last_applied_with(json!({"healthCheckNodePort": 31000})), "spec": spec});
        assert_eq!(restored(applied)["spec"]["healthCheckNodePort"], 31000);
        let mut managed = json!({"metadata": last_applied_with(json!({})), "spec": spec});
        managed["metadata"]["managedFields"] =
            json!([{"fieldsV1": {"f:spec": {"f:healthCheckNodePort": {}}}}]);
        assert_eq!(restored(managed)["spec"]["healthCheckNodePort"], 31000);
    }
}
