//! Which backups retention and ttl leave, beside what a test expects.
//!
//! The backups given become Backups as the schedule's runs leave them, and the daemon's own judgement does the rest.

use holdfast_policy::annotations::RETENTION;
use holdfast_policy::compile::{self, Target};
use holdfast_policy::model::policy_test::{GivenBackup, GivenPhase, Kept, KeptBecause, RetentionCase};
use holdfast_policy::next::backup_name;
use holdfast_policy::ownership::Owner;
use holdfast_policy::parse::Path;
use holdfast_policy::policy_test::Remark;
use holdfast_policy::retention::{Period, Reason, Rule, Subject, Verdict, judge};
use holdfast_policy::time::from_chrono;
use holdfast_policy::validate::{ValidPolicySet, ValidSchedule};
use holdfast_policy::velero::{Backup, BackupPhase, BackupProgress, BackupSpec, Schedule, labels};

use super::Outcome;

/// The Schedules that a set compiles to.
pub(super) fn schedules(set: &ValidPolicySet, target: &Target) -> Result<Vec<Schedule>, serde_json::Error> {
    let manifests = compile::compile(set, target).into_iter();
    let schedules = manifests.filter(|manifest| manifest.kind == "Schedule");
    schedules.map(|manifest| serde_json::from_value(manifest.value)).collect()
}

pub(super) fn carry_out(
    cases: &[RetentionCase],
    set: &ValidPolicySet,
    schedules: &[Schedule],
    outcome: &mut Outcome,
) {
    let schedules: Vec<&Schedule> = schedules.iter().collect();
    for (index, case) in cases.iter().enumerate() {
        let path = Path::spec().key("retention").index(index).key("backups");
        let RetentionCase { schedule, now, backups: given } = case;
        outcome.expectations += given.len();
        let Some(schedule) = set.schedules().iter().find(|known| known.name == *schedule) else { continue };
        let backups: Vec<Backup> = given.iter().map(|given| backup(given, schedule, &schedules)).collect();
        let subjects: Vec<Subject<'_, Backup>> =
            backups.iter().map(|backup| Subject { backup, owner: Owner::ThisCluster }).collect();
        let judgements = judge(&subjects, &schedules, *now);
        for (index, (given, judgement)) in given.iter().zip(&judgements).enumerate() {
            let (kept, reasons) = fate(&judgement.verdict);
            let because = |reason: &KeptBecause| format!("{reason:?}");
            let told: Vec<String> = reasons.iter().map(because).collect();
            let name = backup_name(&schedule.name, given.started);
            let message = if kept != given.expect {
                format!("{name} should be {:?}: it is {kept:?} ({})", given.expect, told.join(", "))
            } else if let Some(expected) = given.because.filter(|expected| !reasons.contains(expected)) {
                format!("{name} is {kept:?} as expected, not because of {expected:?}: {}", told.join(", "))
            } else {
                continue;
            };
            outcome.remarks.push(Remark::unmet(path.index(index).key("expect"), message));
        }
    }
}

/// As a run of the schedule leaves it in the cluster.
fn backup(given: &GivenBackup, schedule: &ValidSchedule, schedules: &[&Schedule]) -> Backup {
    let GivenBackup { started, phase, expect: _, because: _ } = given;
    let mut backup = Backup::new(&backup_name(&schedule.name, *started), BackupSpec::default());
    let name = schedule.name.clone();
    backup.metadata.labels = Some([(labels::SCHEDULE_NAME.to_owned(), name)].into());
    let live = schedules.iter().find(|live| live.metadata.name.as_ref() == Some(&schedule.name));
    let annotations = live.and_then(|live| live.metadata.annotations.as_ref());
    let rules = annotations.and_then(|annotations| annotations.get(RETENTION));
    backup.metadata.annotations = rules.map(|rules| [(RETENTION.to_owned(), rules.clone())].into());
    backup.status.start_timestamp = Some(from_chrono(*started));
    backup.status.expiration = Some(from_chrono(*started + schedule.content.ttl.to_chrono()));
    // All alike, so that none is suspect.
    backup.status.progress = Some(BackupProgress { total_items: 1, items_backed_up: 1 });
    backup.status.phase = Some(match phase {
        GivenPhase::Completed => BackupPhase::Completed,
        GivenPhase::PartiallyFailed => BackupPhase::PartiallyFailed,
        GivenPhase::Failed => BackupPhase::Failed,
        GivenPhase::InProgress => BackupPhase::InProgress,
    });
    backup
}

fn fate(verdict: &Verdict) -> (Kept, Vec<KeptBecause>) {
    match verdict {
        Verdict::Delete(Rule::NotKept) => (Kept::Deleted, vec![KeptBecause::NoRule]),
        Verdict::Delete(Rule::Ttl) => (Kept::Deleted, vec![KeptBecause::Ttl]),
        Verdict::Delete(Rule::KeepFailed) => (Kept::Deleted, vec![KeptBecause::KeepFailed]),
        Verdict::Keep(reasons) => (Kept::Kept, reasons.iter().map(told).collect()),
    }
}

fn told(reason: &Reason) -> KeptBecause {
    match reason {
        Reason::Unfinished => KeptBecause::InProgress,
        Reason::Last(_) => KeptBecause::KeepLast,
        Reason::Newest(Period::Hour, _) => KeptBecause::Hourly,
        Reason::Newest(Period::Day, _) => KeptBecause::Daily,
        Reason::Newest(Period::Week, _) => KeptBecause::Weekly,
        Reason::Newest(Period::Month, _) => KeptBecause::Monthly,
        Reason::Newest(Period::Year, _) => KeptBecause::Yearly,
        Reason::MinimumGood(_) => KeptBecause::MinimumGood,
        Reason::FailedLately => KeptBecause::KeepFailed,
        // A test gives no backups that are held, of another cluster, suspect or on their way out.
        Reason::NothingSaid
        | Reason::Suspect
        | Reason::Held(_)
        | Reason::OtherCluster(_)
        | Reason::NotAdopted
        | Reason::NoClusterName
        | Reason::BeingDeleted
        | Reason::Ttl(_)
        | Reason::NoTtl
        | Reason::UnreadableRules(_) => KeptBecause::UntilTtl,
    }
}
