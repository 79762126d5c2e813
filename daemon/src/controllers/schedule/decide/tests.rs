use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use holdfast_policy::annotations as settings;

const CREATED: &str = "2026-11-23T10:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A schedule that runs every hour, was created at ten and has `changes` set by JSON pointer.
fn hourly(changes: Value) -> Observed {
    let mut schedule = json!({
        "metadata": {
            "name": "shop", "namespace": "velero", "uid": "u", "creationTimestamp": CREATED,
            "annotations": {},
        },
        "spec": {"schedule": "0 * * * *", "template": {}},
        "status": {},
    });
    for (path, value) in changes.as_object().unwrap() {
        let (parent, key) = path.rsplit_once('/').unwrap();
        schedule.pointer_mut(parent).unwrap()[key.replace("~", "/")] = value.clone();
    }
    Observed {
        schedule: Arc::new(serde_json::from_value(schedule).unwrap()),
        backups: vec![],
        bucket: Bucket::Looked { newest: None },
        first_run: FirstRun::AtOnce,
        pause: Pause::NotSeen,
    }
}

fn annotated(key: &str, value: &str, last_backup: &str) -> Observed {
    let path = format!("/metadata/annotations/{}", key.replace('/', "~"));
    hourly(json!({path: value, "/status/lastBackup": last_backup}))
}

fn unfinished(name: &str, created: &str) -> Run {
    Run { name: name.to_owned(), created: at(created), scheduled_at: None, progress: Progress::Unfinished }
}

fn next_at(observed: &Observed, now: &str) -> Next {
    let decision = decide(observed, at(now));
    assert_eq!(decision.validation, Validation::Enabled);
    decision.next
}

fn on_time(due: &str) -> Next {
    Next::Create { cause: Cause::OnTime { due: at(due) } }
}

fn late(due: &str) -> Next {
    Next::Create { cause: Cause::Late { due: at(due) } }
}

fn sleep(until: &str) -> Next {
    Next::Sleep { until: at(until) }
}

fn skip(reason: Skipped) -> Next {
    Next::Skip { reason }
}

#[test]
fn the_first_backup_is_made_when_the_schedule_appears() {
    assert_eq!(next_at(&hourly(json!({})), "2026-11-23T10:00:01Z"), Next::Create { cause: Cause::First });
}

#[test]
fn the_first_backup_is_skipped_where_the_schedule_or_the_server_says_so() {
    let now = "2026-11-23T10:00:01Z";
    let skipping = hourly(json!({"/spec/skipImmediately": true}));
    assert_eq!(next_at(&skipping, now), skip(Skipped::First));
    let by_server = Observed { first_run: FirstRun::Skip, ..hourly(json!({})) };
    assert_eq!(next_at(&by_server, now), skip(Skipped::First));
    let own_word = Observed { first_run: FirstRun::Skip, ..hourly(json!({"/spec/skipImmediately": false})) };
    assert_eq!(next_at(&own_word, now), Next::Create { cause: Cause::First });
    let skipped =
        hourly(json!({"/spec/skipImmediately": true, "/status/lastSkipped": "2026-11-23T10:00:01Z"}));
    assert_eq!(next_at(&skipped, "2026-11-23T10:00:02Z"), sleep("2026-11-23T11:00:00Z"));
    assert_eq!(next_at(&skipped, "2026-11-23T11:00:00Z"), on_time("2026-11-23T11:00:00Z"));
}

#[test]
fn no_first_backup_is_made_where_there_are_backups_of_that_schedule() {
    let now = "2026-11-23T10:00:01Z";
    let not_looked = Observed { bucket: Bucket::NotLooked, ..hourly(json!({})) };
    assert_eq!(next_at(&not_looked, now), Next::LookIntoBucket);
    let newest = at("2026-11-20T03:00:00Z");
    let in_bucket = Observed { bucket: Bucket::Looked { newest: Some(newest) }, ..hourly(json!({})) };
    assert_eq!(next_at(&in_bucket, now), Next::AdoptLast { at: newest });
    let in_cluster = Observed {
        backups: vec![Run { progress: Progress::Finished, ..unfinished("b", "2026-11-21T03:00:00Z") }],
        ..hourly(json!({}))
    };
    assert_eq!(next_at(&in_cluster, now), Next::AdoptLast { at: at("2026-11-21T03:00:00Z") });
}

#[test]
fn the_first_backup_waits_for_the_bucket_but_no_longer_than_to_the_next_instant() {
    let location = "default".to_owned();
    let waiting =
        Observed { bucket: Bucket::NotReadable { location: location.clone() }, ..hourly(json!({})) };
    assert_eq!(next_at(&waiting, "2026-11-23T10:59:59Z"), Next::AwaitLocation { location });
    assert_eq!(next_at(&waiting, "2026-11-23T11:00:00Z"), on_time("2026-11-23T11:00:00Z"));
}

