//! Which backups retention and ttl leave, beside what a test expects.

use chrono::{DateTime, Utc};
use holdfast_policy::model::policy_test::{GivenBackup, GivenPhase, Kept, KeptBecause, RetentionCase};
use holdfast_policy::next::backup_name;
use holdfast_policy::parse::Path;
use holdfast_policy::policy_test::Remark;
use holdfast_policy::retention::{self, Candidate, Period, Reason, Rule, State, Verdict};
use holdfast_policy::validate::{ValidPolicySet, ValidSchedule};

use super::Outcome;

pub(super) fn carry_out(cases: &[RetentionCase], set: &ValidPolicySet, outcome: &mut Outcome) {
    for (index, case) in cases.iter().enumerate() {
        let path = Path::spec().key("retention").index(index).key("backups");
        let RetentionCase { schedule, now, backups } = case;
        outcome.expectations += backups.len();
        let Some(schedule) = set.schedules().iter().find(|known| known.name == *schedule) else { continue };
        let candidates: Vec<Candidate> = backups.iter().map(|backup| candidate(backup, schedule)).collect();
        let verdicts = match &schedule.rules.retention {
            Some(rules) => retention::decide(&candidates, rules, schedule.cron.zone(), *now),
            None => vec![Verdict::Keep(vec![]); candidates.len()],
        };
        for (index, (backup, verdict)) in backups.iter().zip(&verdicts).enumerate() {
            let (kept, reasons) = fate(backup, verdict, schedule, *now);
            let because = |reason: &KeptBecause| format!("{reason:?}");
            let told: Vec<String> = reasons.iter().map(because).collect();
            let name = &candidates[index].name;
            let message = if kept != backup.expect {
                format!("{name} should be {:?}: it is {kept:?} ({})", backup.expect, told.join(", "))
            } else if let Some(expected) = backup.because.filter(|expected| !reasons.contains(expected)) {
                format!("{name} is {kept:?} as expected, not because of {expected:?}: {}", told.join(", "))
            } else {
                continue;
            };
            outcome.remarks.push(Remark::unmet(path.index(index).key("expect"), message));
        }
    }
}

fn candidate(backup: &GivenBackup, schedule: &ValidSchedule) -> Candidate {
    let state = match backup.phase {
        GivenPhase::Completed => State::Good,
        GivenPhase::PartiallyFailed | GivenPhase::Failed => State::Bad,
        GivenPhase::InProgress => State::Unfinished,
    };
    Candidate { name: backup_name(&schedule.name, backup.started), started: backup.started, state }
}

/// What becomes of a backup, with every reason: the ttl ends what the rules leave, but for the last good ones.
fn fate(
    backup: &GivenBackup,
    verdict: &Verdict,
    schedule: &ValidSchedule,
    now: DateTime<Utc>,
) -> (Kept, Vec<KeptBecause>) {
    let reasons = match verdict {
        Verdict::Delete(Rule::NotKept) => return (Kept::Deleted, vec![KeptBecause::NoRule]),
        Verdict::Delete(Rule::Ttl) => return (Kept::Deleted, vec![KeptBecause::Ttl]),
        Verdict::Delete(Rule::KeepFailed) => return (Kept::Deleted, vec![KeptBecause::KeepFailed]),
        Verdict::Keep(reasons) => reasons,
    };
    let stays = reasons.iter().any(|reason| match reason {
        Reason::Unfinished | Reason::MinimumGood(_) => true,
        Reason::Held(_) | Reason::OtherCluster(_) | Reason::NotAdopted | Reason::BeingDeleted => true,
        Reason::Last(_) | Reason::Newest(..) | Reason::FailedLately | Reason::NothingSaid => false,
        Reason::Suspect | Reason::Ttl(_) | Reason::NoTtl | Reason::UnreadableRules(_) => false,
    });
    let unfinished = backup.phase == GivenPhase::InProgress;
    if !stays && !unfinished && backup.started + schedule.content.ttl.to_chrono() <= now {
        return (Kept::Deleted, vec![KeptBecause::Ttl]);
    }
    let mut told: Vec<KeptBecause> = reasons.iter().map(told).collect();
    if told.is_empty() {
        told.push(if unfinished { KeptBecause::InProgress } else { KeptBecause::UntilTtl });
    }
    (Kept::Kept, told)
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
        | Reason::BeingDeleted
        | Reason::Ttl(_)
        | Reason::NoTtl
        | Reason::UnreadableRules(_) => KeptBecause::UntilTtl,
    }
}
