//! One round of publishing for every source, and what its PolicySet then says.
//!
//! In: the states. Out: requests of `publish`, statuses on the board, and the time until the next round. What a
//! person wrote on a PolicySet is read here.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::board::Words;
use super::in_force::{State, Wait};
use super::ledger::Ledger;
use super::ledger::place::Asked;
use super::tell::Teller;
use crate::clock::Clock;
use crate::publish::act::Outcome;
use crate::publish::bucket::Verdict;
use crate::publish::decide::LeaveReason;
use crate::publish::object::{ALLOW_PRUNE, Desired, Key, Kind, Lifecycle};
use crate::publish::report::{Notice, Reason, Report};
use crate::publish::{Publisher, Request};

/// Look at everything this often, even if nothing seems to have happened: restores wait for times and backups.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// A round with failures is tried again after this, then after twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A bucket that could not be read is tried again.
const LOOK_INTO_BUCKET: Duration = Duration::from_secs(10);
/// So many objects take a while, and people are told before.
const MANY: usize = 200;

/// Gives the time until the next round is due.
pub async fn round(
    states: &mut [State],
    publisher: &Publisher,
    ledger: &Ledger,
    teller: Teller<'_>,
    clock: &Clock,
) -> Duration {
    let mut pause = AT_LEAST_EVERY;
    for state in states {
        if has_much_to_do(state) {
            teller.tell(state, clock()).await;
        }
        publish(state, publisher, ledger, teller, clock()).await;
        pause = pause.min(until_next(state, clock()));
    }
    pause
}

fn has_much_to_do(state: &State) -> bool {
    state.in_force.as_ref().is_some_and(|in_force| {
        in_force.set.desired.len() > MANY && state.round.published.as_ref() != Some(&in_force.set.revision)
    })
}

async fn publish(
    state: &mut State,
    publisher: &Publisher,
    ledger: &Ledger,
    teller: Teller<'_>,
    now: DateTime<Utc>,
) {
    let board = teller.board;
    let Some(in_force) = &state.in_force else { return };
    let set = &in_force.set;
    let words = Words::of(board.and_then(|board| board.get(&state.name)).as_ref());
    let approved = words.approved(&set.desired);
    let request = Request {
        source: state.name.as_str(),
        desired: &set.desired,
        drift: set.drift,
        prune_word: words.prune.as_deref(),
        approved: &approved,
        notices: &state.round.notices,
    };
    match publisher.decide(&request, &mut state.memory, now).await {
        Ok(decided) => {
            let asked: Vec<Asked> = decided.creations(&set.desired).iter().map(Asked::of).collect();
            let too_early = decided.changes_locations();
            let verdicts = match too_early {
                true => asked.iter().map(|asked| (asked.key.clone(), Verdict::Asking)).collect(),
                false => ledger.verdicts(&asked, now),
            };
            let consulted = decided.consult(&verdicts);
            let report = publisher.publish(&request, consulted, &mut state.memory, now).await;
            if too_early {
                // The answer is the next round's.
                ledger.verdicts(&asked, now);
            }
            let unnoted = note(ledger, &set.desired, &report, state.name.as_str(), now);
            let (changes, failures) = (report.changes(), report.failures());
            if changes > 0 {
                info!(source = %state.name, changes, failures, "published policies");
            }
            let revision = set.revision.clone();
            teller.tell_of_drift(state, &report).await;
            take_in(state, &report, revision);
            for (key, notice) in unnoted {
                state.round.notices.entry(key).or_insert(notice);
            }
            if let Some(board) = board.filter(|_| words.prune.is_some() && removed(&report) > 0)
                && let Err(error) = board.consume(&state.name, ALLOW_PRUNE).await
            {
                warn!(source = %state.name, error = &error as &dyn std::error::Error, "an allowed removal stays allowed");
            }
        }
        Err(problem) => {
            let problem = &problem as &dyn std::error::Error;
            warn!(source = %state.name, problem, "could not compare policies with the cluster");
            state.round.failures += 1;
        }
    }
}

/// Notes in the buckets what ran once, and gives what could not be noted.
fn note(
    ledger: &Ledger,
    desired: &[Desired],
    report: &Report,
    source: &str,
    now: DateTime<Utc>,
) -> Vec<(Key, Notice)> {
    let mut unnoted = Vec::new();
    for desired in desired.iter().filter(|one| one.key.kind.lifecycle() == Lifecycle::CreatedOnce) {
        match report.outcomes.get(&desired.key) {
            Some(Outcome::Created | Outcome::Left(LeaveReason::RanBefore)) => {}
            Some(
                Outcome::Left(_)
                | Outcome::Applied { .. }
                | Outcome::Refused(_)
                | Outcome::Pruned
                | Outcome::Failed(_),
            )
            | None => continue,
        }
        ledger.note(source, desired, now);
        if let Some(why) = ledger.failed_note(&desired.key) {
            let note =
                format!("it ran, and its bucket does not know, as a rebuilt cluster would need it to: {why}");
            unnoted.push((desired.key.clone(), Notice { reason: Reason::NotNoted, note }));
        }
    }
    unnoted
}

fn take_in(state: &mut State, report: &Report, revision: String) {
    let round = &mut state.round;
    let asked = |outcome: &Outcome| matches!(outcome, Outcome::Left(LeaveReason::BucketAsked));
    if report.failures() > 0 {
        round.failures += 1;
    } else {
        round.failures = 0;
        if !report.outcomes.values().any(asked) {
            round.published = Some(revision);
        }
    }
    round.notices = report.notices();
    round.waiting.clear();
    for (key, outcome) in &report.outcomes {
        let wait = match outcome {
            Outcome::Left(LeaveReason::AwaitsApproval { content_hash }) => {
                Wait::Approval { restore: key.name.clone(), content_hash: content_hash.clone() }
            }
            Outcome::Left(LeaveReason::PruneHeld { gone, of, word }) => {
                Wait::Removal { gone: *gone, of: *of, word: word.clone() }
            }
            Outcome::Left(_)
            | Outcome::Applied { .. }
            | Outcome::Created
            | Outcome::Refused(_)
            | Outcome::Pruned
            | Outcome::Failed(_) => continue,
        };
        // A large removal is one thing to allow, however many objects wait for it.
        if round.waiting.last() != Some(&wait) {
            round.waiting.push(wait);
        }
    }
}

fn removed(report: &Report) -> usize {
    let schedules = report.outcomes.iter().filter(|(key, _)| key.kind == Kind::Schedule);
    schedules.filter(|(_, outcome)| matches!(outcome, Outcome::Pruned)).count()
}

fn until_next(state: &State, now: DateTime<Utc>) -> Duration {
    if state.round.notices.values().any(|notice| notice.reason == Reason::BucketUnread) {
        return LOOK_INTO_BUCKET;
    }
    let retry = match state.round.failures.checked_sub(1) {
        Some(doublings) => FIRST_RETRY * 2_u32.pow(doublings.min(6)),
        None => AT_LEAST_EVERY,
    };
    let refused = state.memory.next_retry().map(|at| (at - now).max(TimeDelta::zero()));
    let refused = refused.and_then(|wait| wait.to_std().ok()).unwrap_or(AT_LEAST_EVERY);
    retry.min(refused).min(AT_LEAST_EVERY)
}
