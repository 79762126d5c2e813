//! A schedule's life beside a model: hours of work, crashes between any two steps, days of absence, clocks that jump.
//!
//! The steps are the ones of the driver: decide, make the backup, note it. A crash forgets what no object says.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::cron;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::act::writes;
use super::decide::{Bucket, FirstRun, Next, Observed, Pause, Progress, Run, decide};
use super::template;

/// The driver sleeps ten seconds at most; passes that find nothing to do need not all be lived through.
const LONGEST_SLEEP: Duration = Duration::hours(1);

/// Where the daemon dies.
#[derive(Clone, Copy, Debug)]
enum Crash {
    BeforeTheBackup,
    BetweenBackupAndStatus,
    AfterTheStatus,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Work {
        seconds: i64,
    },
    /// Works until something is due, and dies while it carries that out.
    Die {
        at: Crash,
    },
    Away {
        seconds: i64,
    },
}

struct World {
    observed: Observed,
    now: DateTime<Utc>,
}

impl World {
    fn new(expression: &str, now: DateTime<Utc>) -> World {
        let schedule = json!({
            "metadata": {"name": "shop", "namespace": "velero", "uid": "u", "creationTimestamp": now},
            "spec": {"schedule": expression, "template": {}},
        });
        World {
            observed: Observed {
                schedule: Arc::new(serde_json::from_value(schedule).unwrap()),
                backups: vec![],
                bucket: Bucket::NotLooked,
                first_run: FirstRun::AtOnce,
                pause: Pause::NotSeen,
            },
            now,
        }
    }

    fn restart(&mut self) {
        self.observed.bucket = Bucket::NotLooked;
        self.observed.pause = Pause::NotSeen;
    }

    /// Passes until nothing is left to do now; gives when there will be, or what the last pass was that died.
    fn passes(&mut self, crash: Option<Crash>) -> Result<DateTime<Utc>, Crash> {
        for _ in 0..4 {
            let decision = decide(&self.observed, self.now);
            if decision.next == Next::LookIntoBucket {
                self.observed.bucket = Bucket::Looked { newest: None };
                continue;
            }
            let written = writes(&self.observed.schedule, &decision, self.now);
            if let Some(backup) = written.backup {
                if let Some(crash @ Crash::BeforeTheBackup) = crash {
                    return Err(crash);
                }
                let name = backup.metadata.name.clone().unwrap();
                assert!(self.observed.backups.iter().all(|run| run.name != name), "{name} is made twice");
                self.observed.backups.push(Run {
                    name,
                    created: self.now,
                    scheduled_at: template::scheduled_at(&backup),
                    progress: Progress::Finished,
                });
                if let Some(crash @ Crash::BetweenBackupAndStatus) = crash {
                    return Err(crash);
                }
            }
            let unchanged = written.status == self.observed.schedule.status;
            Arc::make_mut(&mut self.observed.schedule).status = written.status;
            if let (Some(crash @ Crash::AfterTheStatus), Next::Create { .. }) = (crash, &decision.next) {
                return Err(crash);
            }
            match decision.next {
                Next::Sleep { until } if unchanged => return Ok(until.min(self.now + LONGEST_SLEEP)),
                _ => assert!(!unchanged, "nothing was written for {:?}", decision.next),
            }
        }
        panic!("does not come to rest: {:?}", self.observed.schedule.status);
    }

    fn work_until(&mut self, end: DateTime<Utc>) {
        loop {
            let next = self.passes(None).unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
        }
    }

    fn live(&mut self, event: Event) {
        match event {
            Event::Work { seconds } => self.work_until(self.now + Duration::seconds(seconds)),
            Event::Die { at } => {
                let give_up = self.now + Duration::days(2);
                while self.now < give_up {
                    match self.passes(Some(at)) {
                        Ok(next) => self.now = next,
                        Err(_) => break,
                    }
                }
                self.restart();
            }
            Event::Away { seconds } => {
                self.now += Duration::seconds(seconds);
                self.restart();
            }
        }
    }

    fn scheduled(&self) -> Vec<DateTime<Utc>> {
        self.observed.backups.iter().map(|run| run.scheduled_at.unwrap()).collect()
    }
}

fn start() -> DateTime<Utc> {
    "2026-11-23T10:00:07Z".parse().unwrap()
}

fn event() -> impl Strategy<Value = Event> {
    let at = select(vec![Crash::BeforeTheBackup, Crash::BetweenBackupAndStatus, Crash::AfterTheStatus]);
    prop_oneof![
        (1_i64..7_000).prop_map(|seconds| Event::Work { seconds }),
        at.prop_map(|at| Event::Die { at }),
        (1_i64..700_000).prop_map(|seconds| Event::Away { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// The model: a first run, then every instant of the expression, of several missed ones the last.
    #[test]
    fn no_run_is_lost_or_doubled_wherever_the_daemon_dies(
        expression in select(vec!["*/7 * * * *", "0 * * * *", "30 3 * * *", "0 9-17 * * mon-fri", "59 23 * * 0"]),
        events in prop::collection::vec(event(), 1..12),
    ) {
        let instants = cron::Schedule::parse(expression, None).unwrap();
        let mut world = World::new(expression, start());
        world.work_until(start());
        let mut expected = vec![start()];
        for event in events {
            let before = world.now;
            world.live(event);
            // Whatever came of it, the daemon is up again and has had its first pass.
            world.work_until(world.now);
            let mut passed: Vec<_> = instants.runs_after(before).take_while(|due| *due <= world.now).collect();
            if let Event::Away { .. } = event {
                passed.drain(..passed.len().saturating_sub(1));
            }
            expected.extend(passed);
        }
        prop_assert_eq!(world.scheduled(), expected);
    }
}

#[test]
fn a_run_is_created_at_its_very_instant_while_the_daemon_works() {
    let mut world = World::new("*/5 * * * *", start());
    world.work_until(start() + Duration::hours(6));
    for run in &world.observed.backups {
        assert_eq!(Some(run.created), run.scheduled_at, "{}", run.name);
    }
    assert_eq!(world.observed.backups.len(), 1 + 6 * 12);
}

#[test]
fn a_clock_that_jumps_ahead_and_back_neither_doubles_runs_nor_stops_them() {
    let mut world = World::new("0 * * * *", start());
    world.work_until(start() + Duration::hours(2));
    world.now += Duration::days(3);
    world.work_until(world.now);
    world.now -= Duration::days(3);
    world.work_until(world.now + Duration::hours(2));
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    assert_eq!(
        world.scheduled(),
        [
            start(),
            at("2026-11-23T11:00:00Z"),
            at("2026-11-23T12:00:00Z"),
            at("2026-11-26T12:00:00Z"),
            at("2026-11-23T13:00:00Z"),
            at("2026-11-23T14:00:00Z"),
        ]
    );
}

#[test]
fn a_clock_that_is_put_back_a_little_runs_nothing_twice() {
    let mut world = World::new("*/5 * * * *", start());
    world.work_until(start() + Duration::minutes(20));
    world.now -= Duration::minutes(12);
    world.work_until(world.now + Duration::minutes(20));
    let scheduled = world.scheduled();
    let mut once = scheduled.clone();
    once.dedup();
    assert_eq!(scheduled, once);
    assert_eq!(scheduled.last(), Some(&"2026-11-23T10:25:00Z".parse().unwrap()));
}
