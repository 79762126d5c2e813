//! Volume settings and Velero's volume policies.

use std::collections::BTreeSet;

use super::Documents;
use crate::model::Kind;
use crate::model::volumes::{VolumeActionType, VolumeRule, Volumes};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::{Rule, suggest};

/// Types that volumes of pods and PersistentVolumes have. Velero accepts others, which never match.
pub(crate) const VOLUME_TYPES: [&str; 29] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageOS",
    "vsphereVolume",
];

pub(super) fn check(
    volumes: &Volumes,
    path: &Path,
    raw: &RawDocument,
    documents: &Documents,
    findings: &mut Findings<'_>,
) {
    if !volumes.rules.is_empty() && volumes.policy_ref.is_some() {
        findings.add(
            raw,
            &path.key("policyRef"),
            Rule::Exclusive,
            "`rules` and `policyRef` exclude each other",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, name) in volumes.snapshot_locations.iter().enumerate() {
        let at = path.key("snapshotLocations").index(index);
        if !seen.insert(name) {
            findings.add(raw, &at, Rule::DuplicateName, format!("`{name}` stands twice in the list"));
        } else if !documents.declares(Kind::SnapshotLocation, name) {
            let message = format!("no document declares the SnapshotLocation `{name}`");
            findings.add(raw, &at, Rule::UndeclaredLocation, message);
        }
    }
    for (index, rule) in volumes.rules.iter().enumerate() {
        check_rule(rule, &path.key("rules").index(index), raw, findings);
    }
}

fn check_rule(rule: &VolumeRule, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let conditions = path.key("conditions");
    if let Some(capacity) = &rule.conditions.capacity
        && let Err(reason) = capacity_range(capacity)
    {
        let problem = findings.add(
            raw,
            &conditions.key("capacity"),
            Rule::VolumeRule,
            format!("capacity {capacity:?} {reason}"),
        );
        problem.help = Some("as in \"10Gi,100Gi\", \"10Gi,\" or \",100Gi\"".to_owned());
    }
    if let Some(csi) = &rule.conditions.csi
        && csi.driver.is_none()
        && !csi.volume_attributes.is_empty()
    {
        findings.add(
            raw,
            &conditions.key("csi").key("volumeAttributes"),
            Rule::VolumeRule,
            "`volumeAttributes` needs `driver`",
        );
    }
    for (index, name) in rule.conditions.volume_types.iter().flatten().enumerate() {
        if !VOLUME_TYPES.contains(&name.as_str()) {
            let at = conditions.key("volumeTypes").index(index);
            let message = match suggest::nearest(name, VOLUME_TYPES) {
                Some(nearest) => format!("no volume has the type `{name}`: did you mean `{nearest}`?"),
                None => format!("no volume has the type `{name}`"),
            };
            findings.add(raw, &at, Rule::VolumeRule, message);
        }
    }
    if rule.action.action != VolumeActionType::Custom && !rule.action.parameters.is_empty() {
        let message = "`parameters` mean something with `type: custom` only";
        findings.add(raw, &path.key("action").key("parameters"), Rule::VolumeRule, message);
    }
}

/// A range of sizes in bytes, from and to; an absent bound is none.
pub(crate) fn capacity_range(text: &str) -> Result<(Option<f64>, Option<f64>), String> {
    let Some((low, high)) = text.split_once(',') else {
        return Err("has no comma".to_owned());
    };
    if high.contains(',') {
        return Err("has more than one comma".to_owned());
    }
    let low = quantity(low.trim())?;
    let high = quantity(high.trim())?;
    match (low, high) {
        (Some(low), Some(high)) if high < low && high != 0.0 => Err("ends below its start".to_owned()),
        (Some(_) | None, Some(_) | None) => Ok((low, high)),
    }
}

/// A quantity as Kubernetes writes it, in its base unit.
pub(crate) fn quantity(text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits =
        text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| format!("has {text:?}, which is no quantity"))?;
    let factor = match &text[digits..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => return Err(format!("has {text:?}, which is no quantity")),
    };
    Ok(Some(number * factor))
}
