//! BackupRepository: data in repositories that no snapshot needs any more is removed, from time to time and where a deletion
//! asked for it.
//!
//! The driver. Repositories of kopia are left alone: Velero looks after them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{MaintenanceResult, RepositoryMaintenance};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::runs::Runs;
use super::stores::{Stores, reason};
use super::wake::{Wake, earlier};
use super::watched::{self, Watched};
use crate::clock::Clock;
use crate::engine::repositories::pruning::ASKED;
use crate::engine::repositories::{Key, Pruned, Repositories};

pub mod decide;

use decide::{Decision, Observed};

/// How many attempts are remembered, as with Velero.
const REMEMBERED: usize = 3;

pub struct Controller {
    pub repositories: Arc<Watched<velero::BackupRepository>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub handle: Repositories,
    pub stores: Stores,
    pub clock: Clock,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    began: DateTime<Utc>,
    /// What had been asked for by then.
    asked: Option<String>,
    outcome: Result<Pruned, String>,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.repositories.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let runs: Runs<End> = Runs::new(wake.clone());
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &runs, &mut backoff).await;
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        runs.stop().await;
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        runs: &Runs<End>,
        backoff: &mut Backoff,
    ) -> Option<DateTime<Utc>> {
        let mut next = None;
        let states = runs.states();
        let mut is_busy = states.values().any(|state| state.ended.is_none());
        for repository in self.repositories.all() {
            let name = repository.name_any();
            let uid = repository.uid().unwrap_or_default();
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            let location = self.locations.get(&repository.spec.backup_storage_location);
            let observed = Observed {
                repository: &repository,
                location: location.as_deref(),
                run: states.get(&uid),
                is_busy,
            };
            let outcome = match decide::decide(&observed, now) {
                Decision::LeaveAlone { reason: _ } => continue,
                Decision::Wait { until } => {
                    next = earlier(next, until);
                    continue;
                }
                Decision::Prune => {
                    is_busy = true;
                    if let Some(location) = location {
                        self.start(runs, &repository, location, now);
                    }
                    continue;
                }
                Decision::Note { end } => self.note(&repository, &end, now).await.map(|()| runs.forget(&uid)),
            };
            match outcome {
                Ok(()) => backoff.succeeded(&name),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(repository = name, error, "cannot note that unused data was removed");
                    next = earlier(next, Some(backoff.failed(&name, now)));
                }
            }
        }
        for (uid, _) in states.iter().filter(|(uid, state)| {
            state.ended.is_some() && !self.repositories.all().iter().any(|it| it.uid().as_ref() == Some(uid))
        }) {
            runs.forget(uid);
        }
        next
    }

    fn start(
        &self,
        runs: &Runs<End>,
        repository: &velero::BackupRepository,
        location: Arc<velero::BackupStorageLocation>,
        now: DateTime<Utc>,
    ) {
        let key = Key {
            volume_namespace: repository.spec.volume_namespace.clone(),
            location: repository.spec.backup_storage_location.clone(),
        };
        let asked = repository.annotations().get(ASKED).cloned();
        let (handle, stores) = (self.handle.clone(), self.stores.clone());
        let name = repository.name_any();
        tracing::info!(repository = name, "removing data that no snapshot needs");
        runs.start(&repository.uid().unwrap_or_default(), &name, |cancel| async move {
            let prune = async {
                let store = stores.open(&location).await.map_err(|error| reason(&error))?;
                handle.prune(&key, &store).await.map_err(|error| reason(&error))
            };
            let outcome = cancel.run_until_cancelled(prune).await;
            End { began: now, asked, outcome: outcome.unwrap_or_else(|| Err("interrupted".to_owned())) }
        });
    }

    async fn note(
        &self,
        repository: &velero::BackupRepository,
        end: &End,
        now: DateTime<Utc>,
    ) -> Result<(), watched::Error> {
        let mut after = repository.clone();
        let End { began, asked, outcome } = end;
        match outcome {
            Ok(Pruned::Wholly) => {
                // Not what somebody has asked for meanwhile.
                if repository.annotations().get(ASKED) == asked.as_ref() {
                    after.annotations_mut().remove(ASKED);
                }
            }
            Ok(Pruned::Marked) => {}
            Err(reason) => {
                tracing::warn!(repository = repository.name_any(), reason, "unused data was not removed");
            }
        }
        after.status.last_maintenance_time = Some(from_chrono(now));
        after.status.recent_maintenance.push(RepositoryMaintenance {
            result: Some(match outcome {
                Ok(_) => MaintenanceResult::Succeeded,
                Err(_) => MaintenanceResult::Failed,
            }),
            start_timestamp: Some(from_chrono(*began)),
            complete_timestamp: Some(from_chrono(now)),
            message: outcome.as_ref().err().cloned(),
        });
        let remembered = after.status.recent_maintenance.len().saturating_sub(REMEMBERED);
        after.status.recent_maintenance.drain(..remembered);
        self.repositories.patch(repository, &after).await.map(drop)
    }
}
