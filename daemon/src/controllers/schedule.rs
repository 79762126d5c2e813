//! Schedule: backups made again and again from a template.
//!
//! The driver. Never writes into a Schedule's spec.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::backoff::Backoff;
use super::stores::{Stores, reason};
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
mod bucket;
pub mod decide;
mod due;
mod observe;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod template;

pub use decide::FirstRun;
use decide::Next;

/// How many schedules are acted on at a time: a thousand may be due at one instant.
const ACTS_AT_A_TIME: usize = 32;

pub struct Controller {
    pub schedules: Arc<Watched<velero::Schedule>>,
    pub backups: Arc<Watched<velero::Backup>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub clock: Clock,
    pub default_location: String,
    pub first_run: FirstRun,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.schedules.ring_at_changes(&wake);
        self.backups.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let mut backoff = Backoff::default();
        let mut memory = observe::Memory::default();
        let mut told = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &mut backoff, &mut memory, &mut told).await;
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        backoff: &mut Backoff,
        memory: &mut observe::Memory,
        told: &mut HashMap<String, Next>,
    ) -> Option<DateTime<Utc>> {
        let mut next = None;
        let mut acts = Vec::new();
        let mut to_look_for = Vec::new();
        for observed in observe::observe(self, memory) {
            let decision = decide::decide(&observed, now);
            let name = observed.schedule.name_any();
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            tell(&name, &decision.next, told);
            match &decision.next {
                Next::Sleep { until } | Next::Blocked { by: _, until: Some(until) } => {
                    next = earlier(next, Some(*until));
                }
                Next::LookIntoBucket => to_look_for.push(observed.schedule.clone()),
                Next::Invalid
                | Next::Paused
                | Next::AwaitLocation { .. }
                | Next::AdoptLast { .. }
                | Next::PutRight { .. }
                | Next::Skip { .. }
                | Next::Create { .. }
                | Next::Blocked { by: _, until: None }
                | Next::NeverAgain => (),
            }
            acts.push((name, observed.schedule, decision));
        }
        // All backups are made before the first status is written: of a thousand that are due, the last is not to wait
        // for what the others note.
        let made: Vec<_> = stream::iter(acts)
            .map(async |(name, schedule, decision)| {
                let writes = act::writes(&schedule, &decision, now);
                let made = act::make(&writes, &self.backups).await;
                (name, schedule, made.map(|()| writes))
            })
            .buffer_unordered(ACTS_AT_A_TIME)
            .collect()
            .await;
        let outcomes: Vec<_> = stream::iter(made)
            .map(async |(name, schedule, made)| {
                let outcome = match made {
                    Ok(writes) => act::note(&schedule, writes, &self.schedules).await,
                    Err(error) => Err(error),
                };
                (name, schedule, outcome)
            })
            .buffer_unordered(ACTS_AT_A_TIME)
            .collect()
            .await;
        for (name, schedule, outcome) in outcomes {
            match outcome {
                Ok(did) => {
                    backoff.succeeded(&name);
                    memory.saw(&schedule);
                    // What was written may have changed what comes next, and the copy already has it.
                    if did == act::Did::Something {
                        next = Some(now);
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(schedule = name, error, "cannot carry out what is next for a schedule");
                    next = earlier(next, Some(backoff.failed(&name, now)));
                }
            }
        }
        if !to_look_for.is_empty() {
            next = Some(now);
        }
        for (schedule, looked) in bucket::look(self, to_look_for).await {
            match looked {
                Ok(newest) => memory.looked(&schedule, newest),
                Err(error) => {
                    let schedule = schedule.name_any();
                    tracing::warn!(
                        schedule,
                        error = reason(&error),
                        "cannot look for the schedule's backups"
                    );
                    backoff.failed(&schedule, now);
                }
            }
        }
        next
    }
}

/// Logs what comes next where that is new and more than waiting for an instant.
fn tell(name: &str, next: &Next, told: &mut HashMap<String, Next>) {
    if told.get(name) == Some(next) {
        return;
    }
    match next {
        Next::Sleep { until } => tracing::debug!(schedule = name, %until, "schedule sleeps"),
        Next::Invalid
        | Next::Paused
        | Next::LookIntoBucket
        | Next::AwaitLocation { .. }
        | Next::AdoptLast { .. }
        | Next::PutRight { .. }
        | Next::Skip { .. }
        | Next::Create { .. }
        | Next::Blocked { .. }
        | Next::NeverAgain => tracing::info!(schedule = name, ?next, "schedule decided"),
    }
    told.insert(name.to_owned(), next.clone());
}
