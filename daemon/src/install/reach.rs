//! Who reaches the daemon over the network, and who looks at its metrics.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Error, Value, json};

use super::daemon::COMPONENT;
use super::pod;
use super::{METRICS_PORT, NAME, object};

/// Metrics and probes come in. What goes out is not bounded: where the API server and buckets are, only the cluster knows.
pub(super) fn network_policy(namespace: &str) -> Result<Value, Error> {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(METRICS_PORT)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    object(&NetworkPolicy {
        metadata: pod::metadata(NAME, namespace, COMPONENT),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pod::selector(COMPONENT)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(vec![port]), from: None }]),
            egress: None,
        }),
    })
}

/// A kind of the Prometheus operator's (monitoring.coreos.com/v1), of which there are no types here.
pub(super) fn service_monitor(namespace: &str) -> Value {
    let labels = pod::labels(COMPONENT);
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "endpoints": [{"port": "metrics"}],
        },
    })
}
