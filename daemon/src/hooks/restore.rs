//! The hooks of a restore: init containers that a pod gets before it is created, and commands that run in it once its
//! containers do.
//!
//! The rules are pure: they take the Restore's `spec.hooks` and a pod, and give what is due, in order. A pod whose
//! annotations ask for a hook of either sort has that one and none of the spec's of that sort. [`run`] carries the
//! commands of one pod out.

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::labels::{
    INIT_HOOK_COMMAND, INIT_HOOK_CONTAINER_IMAGE, INIT_HOOK_CONTAINER_NAME, RESTORE_HOOK_COMMAND,
    RESTORE_HOOK_CONTAINER, RESTORE_HOOK_EXEC_TIMEOUT, RESTORE_HOOK_ON_ERROR, RESTORE_HOOK_WAIT_FOR_READY,
    RESTORE_HOOK_WAIT_TIMEOUT,
};
use holdfast_policy::velero::{
    ExecRestoreHook, HookErrorMode, InitRestoreHook, RestoreHookSpec, RestoreHooks,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::selector::Selector;
use super::{Error, FROM_ANNOTATION, Pod, Source, command};

mod run;

pub use run::{Event, run};

/// The container by which restored file-system backups hold a pod back; it stays the first.
const RESTORE_WAIT: &str = "restore-wait";

/// One command that is due in a restored pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: String,
    pub source: Source,
    pub container: String,
    pub command: Vec<String>,
    /// Unset is like Continue.
    pub on_error: Option<HookErrorMode>,
    /// Zero is the default, a negative one is for ever.
    pub exec_timeout: GoDuration,
    /// How long it waits for its container; zero leaves that to the run.
    pub wait_timeout: GoDuration,
    pub wait_for: WaitFor,
    /// Its place among those of its name.
    pub index: usize,
}

/// What a container must be before commands run in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    Running,
    Ready,
}

/// By what hooks are told apart when they are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    namespace: String,
    pod: String,
    source: Source,
    container: String,
    name: String,
    index: usize,
}

/// What is due in a pod, and what is wrong with its annotations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub hooks: Vec<Hook>,
    pub problems: Vec<String>,
}

/// A pod's annotations ask for an init container that can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "annotation {INIT_HOOK_CONTAINER_IMAGE} asks for an init container, and {INIT_HOOK_COMMAND} has no command for it"
)]
pub struct NoInitCommand;

/// A Restore's hooks, ready to be asked.
#[derive(Debug, Default)]
pub struct Rules {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    selector: Selector,
    exec: Vec<ExecRestoreHook>,
    init: Vec<InitRestoreHook>,
}

/// What is wrong with a spec's hooks: all of it, in words for the Restore's status.
pub fn problems(hooks: &RestoreHooks) -> Vec<String> {
    let mut problems = Vec::new();
    for spec in &hooks.resources {
        if let Err(error) = Entry::new(spec) {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            problems.push(format!("invalid restore hooks: {error}: {cause}"));
        }
        let containers = spec.post_hooks.iter().filter_map(|hook| hook.init.as_ref());
        for container in containers.flat_map(|init| &init.init_containers) {
            let text = |key: &str| container.get(key).and_then(Value::as_str).unwrap_or_default();
            let has_command =
                container.get("command").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
            for (missing, what) in [
                (text("name").is_empty(), "name"),
                (text("image").is_empty(), "image"),
                (!has_command, "command"),
            ] {
                if missing {
                    let name = &spec.name;
                    problems
                        .push(format!("invalid init container in restore hook {name:?}: {what} is required"));
                }
            }
        }
    }
    problems
}

impl Hook {
    pub fn identity(&self, pod: &Pod) -> Identity {
        Identity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            source: self.source,
            container: self.container.clone(),
            name: self.name.clone(),
            index: self.index,
        }
    }
}

impl Entry {
    /// The lists of resources mean nothing here, as with Velero: hooks are for pods.
    fn new(spec: &RestoreHookSpec) -> Result<Self, Error> {
        let namespaces = (spec.included_namespaces.as_slice(), spec.excluded_namespaces.as_slice());
        Ok(Self {
            name: spec.name.clone(),
            selector: Selector::new(&spec.name, namespaces, (&[], &[]), spec.label_selector.as_ref())?,
            exec: spec.post_hooks.iter().filter_map(|hook| hook.exec.clone()).collect(),
            init: spec.post_hooks.iter().filter_map(|hook| hook.init.clone()).collect(),
        })
    }
}

