//! Whether a test can be carried out: it expects something, of policies that are there, for reasons that there are.

use crate::model::PolicyTestSpec;
use crate::model::policy_test::{
    GivenBackup, GivenObject, Kept, KeptBecause, RetentionCase, RunsCase, Selected, SelectedBecause,
    SelectionCase,
};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::{Rule, suggest};
use crate::validate::{Typed, ValidPolicySet};

pub(super) fn check(test: &Typed<PolicyTestSpec>, set: &ValidPolicySet, findings: &mut Findings<'_>) {
    let Typed { raw, metadata: _, spec } = test;
    let PolicyTestSpec { objects, selection, runs, retention } = spec;
    let root = Path::spec();
    let known = Known::of(set);
    if selection.is_empty() && runs.is_empty() && retention.is_empty() {
        let message = "this test expects nothing: it has no selection, no runs and no retention";
        findings.add(raw, &root, Rule::PolicyTest, message);
    }
    for (index, object) in objects.iter().enumerate() {
        given_object(object, &root.key("objects").index(index), raw, findings);
    }
    for (index, case) in selection.iter().enumerate() {
        selected(case, &root.key("selection").index(index), &known, raw, findings);
    }
    for (index, case) in runs.iter().enumerate() {
        let at = root.key("runs").index(index);
        let RunsCase { schedule, after: _, due, backups } = case;
        known.schedule(schedule, &at, raw, findings);
        match (due, backups) {
            (None, None) => {
                findings.add(raw, &at, Rule::PolicyTest, "one of `due` and `backups` is needed");
            }
            (Some(due), Some(backups)) if due.len() != backups.len() => {
                let message = format!("{} runs are due and {} backups are named", due.len(), backups.len());
                findings.add(raw, &at.key("backups"), Rule::PolicyTest, message);
            }
            (Some(_), _) | (None, Some(_)) => {}
        }
    }
    for (index, case) in retention.iter().enumerate() {
        let at = root.key("retention").index(index);
        let RetentionCase { schedule, now, backups } = case;
        known.schedule(schedule, &at, raw, findings);
        for (index, GivenBackup { started, phase: _, expect, because }) in backups.iter().enumerate() {
            let at = at.key("backups").index(index);
            if started > now {
                findings.add(raw, &at.key("started"), Rule::PolicyTest, "it was started later than `now`");
            }
            if let Some(because) = because.filter(|because| !tells_about(*because, *expect)) {
                let message = format!("{because:?} is no reason for which a backup is {expect:?}");
                findings.add(raw, &at.key("because"), Rule::PolicyTest, message);
            }
        }
    }
}

fn given_object(object: &GivenObject, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let GivenObject { kind, api_version, namespace, name, labels, manifest } = object;
    let short =
        [kind, api_version, namespace, name].iter().any(|field| field.is_some()) || !labels.is_empty();
    if manifest.is_some() && short {
        let message = "`manifest` is the whole object: the other fields exclude it";
        findings.add(raw, &path.key("manifest"), Rule::Exclusive, message);
    } else if manifest.is_none() && (kind.is_none() || name.is_none()) {
        let message = "an object needs `kind` and `name`, or `manifest`";
        findings.add(raw, path, Rule::PolicyTest, message);
    }
}

