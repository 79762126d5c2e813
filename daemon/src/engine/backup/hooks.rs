//! Hooks around the storing of a pod: those before it, the pod with what it brings along, and those after it.
//!
//! Which hooks are due is [`crate::hooks::backup`]'s matter, running one is [`exec`]'s. Here is what becomes of their
//! ends: lines of the log, messages of the results, counts, and whether the pod is stored.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use holdfast_policy::velero::HookErrorMode;
use memchr::memmem;
use tokio::time::timeout;

use super::collect::Collector;
use super::items::{ItemError, Stored, Subject};
use super::pod_volumes::Which;
use crate::cluster::Item;
use crate::engine::run_log::{Message, Place};
use crate::engine::select::HOOK_ANNOTATION;
use crate::hooks::backup::{Hook, Identity, Phase, Rules};
use crate::hooks::exec::{self, Command};
use crate::hooks::{Pod, Tally, Turn, Turns};

/// How long a run that ends early may take to run the hooks that undo what earlier ones did.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
const CLOSED_AT_ONCE: usize = 8;

/// The hooks of one run.
#[derive(Debug)]
pub(super) struct Hooks {
    pub(super) rules: Rules,
    pub(super) tally: Tally<Identity>,
    turns: Turns,
    /// Pods in which a hook before was begun, and those after were not yet: by namespace and name.
    open: Mutex<BTreeMap<(String, String), (Pod, Turn)>>,
}

/// A pod that was taken up and has hooks.
#[derive(Debug)]
pub(super) struct HookedPod {
    /// Until it is stored.
    pub(super) item: Option<Item>,
    pub(super) pod: Pod,
    /// Until the hooks before begin.
    pub(super) turn: Option<Turn>,
    pub(super) before: Before,
}

/// How the hooks before a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// The pod is stored, and hooks after it run.
    GoOn,
    /// One that was to be taken seriously failed.
    LeavePodOut,
}

impl Hooks {
    pub(super) fn new(rules: Rules, turns: Turns) -> Self {
        Self { rules, tally: Tally::default(), turns, open: Mutex::default() }
    }

    fn open(&self, pod: &Pod, turn: Turn) {
        let key = (pod.namespace.clone(), pod.name.clone());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (pod.clone(), turn));
    }

    /// Gives what the pod was opened with; dropping it lets other backups into the pod.
    fn close(&self, pod: &Pod) -> Option<Turn> {
        let key = (pod.namespace.clone(), pod.name.clone());
        let closed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        closed.map(|(_, turn)| turn)
    }

    pub(super) async fn turn(&self, backup: &str, pod: &Pod) -> Turn {
        self.turns.take(backup, &pod.namespace, &pod.name).await
    }

    /// The pod, where hooks are due; most pods are not even read.
    pub(super) fn pod_with_hooks(&self, item: &Item) -> Result<Option<Pod>, serde_json::Error> {
        let may_have_own = memmem::find(&item.json, HOOK_ANNOTATION).is_some();
        if self.rules.is_empty() && !may_have_own {
            return Ok(None);
        }
        let pod = Pod::parse(&item.json)?;
        let due = |phase| !self.rules.due(&pod, phase).hooks.is_empty();
        Ok((due(Phase::Pre) || due(Phase::Post)).then_some(pod))
    }
}

