//! Hooks of a restore: commands start in the background as soon as their pod is created, and the run waits for them
//! behind its last object. A hook that fails is an error in the pod's namespace, whatever its mode; it holds nobody
//! else's hooks up.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::task::JoinSet;

use super::item::Item;
use super::pod_volumes::FilesDone;
use super::run::Run;
use crate::engine::run_log::{Message, Place, RunLog};
use crate::hooks::restore::{self, Event, Hook, Identity, Rules};
use crate::hooks::{Counts, Pod, Tally};

/// The hooks of one run.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(crate) rules: Rules,
    tally: Arc<Tally<Identity>>,
    /// One task for each pod. They end with this value.
    running: Mutex<JoinSet<()>>,
}

impl Hooks {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, tally: Arc::default(), running: Mutex::default() }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }
}

impl Run {
    /// A pod was created, under this name: its commands begin to wait for its containers. Where an attempt before created
    /// it and was interrupted, nobody knows how far its hooks had come: they are run, for a second time at worst.
    /// Their time begins when the pod's files are back: until then it waits in its first container.
    pub(crate) fn start_hooks(&self, item: &Item<'_>, object: &Value, name: &str, files: Option<FilesDone>) {
        if &*item.entry.group_resource != "pods" {
            return;
        }
        let mut pod = match Pod::from_value(object) {
            Ok(pod) => pod,
            Err(error) => {
                let text = format!("reading the hooks of {} failed", item.entry);
                self.log.error(item.place(), Message::new(text).cause(&error));
                return;
            }
        };
        pod.name = name.to_owned();
        let due = self.hooks.rules.exec(&pod);
        for problem in &due.problems {
            self.log.warning(item.place(), format!("pod {}: {problem}", pod.name));
        }
        if due.hooks.is_empty() {
            return;
        }
        for hook in &due.hooks {
            self.hooks.tally.attempt(hook.identity(&pod));
        }
        let longest_wait = self.timeouts.resource;
        let (client, log, tally) =
            (self.cluster.client().clone(), self.log.clone(), self.hooks.tally.clone());
        self.hooks.running.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            if let Some(files) = files {
                files.wait().await;
            }
            let tell = |event: Event<'_>| note(event, &pod, &log, &tally);
            restore::run(&client, &pod, due.hooks, longest_wait, &tell).await;
        });
    }

    /// Returns when all commands have ended one way or another, or the run is cancelled.
    pub(crate) async fn wait_for_hooks(&self) {
        let mut running =
            std::mem::take(&mut *self.hooks.running.lock().unwrap_or_else(PoisonError::into_inner));
        if running.is_empty() {
            return;
        }
        self.log.info("Waiting for hooks of restored pods", &[("pods", &running.len().to_string())]);
        let all = async {
            while let Some(ended) = running.join_next().await {
                if let Err(error) = ended {
                    let text = Message::new("running the hooks of a pod failed");
                    self.log.error(Place::Velero, text.cause(&error));
                }
            }
        };
        // Cancelled, the caller ends the run as such.
        let _cancelled = self.cancel.run_until_cancelled(all).await;
    }
}

fn note(event: Event<'_>, pod: &Pod, log: &RunLog, tally: &Tally<Identity>) {
    let place = || Place::Namespace(pod.namespace.clone());
    let named = |hook: &Hook| format!("hook {} in container {}", hook.name, hook.container);
    match event {
        Event::Begins { hook } => log.info("running exec hook", &fields(hook, pod)),
        Event::Ended { hook, output, error } => {
            log.info(&format!("stdout: {}", output.stdout.text()), &fields(hook, pod));
            log.info(&format!("stderr: {}", output.stderr.text()), &fields(hook, pod));
            if let Some(error) = error {
                tally.fail(hook.identity(pod));
                log.error(place(), format!("{} failed to execute, err: {error}", named(hook)));
            }
        }
        Event::Late { hook } => {
            tally.fail(hook.identity(pod));
            log.error(place(), format!("{} expired before executing", named(hook)));
        }
        Event::NotRun { hook, reason } => {
            tally.fail(hook.identity(pod));
            let Pod { namespace, name, .. } = pod;
            log.error(place(), format!("{} in pod {namespace}/{name} not executed: {reason}", named(hook)));
        }
    }
}

fn fields<'a>(hook: &'a Hook, pod: &'a Pod) -> [(&'static str, &'a str); 6] {
    [
        ("hookContainer", &hook.container),
        ("hookName", &hook.name),
        ("hookSource", hook.source.as_str()),
        ("hookType", "exec"),
        ("name", &pod.name),
        ("namespace", &pod.namespace),
    ]
}