fn selected(
    case: &SelectionCase,
    path: &Path,
    known: &Known<'_>,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let SelectionCase { policy, schedule, backup, objects: _, expect, because } = case;
    match (policy, schedule, backup) {
        (Some(policy), None, None) => {
            known.find(
                "no policy here that makes backups is called",
                &known.policies,
                policy,
                &path.key("policy"),
                raw,
                findings,
            );
        }
        (None, Some(schedule), None) => known.schedule(schedule, path, raw, findings),
        (None, None, Some(backup)) => {
            known.find(
                "no policy here makes the Backup",
                &known.backups,
                backup,
                &path.key("backup"),
                raw,
                findings,
            );
        }
        (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (None, Some(_), Some(_)) => {
            let message = "exactly one of `policy`, `schedule` and `backup` is needed";
            findings.add(raw, path, Rule::PolicyTest, message);
        }
    }
    if let Some(because) = because.filter(|because| includes(*because) != (*expect == Selected::Included)) {
        let message = format!("{because:?} is no reason for which an object is {expect:?}");
        findings.add(raw, &path.key("because"), Rule::PolicyTest, message);
    }
}

fn includes(because: SelectedBecause) -> bool {
    match because {
        SelectedBecause::Chosen
        | SelectedBecause::WithTheCluster
        | SelectedBecause::WithItsObjects
        | SelectedBecause::BroughtByAnother
        | SelectedBecause::DefinitionOfIncluded => true,
        SelectedBecause::NamespaceExcluded
        | SelectedBecause::NamespaceNotIncluded
        | SelectedBecause::NamespaceLabelled
        | SelectedBecause::CannotBeStored
        | SelectedBecause::ForeignSnapshot
        | SelectedBecause::TypeExcluded
        | SelectedBecause::TypeNotIncluded
        | SelectedBecause::NoClusterResources
        | SelectedBecause::SomeNamespaces
        | SelectedBecause::SomeTypes
        | SelectedBecause::Twin
        | SelectedBecause::LabelSelector
        | SelectedBecause::Labelled
        | SelectedBecause::Deleting
        | SelectedBecause::NamespaceWithoutObjects
        | SelectedBecause::Unreadable => false,
    }
}

fn tells_about(because: KeptBecause, expect: Kept) -> bool {
    match because {
        KeptBecause::KeepFailed => true,
        KeptBecause::Ttl | KeptBecause::NoRule => expect == Kept::Deleted,
        KeptBecause::KeepLast
        | KeptBecause::Hourly
        | KeptBecause::Daily
        | KeptBecause::Weekly
        | KeptBecause::Monthly
        | KeptBecause::Yearly
        | KeptBecause::MinimumGood
        | KeptBecause::InProgress
        | KeptBecause::UntilTtl => expect == Kept::Kept,
    }
}

/// What the set makes.
struct Known<'a> {
    policies: Vec<&'a str>,
    schedules: Vec<&'a str>,
    backups: Vec<&'a str>,
}

impl<'a> Known<'a> {
    fn of(set: &'a ValidPolicySet) -> Known<'a> {
        let schedules = set.schedules().iter();
        let backups = set.backups().iter();
        let of_schedules = schedules.clone().map(|schedule| schedule.origin.policy.as_str());
        let of_backups = backups.clone().map(|backup| backup.origin.policy.as_str());
        Known {
            policies: of_schedules.chain(of_backups).collect(),
            schedules: schedules.map(|schedule| schedule.name.as_str()).collect(),
            backups: backups.map(|backup| backup.name.as_str()).collect(),
        }
    }

    fn schedule(&self, name: &str, case: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
        self.find(
            "no policy here makes the Schedule",
            &self.schedules,
            name,
            &case.key("schedule"),
            raw,
            findings,
        );
    }

    fn find(
        &self,
        what: &str,
        known: &[&str],
        name: &str,
        path: &Path,
        raw: &RawDocument,
        findings: &mut Findings<'_>,
    ) {
        if known.contains(&name) {
            return;
        }
        let message = match suggest::nearest(name, known.iter().copied()) {
            Some(nearest) => format!("{what} `{name}`: did you mean `{nearest}`?"),
            None => format!("{what} `{name}`"),
        };
        let mut known: Vec<&str> = known.to_vec();
        known.sort_unstable();
        known.dedup();
        let problem = findings.add(raw, path, Rule::PolicyTest, message);
        // A long list helps nobody.
        problem.help = (1..=12).contains(&known.len()).then(|| format!("there are: {}", known.join(", ")));
    }
}
