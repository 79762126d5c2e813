//! The init container that holds a restored pod back. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::engine::pod_volumes::RESTORE_WAIT;

/// Where the volumes are mounted in it.
const RESTORES: &str = "/restores";
/// As long as both keep to these, no quota and no limit range turns the container down.
const USUAL: [(&str, &str); 4] =
    [("cpuRequest", "100m"), ("memRequest", "128Mi"), ("cpuLimit", "100m"), ("memLimit", "128Mi")];
/// Whom it runs as where nothing else says so.
const USER: i64 = 1000;

/// What the container is like, from the ConfigMap of Velero's action of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    configuration: BTreeMap<String, String>,
    /// Where the ConfigMap names none.
    image: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error(
        "no image is known for the init container that waits for the pod's files: start the daemon with --restore-helper-image"
    )]
    NoImage,
}

impl Settings {
    pub(super) fn new(configuration: BTreeMap<String, String>, image: Option<String>) -> Self {
        Self { configuration, image }
    }

    pub(super) fn put_in_front(&self, pod: &mut Value, volumes: &[&str], restore: &str) -> Result<(), Error> {
        let container = json!({
            "name": RESTORE_WAIT,
            "image": self.image()?,
            "command": self.command(),
            "args": [restore],
            "env": [field("POD_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name")],
            "volumeMounts": volumes
                .iter()
                .map(|volume| json!({"name": volume, "mountPath": format!("{RESTORES}/{volume}")}))
                .collect::<Vec<_>>(),
            "resources": self.resources(),
            "securityContext": self.security_context(pod),
        });
        let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let containers = spec.entry("initContainers").or_insert(Value::Null);
        if !containers.is_array() {
            *containers = json!([]);
        }
        if let Some(containers) = containers.as_array_mut() {
            containers.insert(0, container);
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.configuration.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn image(&self) -> Result<&str, Error> {
        // As Velero has it: one without a registry is not taken.
        let given = self.get("image").filter(|image| image.contains('/'));
        given.or(self.image.as_deref()).ok_or(Error::NoImage)
    }

    fn command(&self) -> Value {
        match self.get("command") {
            Some(command) => json!([command]),
            None => json!(["holdfast", RESTORE_WAIT]),
        }
    }

    fn resources(&self) -> Value {
        let mut resources = json!({"requests": {}, "limits": {}});
        for (key, usual) in USUAL {
            let quantity = self.get(key).unwrap_or(usual);
            let (kind, name) = match key {
                "cpuRequest" => ("requests", "cpu"),
                "memRequest" => ("requests", "memory"),
                "cpuLimit" => ("limits", "cpu"),
                _ => ("limits", "memory"),
            };
            // Velero's word for none.
            if quantity != "0" {
                resources[kind][name] = json!(quantity);
            }
        }
        resources
    }

    fn security_context(&self, pod: &Value) -> Value {
        if let Some(given) = self.given_context() {
            return given;
        }
        if let Some(first) = pod.pointer("/spec/containers/0/securityContext") {
            return first.clone();
        }
        let mut usual = json!({
            "runAsUser": USER, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        let of_pod = |key: &str| pod.pointer("/spec/securityContext").and_then(|it| it.get(key)).cloned();
        for key in ["runAsUser", "runAsGroup"] {
            if let Some(value) = of_pod(key) {
                usual[key] = value;
            }
        }
        if usual["runAsUser"] == 0 {
            usual["runAsNonRoot"] = of_pod("runAsNonRoot").unwrap_or_default();
        }
        usual
    }

    /// What the ConfigMap says; the whole of it before its parts.
    fn given_context(&self) -> Option<Value> {
        if let Some(whole) = self.get("secCtx").and_then(|text| serde_yaml::from_str::<Value>(text).ok())
            && whole.is_object()
        {
            return Some(whole);
        }
        let mut parts = Map::new();
        for (key, field) in [("secCtxRunAsUser", "runAsUser"), ("secCtxRunAsGroup", "runAsGroup")] {
            if let Some(id) = self.get(key).and_then(|text| text.parse::<i64>().ok()) {
                parts.insert(field.to_owned(), id.into());
            }
        }
        if let Some(allowed) =
            self.get("secCtxAllowPrivilegeEscalation").and_then(|text| text.parse::<bool>().ok())
        {
            parts.insert("allowPrivilegeEscalation".to_owned(), allowed.into());
        }
        (!parts.is_empty()).then_some(Value::Object(parts))
    }
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn settings(configuration: &[(&str, &str)]) -> Settings {
        let configuration =
            configuration.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::new(configuration, Some("registry/holdfast:1".to_owned()))
    }

    fn container(settings: &Settings, spec: Value) -> Value {
        let mut pod = json!({"spec": spec});
        settings.put_in_front(&mut pod, &["data", "logs"], "uid").unwrap();
        pod["spec"]["initContainers"][0].clone()
    }

    #[test]
    fn it_comes_first_and_mounts_every_volume_that_is_restored() {
        let mut pod =
            json!({"spec": {"initContainers": [{"name": "own"}], "containers": [{"name": "main"}]}});
        settings(&[]).put_in_front(&mut pod, &["data"], "uid").unwrap();
        let names: Vec<&Value> =
            pod["spec"]["initContainers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["restore-wait", "own"]);
        let made = &pod["spec"]["initContainers"][0];
        assert_eq!(made["image"], "registry/holdfast:1");
        assert_eq!(made["command"], json!(["holdfast", "restore-wait"]));
        assert_eq!(made["args"], json!(["uid"]));
        assert_eq!(made["volumeMounts"], json!([{"name": "data", "mountPath": "/restores/data"}]));
        assert_eq!(
            made["resources"],
            json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}})
        );
    }

    #[test]
    fn the_config_map_says_what_is_otherwise() {
        let given = [
            ("image", "mirror/helper:2"),
            ("command", "/velero-restore-helper"),
            ("cpuLimit", "0"),
            ("secCtxRunAsUser", "7"),
        ];
        let made = container(&settings(&given), json!({"containers": [{}]}));
        assert_eq!(made["image"], "mirror/helper:2");
        assert_eq!(made["command"], json!(["/velero-restore-helper"]));
        assert_eq!(made["resources"]["limits"], json!({"memory": "128Mi"}));
        assert_eq!(made["securityContext"], json!({"runAsUser": 7}));
        let made = container(&settings(&[("image", "no-registry"), ("secCtx", "runAsUser: 9")]), json!({}));
        assert_eq!(made["image"], "registry/holdfast:1");
        assert_eq!(made["securityContext"], json!({"runAsUser": 9}));
        assert_eq!(Settings::new(BTreeMap::new(), None).image(), Err(Error::NoImage));
    }

    #[test]
    fn it_runs_as_the_pod_does() {
        let of_container = json!({"containers": [{"securityContext": {"runAsUser": 5}}]});
        assert_eq!(container(&settings(&[]), of_container)["securityContext"], json!({"runAsUser": 5}));
        let of_pod = json!({"containers": [{}], "securityContext": {"runAsUser": 0, "runAsGroup": 3}});
        let made = container(&settings(&[]), of_pod);
        assert_eq!(made["securityContext"]["runAsUser"], 0);
        assert_eq!(made["securityContext"]["runAsGroup"], 3);
        assert_eq!(made["securityContext"]["runAsNonRoot"], Value::Null);
        let nothing = container(&settings(&[]), json!({"containers": [{}]}));
        assert_eq!(nothing["securityContext"]["runAsUser"], 1000);
        assert_eq!(nothing["securityContext"]["runAsNonRoot"], true);
    }
}
