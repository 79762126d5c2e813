//! What no schedule backs up: worked out when somebody asks, at most once a minute and one at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_policy::velero::Schedule;

use crate::causes::with_causes;
use crate::cluster::Cluster;
use crate::engine::coverage::{Choice, Gaps, NamespaceCoverage, gaps, of_schedules};
use crate::engine::inventory;

/// For so long an answer is good enough.
const KEPT: TimeDelta = TimeDelta::seconds(60);
/// A cluster that takes longer to read is told so.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many namespaces and volumes are told by name.
const TOLD: usize = 200;

/// An answer, and when it was found.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) at: DateTime<Utc>,
    pub(super) found: Result<Found, String>,
}

/// Without what nobody needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) objects: usize,
    pub(super) covered: usize,
    /// Without any backup, and each with the number of its objects.
    pub(super) namespaces: Vec<(String, usize)>,
    /// Namespaces of which some objects are in no backup, with their number.
    pub(super) in_part: Vec<(String, usize)>,
    pub(super) volumes: Vec<String>,
    /// How many more there are of all three together.
    pub(super) more: usize,
    /// What could not be read.
    pub(super) missing: Vec<String>,
}

#[derive(Default)]
pub(super) struct Keeper {
    latest: Mutex<Option<Arc<Answer>>>,
    /// Held while one is worked out.
    turn: tokio::sync::Mutex<()>,
}

impl Keeper {
    /// The latest answer, however old.
    pub(super) fn latest(&self) -> Option<Arc<Answer>> {
        // An answer is put in whole.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One that is new enough, which all who ask meanwhile wait for.
    pub(super) async fn answer(
        &self,
        cluster: &Cluster,
        schedules: &[Arc<Schedule>],
        now: impl Fn() -> DateTime<Utc>,
    ) -> Arc<Answer> {
        let _turn = self.turn.lock().await;
        if let Some(latest) = self.latest().filter(|latest| now() - latest.at < KEPT) {
            return latest;
        }
        let found = match tokio::time::timeout(PATIENCE, work_out(cluster, &of_schedules(schedules))).await {
            Ok(found) => found,
            Err(_) => Err(format!("the cluster could not be read in {} s", PATIENCE.as_secs())),
        };
        let answer = Arc::new(Answer { at: now(), found });
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
        answer
    }
}

async fn work_out(cluster: &Cluster, choices: &[Choice]) -> Result<Found, String> {
    let inventory = inventory::read(cluster).await.map_err(|error| with_causes(&error))?;
    let choices = choices.to_vec();
    // Judging a hundred thousand objects takes a while.
    let judged = tokio::task::spawn_blocking(move || {
        let gaps = gaps(&choices, &inventory.discovery, &inventory.objects);
        gaps.map(|gaps| found(gaps, inventory.missing)).map_err(|error| with_causes(&error))
    });
    judged.await.map_err(|error| with_causes(&error))?
}

fn found(gaps: Gaps, missing: Vec<String>) -> Found {
    let mut found = Found { objects: gaps.objects, covered: gaps.covered, missing, ..Found::default() };
    for (name, gap) in gaps.namespaces {
        let list = match gap.coverage {
            NamespaceCoverage::Not(_) => &mut found.namespaces,
            NamespaceCoverage::InPart => &mut found.in_part,
            NamespaceCoverage::AsItAsks => continue,
        };
        list.push((name, gap.left_out.values().sum()));
    }
    found
        .volumes
        .extend(gaps.volumes.into_iter().filter(|volume| !volume.as_it_asks).map(|volume| volume.object));
    for length in [cut(&mut found.namespaces), cut(&mut found.in_part), cut(&mut found.volumes)] {
        found.more += length;
    }
    found.missing.truncate(TOLD);
    found
}

/// Gives how many were cut off.
fn cut<T>(list: &mut Vec<T>) -> usize {
    let more = list.len().saturating_sub(TOLD);
    list.truncate(TOLD);
    more
}
