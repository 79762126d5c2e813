//! Whether promises are kept and a restore would be possible, as gauges: what alerts go by. Pure.

use std::fmt;

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::policy_set::RecoveryPoint;
use holdfast_policy::velero::LocationPhase;
use kube::ResourceExt as _;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::overview::{self, Facts, Schedule, State};

/// Series by name of a schedule or source.
type Family = Vec<(String, i64)>;

pub(super) struct Health {
    /// Whether the newest good backup is older than its policy promises; of schedules that promise something.
    missed: Family,
    paused: Family,
    /// Whether the location of the newest good backup is available; of schedules that have one.
    restorable: Family,
    ready: Family,
    problems: Family,
    deletions_waiting: i64,
    deletions_failed: i64,
    oldest_deletion: i64,
}

impl Health {
    pub(super) fn of(facts: &Facts, now: DateTime<Utc>) -> Health {
        let Facts { namespace, policy_sets, locations, schedules, backups, restores: _, deletion_requests } =
            facts;
        let sources = overview::sources(policy_sets);
        let deletions = overview::deletions(deletion_requests);
        let told = overview::schedules(namespace, schedules, policy_sets, backups, now);
        let is_available = |name: &String| {
            let location = locations.iter().find(|location| location.name_any() == *name);
            location.is_some_and(|location| location.status.phase == Some(LocationPhase::Available))
        };
        let each = |value: &dyn Fn(&Schedule) -> Option<bool>| -> Family {
            let series = |schedule: &Schedule| Some((schedule.name.clone(), i64::from(value(schedule)?)));
            told.iter().filter_map(series).collect()
        };
        Health {
            missed: each(&|schedule| match schedule.recovery_point {
                RecoveryPoint::Missed => Some(true),
                RecoveryPoint::Met | RecoveryPoint::Unknown => Some(false),
                RecoveryPoint::Suspended => None,
            }),
            paused: each(&|schedule| Some(schedule.state == State::Paused)),
            restorable: each(&|schedule| schedule.last_good_location.as_ref().map(is_available)),
            ready: sources.iter().map(|it| (it.name.clone(), i64::from(it.ready == "True"))).collect(),
            problems: sources.iter().map(|it| (it.name.clone(), it.problem_count)).collect(),
            deletions_waiting: count(deletions.waiting),
            deletions_failed: count(deletions.failed),
            oldest_deletion: deletions.oldest.map_or(0, |oldest| (now - oldest).num_seconds().max(0)),
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Health {
            missed,
            paused,
            restorable,
            ready,
            problems,
            deletions_waiting,
            deletions_failed,
            oldest_deletion,
        } = self;
        let families = [
            (
                "holdfast_recovery_point_missed",
                "Whether the newest good backup is older than its policy promises, or there is none",
                "schedule",
                missed,
            ),
            ("holdfast_schedule_paused", "Whether the schedule is paused", "schedule", paused),
            (
                "holdfast_restore_possible",
                "Whether the location of the newest good backup is available; absent where there is no good backup",
                "schedule",
                restorable,
            ),
            ("holdfast_policy_set_ready", "Whether what the source gives is in force", "source", ready),
            ("holdfast_policy_set_problems", "How many problems the source has", "source", problems),
        ];
        for (name, help, label, series) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (value, gauge) in series {
                ConstGauge::new(*gauge).encode(family.encode_family(&[(label, value.as_str())])?)?;
            }
        }
        for (name, help, value) in [
            (
                "holdfast_backup_deletions_waiting",
                "Deletions of backups that are asked for and under way",
                deletions_waiting,
            ),
            (
                "holdfast_backup_deletions_failed",
                "Deletions of backups that were tried in vain",
                deletions_failed,
            ),
            (
                "holdfast_backup_deletion_oldest_seconds",
                "For how long the oldest deletion that is not done is asked for",
                oldest_deletion,
            ),
        ] {
            ConstGauge::new(*value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?)?;
        }
        Ok(())
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::overview::fixtures;

    #[derive(Debug)]
    struct Fixed;

    impl Collector for Fixed {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            Health::of(&fixtures::facts(), fixtures::now()).encode(&mut encoder)
        }
    }

    #[test]
    fn promises_sources_and_deletions_have_series() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Fixed));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        insta::assert_snapshot!(series.join("\n"));
    }
}
