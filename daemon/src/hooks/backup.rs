//! The hooks of a backup: which commands run in a pod before and after it is stored.
//!
//! Pure: takes the Backup's `spec.hooks` and a pod, gives the hooks that are due, in order. A pod whose annotations name
//! a command for a phase has that one run and none of the spec's.

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::labels::{
    BACKUP_HOOK_COMMAND, BACKUP_HOOK_CONTAINER, BACKUP_HOOK_ON_ERROR, BACKUP_HOOK_TIMEOUT,
};
use holdfast_policy::velero::{BackupHook, BackupHookSpec, BackupHooks, ExecHook, HookErrorMode};

use super::selector::Selector;
use super::{Error, FROM_ANNOTATION, Pod, Source, command};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Pre,
    Post,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// One command that is due in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: String,
    pub source: Source,
    pub phase: Phase,
    /// As it is written; None is the pod's first.
    pub container: Option<String>,
    pub command: Vec<String>,
    /// Unset is like Continue.
    pub on_error: Option<HookErrorMode>,
    /// Zero is the default, a negative one is for ever.
    pub timeout: GoDuration,
    /// Its place among those of its name and phase.
    pub index: usize,
}

/// By what hooks are told apart when they are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    namespace: String,
    pod: String,
    source: Source,
    name: String,
    phase: Phase,
    container: Option<String>,
    index: usize,
}

/// What is due in a pod, and what is wrong with its annotations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub hooks: Vec<Hook>,
    pub problems: Vec<String>,
}

/// A Backup's hooks, ready to be asked.
#[derive(Debug)]
pub struct Rules {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    selector: Selector,
    pre: Vec<BackupHook>,
    post: Vec<BackupHook>,
}

impl Hook {
    pub fn identity(&self, pod: &Pod) -> Identity {
        Identity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            source: self.source,
            name: self.name.clone(),
            phase: self.phase,
            container: self.container.clone(),
            index: self.index,
        }
    }
}

impl Rules {
    /// `resolve` gives the group-resource of a name that the cluster knows.
    pub fn new(hooks: &BackupHooks, resolve: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let resolved = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| resolve(name).unwrap_or_else(|| name.clone())).collect()
        };
        let entry = |spec: &BackupHookSpec| {
            let selector = Selector::new(
                &spec.name,
                (&spec.included_namespaces, &spec.excluded_namespaces),
                (&resolved(&spec.included_resources), &resolved(&spec.excluded_resources)),
                spec.label_selector.as_ref(),
            )?;
            Ok(Entry { name: spec.name.clone(), selector, pre: spec.pre.clone(), post: spec.post.clone() })
        };
        Ok(Self { entries: hooks.resources.iter().map(entry).collect::<Result<_, _>>()? })
    }

    /// Whether only annotations can ask for hooks.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is to be run in this pod, in order.
    pub fn due(&self, pod: &Pod, phase: Phase) -> Due {
        if let Some(due) = annotated(pod, phase) {
            return due;
        }
        let mut hooks = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.selector.selects(pod)) {
            let of_phase = match phase {
                Phase::Pre => &entry.pre,
                Phase::Post => &entry.post,
            };
            hooks.extend(of_phase.iter().enumerate().map(|(index, hook)| {
                let ExecHook { container, command, on_error, timeout } = &hook.exec;
                Hook {
                    name: entry.name.clone(),
                    source: Source::Spec,
                    phase,
                    container: container.clone(),
                    command: command.clone(),
                    on_error: *on_error,
                    timeout: timeout.unwrap_or_default(),
                    index,
                }
            }));
        }
        Due { hooks, problems: Vec::new() }
    }
}

