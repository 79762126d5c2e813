//! Which objects backups would hold, beside what a test expects.

use holdfast_policy::model::PolicyTestSpec;
use holdfast_policy::model::policy_test::{Selected, SelectedBecause, SelectionCase};
use holdfast_policy::parse::Path;
use holdfast_policy::policy_test::Remark;
use holdfast_policy::problem::Rule as Problem;

use super::Outcome;
use super::objects::{self, Given};
use crate::engine::coverage::{Choice, How};
use crate::engine::select::{Inclusion, Rule, Verdict, namespaces_of};

pub(super) fn carry_out(spec: &PolicyTestSpec, choices: &[Choice], outcome: &mut Outcome) {
    outcome.expectations += spec.selection.iter().map(|case| case.objects.len()).sum::<usize>();
    let given = match objects::given(&spec.objects) {
        Ok(given) => given,
        Err(remarks) => return outcome.remarks.extend(remarks),
    };
    let namespaces = namespaces_of(&given.objects);
    let verdicts: Result<Vec<Vec<Verdict>>, _> =
        choices.iter().map(|choice| choice.verdicts(&given.discovery, &namespaces, &given.objects)).collect();
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(error) => {
            let (path, message) = (Path::spec().key("objects"), error.to_string());
            return outcome.remarks.push(Remark { path, rule: Problem::PolicyTest, message, help: None });
        }
    };
    for (index, case) in spec.selection.iter().enumerate() {
        let path = Path::spec().key("selection").index(index);
        let asked = asked(case, choices).map(|(choice, who)| (who, verdicts[choice].as_slice())).collect();
        one_case(case, &path, asked, &given, outcome);
    }
}

/// The places of the choices that a case is about, and whose they are.
fn asked<'c>(case: &'c SelectionCase, choices: &'c [Choice]) -> impl Iterator<Item = (usize, String)> + 'c {
    let SelectionCase { policy, schedule, backup, objects: _, expect: _, because: _ } = case;
    choices.iter().enumerate().filter_map(move |(place, choice)| {
        let made = choice.makes.iter().find(|made| {
            let named = match made.how {
                How::BySchedule | How::BySuspendedSchedule => schedule,
                How::Once => backup,
            };
            policy.as_ref().map_or(named.as_ref() == Some(&made.name), |policy| *policy == choice.policy)
        })?;
        let what = match made.how {
            How::BySchedule | How::BySuspendedSchedule => "Schedule",
            How::Once => "Backup",
        };
        Some((place, format!("{what} {}", made.name)))
    })
}

fn one_case(
    case: &SelectionCase,
    path: &Path,
    asked: Vec<(String, &[Verdict])>,
    given: &Given,
    outcome: &mut Outcome,
) {
    for (index, name) in case.objects.iter().enumerate() {
        let path = path.key("objects").index(index);
        let place = match objects::find(name, given) {
            Ok(place) => place,
            Err(message) => {
                outcome.remarks.push(Remark { path, rule: Problem::PolicyTest, message, help: None });
                continue;
            }
        };
        let unmet = asked.iter().find_map(|(who, verdicts)| unmet(case, name, who, &verdicts[place]));
        outcome.remarks.extend(unmet.map(|message| Remark::unmet(path, message)));
    }
}

fn unmet(case: &SelectionCase, name: &str, who: &str, verdict: &Verdict) -> Option<String> {
    let (selected, because) = told(verdict);
    if selected != case.expect {
        return Some(format!("{name} should be {:?}: {who} has it {verdict} ({because:?})", case.expect));
    }
    let expected = case.because.filter(|expected| *expected != because)?;
    Some(format!(
        "{name} is {selected:?} as expected, not because of {expected:?}: {who} has it {verdict} ({because:?})"
    ))
}

/// The engine's verdict in the words of tests.
fn told(verdict: &Verdict) -> (Selected, SelectedBecause) {
    match verdict {
        Verdict::Included(why) => (
            Selected::Included,
            match why {
                Inclusion::Chosen => SelectedBecause::Chosen,
                Inclusion::WithTheCluster => SelectedBecause::WithTheCluster,
                Inclusion::WithItsObjects => SelectedBecause::WithItsObjects,
                Inclusion::BroughtBy(_) => SelectedBecause::BroughtByAnother,
                Inclusion::DefinitionOf(_) => SelectedBecause::DefinitionOfIncluded,
            },
        ),
        Verdict::LeftOut(rule) => (
            Selected::LeftOut,
            match rule {
                Rule::NamespaceExcluded { .. } => SelectedBecause::NamespaceExcluded,
                Rule::NamespaceNotIncluded { .. } => SelectedBecause::NamespaceNotIncluded,
                Rule::NamespaceLabelled { .. } => SelectedBecause::NamespaceLabelled,
                Rule::CannotBeStored => SelectedBecause::CannotBeStored,
                Rule::ForeignSnapshot => SelectedBecause::ForeignSnapshot,
                Rule::TypeExcluded { .. } => SelectedBecause::TypeExcluded,
                Rule::TypeNotIncluded { .. } => SelectedBecause::TypeNotIncluded,
                Rule::NoClusterResources => SelectedBecause::NoClusterResources,
                Rule::SomeNamespaces => SelectedBecause::SomeNamespaces,
                Rule::SomeTypes => SelectedBecause::SomeTypes,
                Rule::Twin { .. } => SelectedBecause::Twin,
                Rule::LabelSelector => SelectedBecause::LabelSelector,
                Rule::Labelled => SelectedBecause::Labelled,
                Rule::Deleting => SelectedBecause::Deleting,
                Rule::NamespaceWithoutObjects => SelectedBecause::NamespaceWithoutObjects,
                Rule::Unreadable { .. } => SelectedBecause::Unreadable,
            },
        ),
    }
}
