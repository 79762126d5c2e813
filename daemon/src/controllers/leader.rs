//! Leader election: of several replicas one works, and another takes over when it is gone.
//!
//! Takes a Lease in the daemon's namespace (`holdfast` for the daemon, one per node for node agents), gives a [`Leadership`] with the claim that its runs carry. A
//! leader that can't renew gives up well before a follower may take over, and then the process ends: whatever it still
//! had under way ends with it. A replica is ready whether it leads or stands by.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::claim::Claim;

pub mod decide;
mod lease;

use decide::{Decision, Observed, Vacancy};
pub use lease::{Error, NAME};
use lease::{Held, Leases};

/// After which a leader that was not heard of is taken for gone.
const LEASE: Duration = Duration::from_secs(10);
/// How often a leader says that it is there.
const RENEW: Duration = Duration::from_secs(2);
/// When a leader that can't say so gives up; leaves it the rest of the lease to end in.
const GIVE_UP: Duration = Duration::from_secs(6);
/// How long a leader that has given up may take to end: less than what is left of its lease.
pub const TIME_TO_END: Duration = Duration::from_secs(3);
/// How often the others look.
const LOOK: Duration = Duration::from_secs(1);

/// A replica that wants to lead.
pub struct Candidate {
    pub client: Client,
    pub namespace: String,
    /// What is led: the name of the Lease.
    pub lease: String,
    /// No other live process has this name; the next process in the same pod has it again.
    pub instance: String,
    /// What the Lease tells about who holds it, as annotations.
    pub about: BTreeMap<String, String>,
    pub clock: Clock,
}

/// The lead, while it is held.
pub struct Leadership {
    pub claim: Claim,
    /// Since when, by the API server's clock.
    pub since: DateTime<Utc>,
    pub before: Before,
    lost: CancellationToken,
    give_back: CancellationToken,
    keeper: JoinHandle<()>,
}

/// Who led before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// A Holdfast that was there until a moment ago, and would have noticed another server.
    Holdfast,
    Nobody,
}

