//! The next runs of schedules, with zone, jitter and the names the backups will get.
//!
//! In: a valid set, where it goes, an instant. Out: what a daemon would do from then on, if every run starts on time.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::annotations::jitter_offset;
use crate::compile::Target;
use crate::cron;
use crate::duration::GoDuration;
use crate::validate::ValidPolicySet;

/// The next runs of one Schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct NextRuns {
    /// Name of the Schedule.
    pub schedule: String,
    pub policy: String,
    /// The expression as it is compiled.
    pub cron: String,
    pub zone: Tz,
    /// By how much every run is late.
    pub jitter: GoDuration,
    /// A suspended schedule makes no runs; these are the ones it would make.
    pub suspended: bool,
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it is due, jitter included.
    pub due: DateTime<Utc>,
    /// Name of its Backup.
    pub backup: String,
}

/// The next runs of every schedule of a set, sorted by the Schedule's name.
pub fn next_runs(set: &ValidPolicySet, target: &Target, after: DateTime<Utc>, count: usize) -> Vec<NextRuns> {
    let mut all: Vec<NextRuns> = set
        .schedules()
        .iter()
        .map(|schedule| {
            let window = schedule.rules.jitter.unwrap_or(GoDuration::ZERO);
            let jitter = jitter_offset(&target.namespace, &schedule.name, window);
            NextRuns {
                schedule: schedule.name.clone(),
                policy: schedule.origin.policy.clone(),
                cron: schedule.cron.text().to_owned(),
                zone: schedule.cron.zone(),
                jitter,
                suspended: schedule.suspend,
                runs: late_runs(&schedule.cron, jitter, after)
                    .take(count)
                    .map(|due| Run { due, backup: backup_name(&schedule.name, due) })
                    .collect(),
            }
        })
        .collect();
    all.sort_by(|one, other| one.schedule.cmp(&other.schedule));
    all
}

/// The runs after an instant of a schedule whose runs are all late by the same time.
fn late_runs(
    schedule: &cron::Schedule,
    jitter: GoDuration,
    after: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    schedule.runs_after(after - jitter.to_chrono()).map(move |run| run + jitter.to_chrono())
}

/// The name of a run's Backup, with the instant at which the run was due.
pub fn backup_name(schedule: &str, due: DateTime<Utc>) -> String {
    format!("{schedule}-{}", due.format("%Y%m%d%H%M%S"))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::parse::SourceFile;

    #[test]
    fn runs_are_late_by_the_same_time_and_named_after_the_instant_they_are_due() {
        let text = "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {name: shop}\nspec:\n  \
                    schedules:\n  - {name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, jitter: 10m}\n  \
                    - {name: hourly, cron: '@hourly', suspend: true}\n";
        let set = crate::load(&[SourceFile::new("a.yaml", text)]).unwrap();
        let target = Target { namespace: "velero".into(), source: "main".into(), cluster_name: None };
        let all = next_runs(&set, &target, "2026-11-23T12:00:00Z".parse().unwrap(), 2);
        let [hourly, nightly] = all.as_slice() else { panic!("two schedules: {all:?}") };
        assert!(hourly.suspended);
        assert_eq!(hourly.runs[0].backup, "shop-hourly-20261123130000");
        let jitter = nightly.jitter.to_chrono();
        assert!(jitter.num_seconds() > 0 && jitter.num_seconds() < 600);
        let midnight: DateTime<Utc> = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(nightly.runs[0].due, midnight + jitter);
        assert_eq!(nightly.runs[0].backup, backup_name("shop-nightly", midnight + jitter));
        assert_eq!(nightly.runs[1].due - nightly.runs[0].due, chrono::TimeDelta::days(1));
    }
}
