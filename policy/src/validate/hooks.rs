//! Hooks of backups and restores.

use std::collections::BTreeMap;

use serde_json::Value;

use super::select;
use crate::model::hooks::{BackupHook, RestoreHook};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;

pub(super) fn backup(hooks: &[BackupHook], path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    names(hooks.iter().map(|hook| hook.name.as_str()), path, raw, findings);
    for (index, hook) in hooks.iter().enumerate() {
        let at = path.index(index);
        select::hook(&hook.select, &at.key("select"), raw, findings);
        if hook.pre.is_empty() && hook.post.is_empty() {
            let message = format!("hook `{}` has no command: neither `pre` nor `post`", hook.name);
            findings.add(raw, &at, Rule::HookCommand, message);
        }
        for (key, commands) in [("pre", &hook.pre), ("post", &hook.post)] {
            for (position, command) in commands.iter().enumerate() {
                let at = at.key(key).index(position).key("exec");
                words(&command.exec.command, &at.key("command"), raw, findings);
                if command.exec.on_error.is_none() {
                    let message = "when this command fails, the pod is left out of the archive: onError is Fail \
                                   unless said otherwise";
                    findings.add(raw, &at, Rule::HookFails, message).help = Some(
                        "write onError: Fail, or onError: Continue to keep the pod all the same".to_owned(),
                    );
                }
            }
        }
    }
}

pub(super) fn restore(hooks: &[RestoreHook], path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    names(hooks.iter().map(|hook| hook.name.as_str()), path, raw, findings);
    for (index, hook) in hooks.iter().enumerate() {
        let at = path.index(index);
        select::hook(&hook.select, &at.key("select"), raw, findings);
        if hook.post_hooks.is_empty() {
            let message = format!("hook `{}` has no command: `postHooks` is empty", hook.name);
            findings.add(raw, &at, Rule::HookCommand, message);
        }
        for (position, step) in hook.post_hooks.iter().enumerate() {
            let at = at.key("postHooks").index(position);
            match (&step.exec, &step.init) {
                (Some(exec), None) => words(&exec.command, &at.key("exec").key("command"), raw, findings),
                (None, Some(init)) => {
                    for (number, container) in init.init_containers.iter().enumerate() {
                        let at = at.key("init").key("initContainers").index(number);
                        init_container(container, &at, raw, findings);
                    }
                }
                (Some(_), Some(_)) => {
                    findings.add(raw, &at, Rule::Exclusive, "`exec` and `init` exclude each other");
                }
                (None, None) => {
                    findings.add(raw, &at, Rule::HookCommand, "a step of a hook is `exec` or `init`");
                }
            }
        }
    }
}

fn init_container(container: &Value, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    for field in ["name", "image"] {
        if container.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            findings.add(raw, path, Rule::HookCommand, format!("an init container needs a `{field}`"));
        }
    }
    if container.get("command").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        findings.add(raw, path, Rule::HookCommand, "an init container needs a `command`");
    }
}

fn words(command: &[String], path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let Some(program) = command.first() else { return };
    if program.trim().is_empty() {
        findings.add(raw, &path.index(0), Rule::HookCommand, "the command is empty");
    } else if command.len() == 1 && program.contains(' ') {
        let shell: Vec<String> = ["/bin/sh", "-c", program].iter().map(|word| format!("{word:?}")).collect();
        let problem = findings.add(
            raw,
            &path.index(0),
            Rule::HookCommand,
            format!("there is no shell, so this would look for a program called {program:?}"),
        );
        problem.help = Some(format!("write each word as an item, or [{}]", shell.join(", ")));
    }
}

fn names<'a>(
    names: impl Iterator<Item = &'a str>,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in names.enumerate() {
        if let Some(earlier) = first.insert(name, index) {
            let related = findings.related_path(raw, &path.index(earlier).key("name"), "first here");
            let message = format!("two hooks are called `{name}`");
            findings
                .add(raw, &path.index(index).key("name"), Rule::DuplicateName, message)
                .related
                .push(related);
        }
    }
}