#[test]
fn later_backups_are_made_at_the_instants_of_the_expression() {
    let observed = hourly(json!({"/status/lastBackup": "2026-11-23T10:00:01Z"}));
    let cases = [
        ("2026-11-23T10:00:02Z", sleep("2026-11-23T11:00:00Z")),
        ("2026-11-23T10:59:59Z", sleep("2026-11-23T11:00:00Z")),
        ("2026-11-23T11:00:00Z", on_time("2026-11-23T11:00:00Z")),
        ("2026-11-23T11:01:00Z", on_time("2026-11-23T11:00:00Z")),
        ("2026-11-23T11:01:01Z", late("2026-11-23T11:00:00Z")),
        ("2026-11-30T15:20:00Z", late("2026-11-30T15:00:00Z")),
    ];
    for (now, expected) in cases {
        assert_eq!(next_at(&observed, now), expected, "{now}");
    }
}

#[test]
fn a_run_on_time_is_named_by_its_instant_and_others_by_their_creation() {
    let now = at("2026-11-23T11:20:00Z");
    let due = at("2026-11-23T11:00:00Z");
    assert_eq!(Cause::OnTime { due }.instant(now), due);
    assert_eq!(Cause::Late { due }.instant(now), now);
    assert_eq!(Cause::First.instant(now), now);
}

#[test]
fn a_run_that_was_made_but_not_noted_is_not_made_again() {
    let made = Run {
        scheduled_at: Some(at("2026-11-23T11:00:00Z")),
        progress: Progress::Finished,
        ..unfinished("shop-20261123110000", "2026-11-23T11:00:00Z")
    };
    let observed =
        Observed { backups: vec![made], ..hourly(json!({"/status/lastBackup": "2026-11-23T10:00:01Z"})) };
    let at = at("2026-11-23T11:00:00Z");
    assert_eq!(next_at(&observed, "2026-11-23T11:00:03Z"), Next::AdoptLast { at });
    let mut noted = observed;
    Arc::make_mut(&mut noted.schedule).status.last_backup = Some(holdfast_policy::time::from_chrono(at));
    assert_eq!(next_at(&noted, "2026-11-23T11:00:03Z"), sleep("2026-11-23T12:00:00Z"));
}

#[test]
fn missed_runs_are_made_up_once_or_not_at_all() {
    let last = "2026-11-23T10:00:01Z";
    let now = "2026-11-23T14:30:00Z";
    let due = at("2026-11-23T14:00:00Z");
    let none = annotated(settings::CATCH_UP, "None", last);
    assert_eq!(next_at(&annotated(settings::CATCH_UP, "Last", last), now), late("2026-11-23T14:00:00Z"));
    assert_eq!(next_at(&none, now), skip(Skipped::Missed { due }));
    assert_eq!(next_at(&none, "2026-11-23T14:01:00Z"), on_time("2026-11-23T14:00:00Z"));
}

#[test]
fn a_starting_deadline_wins_over_catching_up() {
    let due = at("2026-11-23T14:00:00Z");
    let deadline = |catch_up: &str| {
        hourly(json!({
            "/metadata/annotations": {
                settings::STARTING_DEADLINE: "20m", settings::CATCH_UP: catch_up,
            },
            "/status/lastBackup": "2026-11-23T10:00:01Z",
        }))
    };
    for catch_up in ["Last", "None"] {
        assert_eq!(next_at(&deadline(catch_up), "2026-11-23T14:20:00Z"), late("2026-11-23T14:00:00Z"));
        assert_eq!(next_at(&deadline(catch_up), "2026-11-23T14:20:01Z"), skip(Skipped::TooLate { due }));
    }
}

#[test]
fn an_unfinished_run_holds_up_the_next_or_cancels_it() {
    let last = "2026-11-23T10:00:01Z";
    let with_run = |observed| Observed { backups: vec![unfinished("b", last)], ..observed };
    let now = "2026-11-23T11:00:10Z";
    let by = "b".to_owned();
    let queue = with_run(annotated(settings::CONCURRENCY_POLICY, "Queue", last));
    assert_eq!(next_at(&queue, now), Next::Blocked { by: by.clone(), until: None });
    let plain = with_run(hourly(json!({"/status/lastBackup": last})));
    assert_eq!(next_at(&plain, now), Next::Blocked { by: by.clone(), until: None });
    let forbid = with_run(annotated(settings::CONCURRENCY_POLICY, "Forbid", last));
    let due = at("2026-11-23T11:00:00Z");
    assert_eq!(next_at(&forbid, now), skip(Skipped::Overlap { due, by }));
    assert_eq!(next_at(&forbid, "2026-11-23T10:30:00Z"), sleep("2026-11-23T11:00:00Z"));
}

