//! The commands of one restored pod: waits for each container and runs what is due in it, one command at a time.
//!
//! In: the pod, its hooks, and how long to wait where they don't say. Out: an [`Event`] for every hook. It always
//! ends: a container that does not come, a pod that ends or is deleted leave their hooks as failures.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt as _;
use holdfast_policy::velero::HookErrorMode;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::time::{Instant, timeout_at};

use super::{Hook, WaitFor};
use crate::hooks::Pod;
use crate::hooks::exec::{self, Command, Output};

/// What happens to a hook. Each ends exactly once, by `Ended` or `NotRun`; a hook whose turn comes too late and that is
/// to go on regardless has `Late` before its `Ended`.
#[derive(Debug)]
pub enum Event<'a> {
    Begins {
        hook: &'a Hook,
    },
    Ended {
        hook: &'a Hook,
        output: Output,
        error: Option<exec::Error>,
    },
    /// Its time to wait had passed when its turn came: a failure, whatever its command does.
    Late {
        hook: &'a Hook,
    },
    NotRun {
        hook: &'a Hook,
        reason: String,
    },
}

/// The hooks of one container, those that have not run.
struct Group {
    container: String,
    wait_for: WaitFor,
    hooks: VecDeque<Hook>,
}

/// Whether the rest of the pod's hooks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// Runs them all. `longest_wait` is for hooks that set none.
pub async fn run(
    client: &kube::Client,
    pod: &Pod,
    hooks: Vec<Hook>,
    longest_wait: Duration,
    tell: &(dyn Fn(Event<'_>) + Send + Sync),
) {
    let started = Instant::now();
    let waits = hooks.iter().map(|hook| wait_of(hook, longest_wait));
    let deadline = started + waits.max().unwrap_or_default();
    let mut groups = group(hooks);
    let pods = Api::<core::Pod>::namespaced(client.clone(), &pod.namespace);
    let states = watcher::watch_object(pods, &pod.name).default_backoff();
    let mut states = std::pin::pin!(states);
    while !groups.is_empty() {
        let live = match timeout_at(deadline, states.next()).await {
            Err(_) => return give_up(&groups, "its container was not there in time", tell),
            Ok(None) => return give_up(&groups, "the API server no longer tells of the pod", tell),
            // Tried again by the watcher, and the deadline bounds that.
            Ok(Some(Err(_))) => continue,
            Ok(Some(Ok(None))) => return give_up(&groups, "the pod is gone", tell),
            Ok(Some(Ok(Some(live)))) => live,
        };
        if let Some(phase) = live.status.as_ref().and_then(|status| status.phase.as_deref())
            && (phase == "Succeeded" || phase == "Failed")
        {
            return give_up(&groups, &format!("the pod has ended, its phase is {phase}"), tell);
        }
        for group in &mut groups {
            if !has_container(&live, &group.container) {
                if fail_missing(group, tell) == Next::Stop {
                    return give_up(&groups, "an earlier hook of the pod failed", tell);
                }
                continue;
            }
            if !is_up(&live, group) {
                continue;
            }
            while let Some(hook) = group.hooks.pop_front() {
                let late = started.elapsed() > wait_of(&hook, longest_wait);
                if run_one(client, pod, &hook, late, tell).await == Next::Stop {
                    return give_up(&groups, "an earlier hook of the pod failed", tell);
                }
            }
        }
        groups.retain(|group| !group.hooks.is_empty());
    }
}

async fn run_one(
    client: &kube::Client,
    pod: &Pod,
    hook: &Hook,
    late: bool,
    tell: &(dyn Fn(Event<'_>) + Send + Sync),
) -> Next {
    if late {
        tell(Event::Late { hook });
        if hook.on_error == Some(HookErrorMode::Fail) {
            return Next::Stop;
        }
    }
    tell(Event::Begins { hook });
    let command = Command {
        namespace: &pod.namespace,
        pod: &pod.name,
        container: &hook.container,
        words: &hook.command,
        timeout: hook.exec_timeout,
    };
    let (output, ended) = exec::run(client, command).await;
    let error = ended.err();
    let stops = error.is_some() && hook.on_error == Some(HookErrorMode::Fail);
    tell(Event::Ended { hook, output, error });
    if stops { Next::Stop } else { Next::GoOn }
}

fn wait_of(hook: &Hook, longest_wait: Duration) -> Duration {
    hook.wait_timeout.as_std().filter(|wait| !wait.is_zero()).unwrap_or(longest_wait)
}

/// By container, in the order of each container's first hook.
fn group(hooks: Vec<Hook>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for hook in hooks {
        match groups.iter_mut().find(|group| group.container == hook.container) {
            Some(group) => {
                if hook.wait_for == WaitFor::Ready {
                    group.wait_for = WaitFor::Ready;
                }
                group.hooks.push_back(hook);
            }
            None => groups.push(Group {
                container: hook.container.clone(),
                wait_for: hook.wait_for,
                hooks: VecDeque::from([hook]),
            }),
        }
    }
    groups
}

/// No container is ever added to a pod, so there is nothing to wait for.
fn fail_missing(group: &mut Group, tell: &(dyn Fn(Event<'_>) + Send + Sync)) -> Next {
    while let Some(hook) = group.hooks.pop_front() {
        let error = exec::Error::NoSuchContainer(hook.container.clone());
        tell(Event::Ended { hook: &hook, output: Output::default(), error: Some(error) });
        if hook.on_error == Some(HookErrorMode::Fail) {
            return Next::Stop;
        }
    }
    Next::GoOn
}

fn give_up(groups: &[Group], reason: &str, tell: &(dyn Fn(Event<'_>) + Send + Sync)) {
    for hook in groups.iter().flat_map(|group| &group.hooks) {
        tell(Event::NotRun { hook, reason: reason.to_owned() });
    }
}

fn has_container(pod: &core::Pod, name: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(|container| container.name == name))
}

fn is_up(pod: &core::Pod, group: &Group) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter(|status| status.name == group.container).any(|status| match group.wait_for {
        WaitFor::Running => status.state.as_ref().is_some_and(|state| state.running.is_some()),
        WaitFor::Ready => status.ready,
    })
}