impl Collector<'_> {
    /// Stores a pod between its hooks. One that a hook keeps out still brings its volumes along.
    pub(super) async fn put_with_hooks(
        &self,
        subject: &Subject<'_>,
        item: Item,
    ) -> Result<Stored, ItemError> {
        let Some(pod) = self.hooks.pod_with_hooks(&item)? else { return self.put(subject, item).await };
        let turn = Some(self.hooks.turn(self.name, &pod).await);
        let mut hooked = HookedPod { item: None, pod, turn, before: Before::GoOn };
        hooked.before = self.run_pre_hooks_of(&mut hooked).await;
        let stored = match hooked.before {
            Before::GoOn => self.put(subject, item).await,
            Before::LeavePodOut => self.act(subject, item).await.map(|_| Stored::No),
        };
        self.end_hooks_of(hooked).await;
        stored
    }

    /// Runs what is due before the pod is stored.
    pub(super) async fn run_pre_hooks_of(&self, hooked: &mut HookedPod) -> Before {
        if let Some(turn) = hooked.turn.take() {
            self.hooks.open(&hooked.pod, turn);
        }
        let Err(error) = self.run_hooks(&hooked.pod, Phase::Pre).await else { return Before::GoOn };
        let message = Message::new("Error running pre hooks for pod").name(&hooked.pod.name).cause(&error);
        self.log.error(Place::Velero, message);
        Before::LeavePodOut
    }

    /// Runs what is due after the pod and its volumes are stored, unless the hooks before failed.
    pub(super) async fn end_hooks_of(&self, hooked: HookedPod) {
        // What the hooks before have put at rest stays so until its files are read.
        let Pod { namespace, name, .. } = &hooked.pod;
        self.wait_for_files(Which::OfPod { namespace, name }).await;
        let turn = self.hooks.close(&hooked.pod);
        match hooked.before {
            Before::GoOn => self.run_post_hooks(&hooked.pod).await,
            Before::LeavePodOut => {}
        }
        drop(turn);
    }

    /// After a run that ended early, by a cancellation or a failure: what was frozen for it is not left frozen.
    pub(super) async fn close_open_pods(&self) {
        let open = std::mem::take(&mut *self.hooks.open.lock().unwrap_or_else(PoisonError::into_inner));
        let closing = stream::iter(open.into_values())
            .for_each_concurrent(CLOSED_AT_ONCE, async |(pod, _turn)| self.run_post_hooks(&pod).await);
        if timeout(CLOSED_WITHIN, closing).await.is_err() {
            tracing::warn!(backup = self.name, "post hooks of a backup that ended early took too long");
        }
    }

    async fn run_post_hooks(&self, pod: &Pod) {
        if let Err(error) = self.run_hooks(pod, Phase::Post).await {
            let message = Message::new("Error running post hooks for pod").name(&pod.name).cause(&error);
            self.log.error(Place::Velero, message);
        }
    }

    /// Ends with the first failure of a hook whose mode is Fail.
    async fn run_hooks(&self, pod: &Pod, phase: Phase) -> Result<(), exec::Error> {
        let due = self.hooks.rules.due(pod, phase);
        for problem in &due.problems {
            let message = Message::new("Error in a hook annotation").resource("pods").name(&pod.name);
            self.log.warning(Place::Velero, message.cause(problem));
        }
        for hook in &due.hooks {
            self.hooks.tally.attempt(hook.identity(pod));
        }
        for hook in &due.hooks {
            let Err(error) = self.run_hook(pod, hook).await else { continue };
            self.hooks.tally.fail(hook.identity(pod));
            // Velero's entries carry no namespace, so that they stand under its own heading.
            self.log.error(Place::Velero, Message::new("Error executing hook").cause(&error));
            match hook.on_error {
                Some(HookErrorMode::Fail) => return Err(error),
                Some(HookErrorMode::Continue) | None => {}
            }
        }
        Ok(())
    }

    async fn run_hook(&self, pod: &Pod, hook: &Hook) -> Result<(), exec::Error> {
        let container = match &hook.container {
            None => pod.containers.first().ok_or(exec::Error::NoContainers)?,
            Some(name) if pod.containers.contains(name) => name,
            Some(name) => return Err(exec::Error::NoSuchContainer(name.clone())),
        };
        let words = format!("[{}]", hook.command.join(" "));
        let fields = [
            ("hookCommand", words.as_str()),
            ("hookContainer", container),
            ("hookName", &hook.name),
            ("hookOnError", hook.on_error.map_or("", HookErrorMode::as_str)),
            ("hookPhase", hook.phase.as_str()),
            ("hookSource", hook.source.as_str()),
            ("hookType", "exec"),
            ("name", &pod.name),
            ("namespace", &pod.namespace),
        ];
        if pod.has_ended() {
            let text = format!("Pod entered phase {} before some post-backup exec hooks ran", pod.phase);
            self.log.info(&text, &fields);
            return Ok(());
        }
        self.log.info("running exec hook", &fields);
        let command = Command {
            namespace: &pod.namespace,
            pod: &pod.name,
            container,
            words: &hook.command,
            timeout: hook.timeout,
        };
        let (output, ended) = exec::run(self.cluster.client(), command).await;
        self.log.info(&format!("stdout: {}", output.stdout.text()), &fields);
        self.log.info(&format!("stderr: {}", output.stderr.text()), &fields);
        ended
    }
}