impl Rules {
    pub fn new(hooks: &RestoreHooks) -> Result<Self, Error> {
        Ok(Self { entries: hooks.resources.iter().map(Entry::new).collect::<Result<_, _>>()? })
    }

    /// The commands to be run in a pod; its namespace is the one that it goes to.
    pub fn exec(&self, pod: &Pod) -> Due {
        if let Some(due) = annotated(pod) {
            return due;
        }
        let mut hooks = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.selector.selects(pod)) {
            hooks.extend(entry.exec.iter().enumerate().map(|(index, hook)| {
                let ExecRestoreHook {
                    container,
                    command,
                    on_error,
                    exec_timeout,
                    wait_timeout,
                    wait_for_ready,
                } = hook;
                Hook {
                    name: entry.name.clone(),
                    source: Source::Spec,
                    container: container.clone().unwrap_or_else(|| first_container(pod)),
                    command: command.clone(),
                    on_error: *on_error,
                    exec_timeout: exec_timeout.unwrap_or_default(),
                    wait_timeout: wait_timeout.unwrap_or_default(),
                    wait_for: wait_for(wait_for_ready.unwrap_or_default()),
                    index,
                }
            }));
        }
        Due { hooks, problems: Vec::new() }
    }

    /// Puts the init containers that are due in front of the pod's own; `pod` is what `object` says.
    pub fn add_init_containers(&self, pod: &Pod, object: &mut Value) -> Result<(), NoInitCommand> {
        let added = match annotated_init(pod)? {
            Some(container) => vec![container],
            None => {
                let entries = self.entries.iter().filter(|entry| entry.selector.selects(pod));
                entries.flat_map(|entry| &entry.init).flat_map(|init| init.init_containers.clone()).collect()
            }
        };
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| !added.is_empty())
        else {
            return Ok(());
        };
        let own = spec.remove("initContainers").and_then(|own| own.as_array().cloned()).unwrap_or_default();
        let is_wait = |container: &Value| container.get("name").is_some_and(|name| name == RESTORE_WAIT);
        let waits = usize::from(own.first().is_some_and(is_wait));
        let (wait, own) = own.split_at(waits);
        spec.insert("initContainers".to_owned(), [wait, &added, own].concat().into());
        Ok(())
    }
}

fn first_container(pod: &Pod) -> String {
    pod.containers.first().cloned().unwrap_or_default()
}

fn wait_for(ready: bool) -> WaitFor {
    if ready { WaitFor::Ready } else { WaitFor::Running }
}

/// The hook of the pod's own annotations, if they name a command.
fn annotated(pod: &Pod) -> Option<Due> {
    let words = command(pod.annotation(RESTORE_HOOK_COMMAND)?);
    let mut problems = Vec::new();
    let mut duration = |key: &str| {
        pod.annotation(key).map_or(GoDuration::ZERO, |text| {
            text.parse().unwrap_or_else(|error| {
                problems.push(format!("annotation {key} is not used, the default is: {error}"));
                GoDuration::ZERO
            })
        })
    };
    let exec_timeout = duration(RESTORE_HOOK_EXEC_TIMEOUT);
    let wait_timeout = duration(RESTORE_HOOK_WAIT_TIMEOUT);
    let ready = match pod.annotation(RESTORE_HOOK_WAIT_FOR_READY) {
        // The words that Go takes for a boolean.
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") | None => false,
        Some(text) => {
            problems.push(format!(
                "annotation {RESTORE_HOOK_WAIT_FOR_READY} is not used: {text:?} is neither true nor false"
            ));
            false
        }
    };
    let hook = Hook {
        name: FROM_ANNOTATION.to_owned(),
        source: Source::Annotation,
        container: pod.annotation(RESTORE_HOOK_CONTAINER).map_or_else(|| first_container(pod), str::to_owned),
        command: words,
        on_error: match pod.annotation(RESTORE_HOOK_ON_ERROR) {
            Some("Continue") => Some(HookErrorMode::Continue),
            Some("Fail") => Some(HookErrorMode::Fail),
            Some(_) | None => None,
        },
        exec_timeout,
        wait_timeout,
        wait_for: wait_for(ready),
        index: 0,
    };
    Some(Due { hooks: vec![hook], problems })
}