impl Candidate {
    /// Returns when this replica leads. `standing_by` is told who leads meanwhile, each time it is another.
    pub async fn lead(self, mut standing_by: impl FnMut(&str)) -> Leadership {
        let leases = Leases {
            api: Api::namespaced(self.client, &self.namespace),
            name: self.lease,
            instance: self.instance,
            about: self.about,
        };
        let mut seen = Seen::default();
        let mut told = None;
        loop {
            let now = (self.clock)();
            match leases.read().await {
                Ok(found) => {
                    let observed = Observed {
                        unchanged_for: seen.note(found.as_ref().map(|found| found.version.as_str())),
                        lease: found.as_ref().map(|found| found.record.clone()),
                        instance: leases.instance.clone(),
                    };
                    match decide::decide(&observed, now) {
                        Decision::StandBy { holder } => {
                            if told.as_ref() != Some(&holder) {
                                standing_by(&holder);
                                told = Some(holder);
                            }
                        }
                        Decision::Take { epoch, vacancy } => {
                            let asked = Instant::now();
                            match leases.take(found, epoch, now).await {
                                Ok(Some(held)) => {
                                    tracing::info!(epoch, ?vacancy, "leading");
                                    return self::Leadership::start(leases, held, vacancy, self.clock, asked);
                                }
                                Ok(None) => tracing::debug!("another replica was quicker"),
                                Err(error) => report(&error),
                            }
                        }
                    }
                }
                Err(error) => report(&error),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Who leads, if anybody does. Where a leader has ended without a word, that takes as long as its lease.
pub async fn leader(client: Client, namespace: &str, clock: &Clock) -> Result<Option<String>, Error> {
    let leases = Leases {
        api: Api::namespaced(client, namespace),
        name: NAME.to_owned(),
        instance: String::new(),
        about: BTreeMap::new(),
    };
    let mut seen = Seen::default();
    let mut first: Option<String> = None;
    loop {
        let found = leases.read().await?;
        let version = found.as_ref().map(|found| found.version.clone());
        let observed = Observed {
            unchanged_for: seen.note(version.as_deref()),
            lease: found.map(|found| found.record),
            instance: leases.instance.clone(),
        };
        match (decide::decide(&observed, clock()), version, &first) {
            (Decision::Take { .. }, _, _) => return Ok(None),
            (Decision::StandBy { holder }, Some(version), Some(first)) if version != *first => {
                return Ok(Some(holder));
            }
            (Decision::StandBy { .. }, _, Some(_)) => {}
            (Decision::StandBy { .. }, version, None) => first = version,
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn report(error: &lease::Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "cannot reach the lease, trying again");
}

/// Since when the lease has not changed, by our own clock: those of other machines may be wrong.
#[derive(Default)]
struct Seen {
    version: Option<(String, Instant)>,
}

impl Seen {
    fn note(&mut self, version: Option<&str>) -> Duration {
        match (&self.version, version) {
            (Some((known, since)), Some(version)) if known == version => since.elapsed(),
            (_, Some(version)) => {
                self.version = Some((version.to_owned(), Instant::now()));
                Duration::ZERO
            }
            (_, None) => {
                self.version = None;
                Duration::ZERO
            }
        }
    }
}

impl Leadership {
    fn start(leases: Leases, held: Held, vacancy: Vacancy, clock: Clock, renewed: Instant) -> Leadership {
        let claim = Claim { holder: leases.instance.clone(), epoch: held.epoch };
        let since = held.server_time.unwrap_or_else(|| clock());
        let before = match vacancy {
            Vacancy::Released { recently: true } | Vacancy::Expired => Before::Holdfast,
            Vacancy::NoLease
            | Vacancy::Released { recently: false }
            | Vacancy::Abandoned
            | Vacancy::OurPredecessor => Before::Nobody,
        };
        let (lost, give_back) = (CancellationToken::new(), CancellationToken::new());
        let keeper = tokio::spawn(keep(leases, held, clock, renewed, lost.clone(), give_back.clone()));
        Leadership { claim, since, before, lost, give_back, keeper }
    }

    /// Returns when the lead is lost. Others may lead soon after, so the process has to end.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives it back, so that a follower needn't wait. Call it when nothing is under way any more.
    pub async fn release(self) {
        self.give_back.cancel();
        if self.keeper.await.is_err() {
            tracing::warn!("the keeper of the lease panicked");
        }
    }
}

/// Renews until the lead is lost or given back.
async fn keep(
    leases: Leases,
    mut held: Held,
    clock: Clock,
    mut renewed: Instant,
    lost: CancellationToken,
    give_back: CancellationToken,
) {
    loop {
        tokio::select! {
            () = give_back.cancelled() => break,
            () = tokio::time::sleep(RENEW) => (),
        }
        let asked = Instant::now();
        let deadline = renewed + GIVE_UP;
        match tokio::time::timeout_at(deadline, leases.renew(&mut held, clock())).await {
            Ok(Ok(lease::Renewal::Done)) => renewed = asked,
            Ok(Ok(lease::Renewal::Taken { by })) => {
                tracing::error!(by, "another replica has taken the lead");
                return lost.cancel();
            }
            Ok(Err(error)) => report(&error),
            Err(_) => tracing::warn!("the lease could not be renewed in time"),
        }
        if Instant::now() >= deadline {
            tracing::error!(seconds = GIVE_UP.as_secs(), "giving up the lead: it could not be renewed");
            return lost.cancel();
        }
    }
    match tokio::time::timeout(GIVE_UP, leases.release(&mut held, clock())).await {
        Ok(Ok(())) => tracing::info!("lead given back"),
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot give the lead back: others wait until the lease is over");
        }
        Err(_) => tracing::warn!("cannot give the lead back in time: others wait until the lease is over"),
    }
}
