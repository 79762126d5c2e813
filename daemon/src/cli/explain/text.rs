//! The answers of `explain` for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::engine::coverage::volume_data::Data;
use crate::engine::coverage::{Choice, Gaps, How, NamespaceCoverage, Reason};
use crate::engine::select::Verdict;

/// One object and the verdict of each choice.
pub(super) struct Explained {
    pub(super) object: String,
    pub(super) verdicts: Vec<Verdict>,
    /// Of a claim or volume: by name of what makes the backups that hold it, what becomes of its data there.
    pub(super) data: Vec<(String, Data)>,
}

impl Explained {
    pub(super) fn is_covered(&self, choices: &[Choice]) -> bool {
        choices
            .iter()
            .zip(&self.verdicts)
            .any(|(choice, verdict)| choice.is_in_use() && verdict.is_included())
    }
}

/// Writing to a String can't fail, here and below.
pub(super) fn objects(choices: &[Choice], objects: &[Explained]) -> String {
    let mut text = String::new();
    for explained in objects {
        let covered =
            if explained.is_covered(choices) { "is covered" } else { "is not covered by any policy" };
        let _written = writeln!(text, "{} {covered}", explained.object);
        for (choice, verdict) in choices.iter().zip(&explained.verdicts) {
            let _written = match verdict {
                Verdict::Included(why) => writeln!(text, "  + {}: {why}", named(choice)),
                Verdict::LeftOut(rule) => writeln!(text, "  - {}: {rule}", named(choice)),
            };
        }
        for (made, data) in &explained.data {
            let _written = writeln!(text, "    its data in {made}: {data}");
        }
    }
    text
}

pub(super) fn cluster(choices: &[Choice], gaps: &Gaps) -> String {
    let mut text = String::new();
    let Gaps { objects, covered, held, namespaces, volumes, cluster_scoped } = gaps;
    let _written = writeln!(text, "{covered} of {objects} objects are covered");
    for (choice, held) in choices.iter().zip(held) {
        let none = if choice.is_in_use() { "" } else { ", none of them while it is suspended" };
        let _written = writeln!(text, "  {}: {held} objects{none}", named(choice));
    }
    let mut uncovered = String::new();
    let mut in_part = String::new();
    let mut asking = String::new();
    for (name, gap) in namespaces {
        let _written = match &gap.coverage {
            NamespaceCoverage::Not(reasons) => {
                let written = writeln!(uncovered, "  {name} ({} objects)", gap.objects);
                because(&mut uncovered, choices, reasons);
                written
            }
            NamespaceCoverage::InPart => {
                let left: usize = gap.left_out.values().sum();
                let kinds = counted(&gap.left_out);
                writeln!(in_part, "  {name}: {left} of {} objects are not: {kinds}", gap.objects)
            }
            NamespaceCoverage::AsItAsks => writeln!(asking, "  Namespace/{name}"),
        };
    }
    let mut uncovered_volumes = String::new();
    for volume in volumes {
        if volume.as_it_asks {
            let _written = writeln!(asking, "  {}", volume.object);
        } else {
            let _written = writeln!(uncovered_volumes, "  {}", volume.object);
            because(&mut uncovered_volumes, choices, &volume.reasons);
        }
    }
    section(&mut text, "Namespaces that no policy covers:", &uncovered);
    section(&mut text, "Volumes that no policy covers:", &uncovered_volumes);
    section(&mut text, "Namespaces that are covered in part:", &in_part);
    section(&mut text, "Left out by the label velero.io/exclude-from-backup=true:", &asking);
    if !cluster_scoped.is_empty() {
        let line = format!("  {}\n", counted(cluster_scoped));
        section(&mut text, "Objects outside namespaces that no policy covers:", &line);
    }
    text.push_str(
        "\nThis is about objects. What becomes of the data in a volume is told of its claim: name it.\n",
    );
    text
}

fn section(text: &mut String, title: &str, lines: &str) {
    if !lines.is_empty() {
        let _written = write!(text, "\n{title}\n{lines}");
    }
}

/// The reasons, those that several policies share together.
fn because(text: &mut String, choices: &[Choice], reasons: &[Reason]) {
    let mut shared: Vec<(String, Vec<String>)> = Vec::new();
    for Reason { choice, rule } in reasons {
        let (rule, name) = (rule.to_string(), named(&choices[*choice]));
        match shared.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, names)) => names.push(name),
            None => shared.push((rule, vec![name])),
        }
    }
    for (rule, names) in shared {
        let _written = writeln!(text, "    - {}: {rule}", few(&names));
    }
}

fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join("; "),
        Some(more) => format!("{}; and {more} more", names[..SHOWN].join("; ")),
    }
}

fn counted(kinds: &BTreeMap<String, usize>) -> String {
    kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect::<Vec<_>>().join(", ")
}

/// `policy shop (shop-nightly, shop-hourly)`.
pub(super) fn named(choice: &Choice) -> String {
    let makes: Vec<String> = choice
        .makes
        .iter()
        .map(|made| match made.how {
            How::BySchedule => made.name.clone(),
            How::BySuspendedSchedule => format!("{}, suspended", made.name),
            How::Once => format!("{}, made once", made.name),
        })
        .collect();
    format!("policy {} ({})", choice.policy, makes.join("; "))
}