/// The hook of the pod's own annotations, if they name a command. Keys without a phase are of old, for `pre`.
fn annotated(pod: &Pod, phase: Phase) -> Option<Due> {
    let prefixes: &[&str] = match phase {
        Phase::Pre => &["pre.", ""],
        Phase::Post => &["post."],
    };
    prefixes.iter().find_map(|prefix| {
        let annotation = |key: &str| pod.annotation(&format!("{prefix}{key}"));
        let words = command(annotation(BACKUP_HOOK_COMMAND)?);
        let mut problems = Vec::new();
        let timeout = annotation(BACKUP_HOOK_TIMEOUT).map_or(GoDuration::ZERO, |text| {
            text.parse().unwrap_or_else(|error| {
                problems.push(format!(
                    "annotation {prefix}{BACKUP_HOOK_TIMEOUT} is not used, the default is: {error}"
                ));
                GoDuration::ZERO
            })
        });
        let on_error = match annotation(BACKUP_HOOK_ON_ERROR) {
            Some("Continue") => Some(HookErrorMode::Continue),
            Some("Fail") => Some(HookErrorMode::Fail),
            Some(_) | None => None,
        };
        let hook = Hook {
            name: FROM_ANNOTATION.to_owned(),
            source: Source::Annotation,
            phase,
            container: annotation(BACKUP_HOOK_CONTAINER).map(str::to_owned),
            command: words,
            on_error,
            timeout,
            index: 0,
        };
        Some(Due { hooks: vec![hook], problems })
    })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn rules(resources: Value) -> Rules {
        let hooks: BackupHooks = serde_json::from_value(json!({ "resources": resources })).unwrap();
        let resolve = |name: &str| matches!(name, "po" | "pod" | "pods").then(|| "pods".to_owned());
        Rules::new(&hooks, resolve).unwrap()
    }

    fn pod(annotations: Value) -> Pod {
        Pod::from_value(&json!({
            "metadata": {"namespace": "shop", "name": "db-0", "labels": {"app": "db"}, "annotations": annotations},
            "spec": {"containers": [{"name": "main"}, {"name": "side"}]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    fn names(due: &Due) -> Vec<String> {
        due.hooks.iter().map(|hook| format!("{} {}", hook.name, hook.command.join(" "))).collect()
    }

    fn annotated_command(due: &Due) -> Option<(&str, Option<&str>)> {
        let hook = due.hooks.first()?;
        Some((hook.command.first()?, hook.container.as_deref()))
    }

    #[test]
    fn all_matching_entries_run_in_the_order_of_the_list() {
        let rules = rules(json!([
            {"name": "first", "includedResources": ["po"], "pre": [
                {"exec": {"command": ["a"]}}, {"exec": {"command": ["b"], "onError": "Fail", "timeout": "5s"}},
            ], "post": [{"exec": {"command": ["d"]}}]},
            {"name": "elsewhere", "includedNamespaces": ["blog"], "pre": [{"exec": {"command": ["x"]}}]},
            {"name": "other-labels", "labelSelector": {"matchLabels": {"app": "web"}}, "pre": [{"exec": {"command": ["x"]}}]},
            {"name": "not-pods", "includedResources": ["deployments.apps"], "pre": [{"exec": {"command": ["x"]}}]},
            {"name": "last", "excludedNamespaces": ["blog"], "pre": [{"exec": {"command": ["c"], "container": "side"}}]},
        ]));
        let pre = rules.due(&pod(json!({})), Phase::Pre);
        assert_eq!(names(&pre), ["first a", "first b", "last c"]);
        assert_eq!(pre.hooks[1].on_error, Some(HookErrorMode::Fail));
        assert_eq!(pre.hooks[1].timeout, GoDuration::from_secs(5));
        assert_eq!(pre.hooks[0].on_error, None);
        assert_eq!(pre.hooks[2].container.as_deref(), Some("side"));
        assert_eq!(names(&rules.due(&pod(json!({})), Phase::Post)), ["first d"]);
    }

    #[test]
    fn a_pods_own_hook_keeps_the_specs_away_from_its_phase_only() {
        let rules = rules(json!([{
            "name": "spec", "pre": [{"exec": {"command": ["a"]}}], "post": [{"exec": {"command": ["b"]}}],
        }]));
        let pod = pod(json!({"pre.hook.backup.velero.io/command": "/bin/own"}));
        assert_eq!(names(&rules.due(&pod, Phase::Pre)), ["<from-annotation> /bin/own"]);
        assert_eq!(names(&rules.due(&pod, Phase::Post)), ["spec b"]);
    }

    #[test]
    fn annotations_give_container_error_mode_and_timeout() {
        let rules = rules(json!([]));
        let due = rules.due(
            &pod(json!({
                "post.hook.backup.velero.io/command": r#"["/bin/thaw", "-f"]"#,
                "post.hook.backup.velero.io/container": "side",
                "post.hook.backup.velero.io/on-error": "Fail",
                "post.hook.backup.velero.io/timeout": "90s",
            })),
            Phase::Post,
        );
        let expected = Hook {
            name: FROM_ANNOTATION.to_owned(),
            source: Source::Annotation,
            phase: Phase::Post,
            container: Some("side".to_owned()),
            command: vec!["/bin/thaw".to_owned(), "-f".to_owned()],
            on_error: Some(HookErrorMode::Fail),
            timeout: GoDuration::from_secs(90),
            index: 0,
        };
        assert_eq!(due, Due { hooks: vec![expected], problems: vec![] });
    }

    #[test]
    fn what_annotations_get_wrong_leaves_the_defaults() {
        let due = rules(json!([])).due(
            &pod(json!({
                "pre.hook.backup.velero.io/command": "/bin/sync",
                "pre.hook.backup.velero.io/on-error": "Panic",
                "pre.hook.backup.velero.io/timeout": "soon",
            })),
            Phase::Pre,
        );
        assert_eq!(due.hooks[0].on_error, None);
        assert_eq!(due.hooks[0].timeout, GoDuration::ZERO);
        let problem = "annotation pre.hook.backup.velero.io/timeout is not used, the default is: invalid duration \
                       \"soon\": a number with a unit is expected, like 30s, 1h30m or 720h";
        assert_eq!(due.problems, [problem]);
    }

    #[test]
    fn keys_without_a_phase_are_a_pre_hook_unless_there_is_one_with_it() {
        let rules = rules(json!([]));
        let old =
            json!({"hook.backup.velero.io/command": "/bin/old", "hook.backup.velero.io/container": "side"});
        assert_eq!(
            annotated_command(&rules.due(&pod(old.clone()), Phase::Pre)),
            Some(("/bin/old", Some("side")))
        );
        assert_eq!(rules.due(&pod(old.clone()), Phase::Post), Due::default());
        let mut both = old;
        both["pre.hook.backup.velero.io/command"] = json!("/bin/new");
        assert_eq!(annotated_command(&rules.due(&pod(both), Phase::Pre)), Some(("/bin/new", None)));
        let empty = json!({"pre.hook.backup.velero.io/command": ""});
        assert_eq!(rules.due(&pod(empty), Phase::Pre), Due::default());
    }

    #[test]
    fn hooks_are_told_apart_by_pod_name_phase_container_and_place() {
        let rules = rules(json!([
            {"name": "a", "pre": [{"exec": {"command": ["x"]}}, {"exec": {"command": ["y"]}}]},
            {"name": "a", "pre": [{"exec": {"command": ["z"]}}]},
        ]));
        let pod = pod(json!({}));
        let due = rules.due(&pod, Phase::Pre);
        let identities: std::collections::HashSet<_> =
            due.hooks.iter().map(|hook| hook.identity(&pod)).collect();
        // As in Velero, two entries of one name have the same hooks.
        assert_eq!((due.hooks.len(), identities.len()), (3, 2));
    }
}
