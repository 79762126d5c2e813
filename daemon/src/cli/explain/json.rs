//! The answers of `explain` for machines.

use serde_json::{Value, json};

use super::text::Explained;
use crate::engine::coverage::volume_data::Data;
use crate::engine::coverage::{Choice, Gaps, How, NamespaceCoverage, Reason};
use crate::engine::select::Verdict;

pub(super) fn objects(choices: &[Choice], objects: &[Explained]) -> String {
    let objects: Vec<Value> = objects
        .iter()
        .map(|explained| {
            let policies: Vec<Value> = choices
                .iter()
                .zip(&explained.verdicts)
                .map(|(choice, verdict)| {
                    let mut value = choice_of(choice);
                    value["included"] = json!(verdict.is_included());
                    value["reason"] = match verdict {
                        Verdict::Included(why) => json!(why.to_string()),
                        Verdict::LeftOut(rule) => json!(rule.to_string()),
                    };
                    value
                })
                .collect();
            let covered = explained.is_covered(choices);
            let mut value = json!({"object": explained.object, "covered": covered, "policies": policies});
            if !explained.data.is_empty() {
                let data = explained.data.iter().map(|(made, data)| {
                    let kept = match data {
                        Data::Files { .. } => "Files",
                        Data::CsiSnapshot { .. } => "CSISnapshot",
                        Data::NativeSnapshot { .. } => "NativeSnapshot",
                        Data::NotKept { .. } => "No",
                    };
                    json!({"in": made, "kept": kept, "reason": data.to_string()})
                });
                value["data"] = data.collect();
            }
            value
        })
        .collect();
    format!("{:#}\n", json!({ "objects": objects }))
}

pub(super) fn cluster(choices: &[Choice], gaps: &Gaps, missing: &[String]) -> String {
    let Gaps { objects, covered, held, namespaces, volumes, cluster_scoped } = gaps;
    let policies: Vec<Value> = choices
        .iter()
        .zip(held)
        .map(|(choice, held)| {
            let mut value = choice_of(choice);
            value["objects"] = json!(held);
            value
        })
        .collect();
    let namespaces: Vec<Value> = namespaces
        .iter()
        .map(|(name, gap)| {
            let (coverage, reasons) = match &gap.coverage {
                NamespaceCoverage::Not(reasons) => ("None", reasons_of(choices, reasons)),
                NamespaceCoverage::InPart => ("Part", vec![]),
                NamespaceCoverage::AsItAsks => ("LeftOutByLabel", vec![]),
            };
            let (objects, left_out) = (gap.objects, &gap.left_out);
            json!({
                "namespace": name,
                "coverage": coverage,
                "objects": objects,
                "leftOut": left_out,
                "reasons": reasons,
            })
        })
        .collect();
    let volumes: Vec<Value> = volumes
        .iter()
        .map(|volume| {
            let coverage = if volume.as_it_asks { "LeftOutByLabel" } else { "None" };
            let reasons = reasons_of(choices, &volume.reasons);
            json!({"volume": volume.object, "coverage": coverage, "reasons": reasons})
        })
        .collect();
    let value = json!({
        "covered": gaps.is_covered(),
        "objects": {"all": objects, "covered": covered},
        "policies": policies,
        "namespaces": namespaces,
        "volumes": volumes,
        "clusterScoped": cluster_scoped,
        "notLookedAt": missing,
    });
    format!("{value:#}\n")
}

fn choice_of(choice: &Choice) -> Value {
    let made = choice.makes.iter().map(|made| {
        let (kind, suspended) = match made.how {
            How::BySchedule => ("Schedule", false),
            How::BySuspendedSchedule => ("Schedule", true),
            How::Once => ("Backup", false),
        };
        json!({"kind": kind, "name": made.name, "suspended": suspended})
    });
    json!({"policy": choice.policy, "makes": made.collect::<Vec<_>>()})
}

fn reasons_of(choices: &[Choice], reasons: &[Reason]) -> Vec<Value> {
    let reason = |reason: &Reason| {
        let mut value = choice_of(&choices[reason.choice]);
        value["reason"] = json!(reason.rule.to_string());
        value
    };
    reasons.iter().map(reason).collect()
}