#[test]
fn a_run_that_takes_too_long_no_longer_holds_up_the_next() {
    let last = "2026-11-23T10:00:00Z";
    let observed =
        Observed { backups: vec![unfinished("b", last)], ..annotated(settings::MAX_RUNTIME, "90m", last) };
    let until = Some(at("2026-11-23T11:30:00Z"));
    assert_eq!(next_at(&observed, "2026-11-23T11:29:59Z"), Next::Blocked { by: "b".to_owned(), until });
    assert_eq!(next_at(&observed, "2026-11-23T11:30:00Z"), late("2026-11-23T11:00:00Z"));
}

#[test]
fn a_paused_schedule_is_validated_and_makes_nothing() {
    let paused = hourly(json!({"/spec/paused": true}));
    assert_eq!(next_at(&paused, "2026-11-23T15:00:00Z"), Next::Paused);
    let wrong = decide(
        &hourly(json!({"/spec/paused": true, "/spec/schedule": "61 * * * *"})),
        at("2026-11-23T15:00:00Z"),
    );
    assert_eq!(wrong.next, Next::Invalid);
}

#[test]
fn what_was_missed_in_a_pause_is_made_up_unless_it_is_to_be_skipped() {
    let last = "2026-11-23T10:00:01Z";
    let now = "2026-11-23T14:30:00Z";
    let due = at("2026-11-23T14:00:00Z");
    let plain = Observed { pause: Pause::JustEnded, ..hourly(json!({"/status/lastBackup": last})) };
    assert_eq!(next_at(&plain, now), late("2026-11-23T14:00:00Z"));
    let skipping = Observed {
        pause: Pause::JustEnded,
        ..hourly(json!({"/status/lastBackup": last, "/spec/skipImmediately": true}))
    };
    assert_eq!(next_at(&skipping, now), skip(Skipped::WhilePaused { due }));
    let earlier = Observed { pause: Pause::NotSeen, ..skipping };
    assert_eq!(next_at(&earlier, now), late("2026-11-23T14:00:00Z"));
}

#[test]
fn jitter_moves_all_runs_of_a_schedule_by_the_same_time() {
    let observed = annotated(settings::JITTER, "30m", "2026-11-23T10:00:01Z");
    let offset = jitter_offset(
        &observed.schedule,
        Settings::read(&observed.schedule.metadata.annotations.clone().unwrap()).unwrap(),
    );
    assert!(offset > Duration::zero() && offset < Duration::minutes(30), "{offset}");
    for hour in [10, 11, 12] {
        let last = at("2026-11-23T00:00:00Z") + Duration::hours(hour) + offset;
        let mut observed = observed.clone();
        Arc::make_mut(&mut observed.schedule).status.last_backup =
            Some(holdfast_policy::time::from_chrono(last));
        let due = last + Duration::hours(1);
        assert_eq!(decide(&observed, last + Duration::seconds(1)).next, Next::Sleep { until: due });
        assert_eq!(decide(&observed, due).next, Next::Create { cause: Cause::OnTime { due } });
    }
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_the_schedule() {
    let in_2031 = hourly(json!({
        "/status/lastBackup": "2031-01-01T00:00:00Z", "/status/lastSkipped": "2031-01-01T00:00:00Z",
    }));
    let put_right = |at_text: &str| Next::PutRight { at: at(at_text) };
    assert_eq!(next_at(&in_2031, "2026-11-23T10:30:00Z"), put_right(CREATED));
    let run = |scheduled_at: &str| Run {
        scheduled_at: Some(at(scheduled_at)),
        progress: Progress::Finished,
        ..unfinished("b", scheduled_at)
    };
    let backups = vec![run("2026-11-23T12:00:00Z"), run("2031-01-01T00:00:00Z")];
    let with_runs = Observed { backups, ..in_2031 };
    assert_eq!(next_at(&with_runs, "2026-11-23T12:30:00Z"), put_right("2026-11-23T12:00:00Z"));
    let slightly = hourly(json!({"/status/lastBackup": "2026-11-23T11:00:00Z"}));
    assert_eq!(next_at(&slightly, "2026-11-23T10:59:50Z"), sleep("2026-11-23T12:00:00Z"));
}

#[test]
fn everything_wrong_with_a_schedule_is_told() {
    let changes = json!({"/spec/schedule": "", "/metadata/annotations": {settings::JITTER: "soon"}});
    let decision = decide(&hourly(changes), at("2026-11-23T10:30:00Z"));
    let Validation::Failed { errors } = decision.validation else { panic!("{decision:?}") };
    assert_eq!(errors[0], "Schedule must be a non-empty valid Cron expression");
    assert!(errors[1].contains(settings::JITTER), "{errors:?}");
    let never = decide(&hourly(json!({"/spec/schedule": "0 0 31 2 *"})), at("2026-11-23T10:30:00Z"));
    let Validation::Failed { errors } = never.validation else { panic!("{never:?}") };
    assert!(errors[0].starts_with("invalid schedule: "), "{errors:?}");
}