/// The init container of the pod's own annotations, if they name an image.
fn annotated_init(pod: &Pod) -> Result<Option<Value>, NoInitCommand> {
    let Some(image) = pod.annotation(INIT_HOOK_CONTAINER_IMAGE) else { return Ok(None) };
    let words = pod.annotation(INIT_HOOK_COMMAND).map(command).filter(|words| !words.is_empty());
    let words = words.ok_or(NoInitCommand)?;
    let name = pod.annotation(INIT_HOOK_CONTAINER_NAME).map_or_else(|| made_up_name(pod), str::to_owned);
    Ok(Some(json!({"name": name, "image": image, "command": words})))
}

/// Velero draws lots; the same pod getting the same name is as good, and tells a second attempt the same thing.
fn made_up_name(pod: &Pod) -> String {
    let digest = Sha256::digest(format!("{}/{}", pod.namespace, pod.name));
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("velero-restore-init-{digits}")
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn hooks(resources: Value) -> RestoreHooks {
        serde_json::from_value(json!({ "resources": resources })).unwrap()
    }

    fn object(annotations: Value) -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": "db-0", "labels": {"app": "db"}, "annotations": annotations,
            },
            "spec": {"containers": [{"name": "main"}, {"name": "side"}]},
        })
    }

    fn pod(annotations: Value) -> Pod {
        Pod::from_value(&object(annotations)).unwrap()
    }

    fn init_names(object: &Value) -> Vec<&str> {
        let containers = object["spec"]["initContainers"].as_array();
        containers.into_iter().flatten().map(|container| container["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn commands_of_all_matching_entries_run_in_the_order_of_the_list() {
        let rules = Rules::new(&hooks(json!([
            {"name": "first", "includedNamespaces": ["sh*"], "includedResources": ["deployments"], "postHooks": [
                {"exec": {"command": ["a"], "waitTimeout": "5s", "waitForReady": true}},
                {"init": {"initContainers": [{"name": "x", "image": "x", "command": ["x"]}]}},
                {"exec": {"command": ["b"], "container": "side", "execTimeout": "7s", "onError": "Fail"}},
            ]},
            {"name": "elsewhere", "excludedNamespaces": ["shop"], "postHooks": [{"exec": {"command": ["x"]}}]},
            {"name": "others", "labelSelector": {"matchLabels": {"app": "web"}}, "postHooks": [{"exec": {"command": ["x"]}}]},
        ])))
        .unwrap();
        let due = rules.exec(&pod(json!({})));
        let hook = |command: &str, index| Hook {
            name: "first".to_owned(),
            source: Source::Spec,
            container: "main".to_owned(),
            command: vec![command.to_owned()],
            on_error: None,
            exec_timeout: GoDuration::ZERO,
            wait_timeout: GoDuration::ZERO,
            wait_for: WaitFor::Running,
            index,
        };
        let expected = [
            Hook { wait_timeout: GoDuration::from_secs(5), wait_for: WaitFor::Ready, ..hook("a", 0) },
            Hook {
                container: "side".to_owned(),
                exec_timeout: GoDuration::from_secs(7),
                on_error: Some(HookErrorMode::Fail),
                ..hook("b", 1)
            },
        ];
        assert_eq!(due.hooks, expected);
    }

    #[test]
    fn a_pods_own_command_is_its_only_one() {
        let rules =
            Rules::new(&hooks(json!([{"name": "a", "postHooks": [{"exec": {"command": ["x"]}}]}]))).unwrap();
        let due = rules.exec(&pod(json!({
            "post.hook.restore.velero.io/command": r#"["psql", "-f", "/dump"]"#,
            "post.hook.restore.velero.io/container": "side",
            "post.hook.restore.velero.io/on-error": "Fail",
            "post.hook.restore.velero.io/exec-timeout": "1m",
            "post.hook.restore.velero.io/wait-timeout": "2m",
            "post.hook.restore.velero.io/wait-for-ready": "true",
        })));
        let expected = Hook {
            name: FROM_ANNOTATION.to_owned(),
            source: Source::Annotation,
            container: "side".to_owned(),
            command: ["psql", "-f", "/dump"].map(str::to_owned).to_vec(),
            on_error: Some(HookErrorMode::Fail),
            exec_timeout: GoDuration::from_secs(60),
            wait_timeout: GoDuration::from_secs(120),
            wait_for: WaitFor::Ready,
            index: 0,
        };
        assert_eq!(due, Due { hooks: vec![expected], problems: vec![] });
        let wrong = rules.exec(&pod(json!({
            "post.hook.restore.velero.io/command": "sync",
            "post.hook.restore.velero.io/wait-timeout": "soon",
            "post.hook.restore.velero.io/wait-for-ready": "perhaps",
        })));
        assert_eq!(
            (wrong.hooks[0].wait_timeout, wrong.hooks[0].wait_for),
            (GoDuration::ZERO, WaitFor::Running)
        );
        assert_eq!(wrong.problems.len(), 2, "{:?}", wrong.problems);
    }

    #[test]
    fn init_containers_stand_behind_restore_wait_and_before_the_pods_own() {
        let container = |name: &str| json!({"name": name, "image": "i", "command": ["c"]});
        let rules = Rules::new(&hooks(json!([
            {"name": "a", "postHooks": [{"init": {"initContainers": [container("one"), container("two")]}}]},
            {"name": "b", "postHooks": [{"init": {"initContainers": [container("three")]}}]},
            {"name": "c", "includedNamespaces": ["blog"], "postHooks": [{"init": {"initContainers": [container("x")]}}]},
        ])))
        .unwrap();
        let mut with_wait = object(json!({}));
        with_wait["spec"]["initContainers"] = json!([container("restore-wait"), container("own")]);
        let pod = pod(json!({}));
        rules.add_init_containers(&pod, &mut with_wait).unwrap();
        assert_eq!(init_names(&with_wait), ["restore-wait", "one", "two", "three", "own"]);
        let mut without = object(json!({}));
        rules.add_init_containers(&pod, &mut without).unwrap();
        assert_eq!(init_names(&without), ["one", "two", "three"]);
    }

    #[test]
    fn a_pods_own_init_container_wins_over_the_spec() {
        let rules = Rules::new(&hooks(json!([{"name": "a", "postHooks": [
            {"init": {"initContainers": [{"name": "spec", "image": "i", "command": ["c"]}]}},
        ]}])))
        .unwrap();
        let annotations = json!({
            "init.hook.restore.velero.io/container-image": "busybox",
            "init.hook.restore.velero.io/command": r#"["sh", "-c", "ls"]"#,
        });
        let mut restored = object(annotations.clone());
        rules.add_init_containers(&pod(annotations), &mut restored).unwrap();
        let made = &restored["spec"]["initContainers"][0];
        assert_eq!((&made["image"], &made["command"]), (&json!("busybox"), &json!(["sh", "-c", "ls"])));
        let name = made["name"].as_str().unwrap();
        assert!(name.len() == 28 && name.starts_with("velero-restore-init-"), "{name}");
        let no_command = json!({"init.hook.restore.velero.io/container-image": "busybox"});
        let mut refused = object(no_command.clone());
        assert_eq!(rules.add_init_containers(&pod(no_command), &mut refused), Err(NoInitCommand));
    }

    #[test]
    fn everything_wrong_with_the_spec_is_told_at_once() {
        let found = problems(&hooks(json!([
            {"name": "a", "labelSelector": {"matchExpressions": [{"key": "k", "operator": "Like"}]}},
            {"name": "b", "postHooks": [{"init": {"initContainers": [{"name": "x"}, {"image": "i", "command": ["c"]}]}}]},
        ])));
        assert!(found[0].starts_with("invalid restore hooks: hook \"a\" has a label selector"), "{found:?}");
        assert_eq!(
            found[1..],
            [
                "invalid init container in restore hook \"b\": image is required",
                "invalid init container in restore hook \"b\": command is required",
                "invalid init container in restore hook \"b\": name is required",
            ]
        );
    }
}
