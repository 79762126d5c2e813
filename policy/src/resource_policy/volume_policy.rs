//! One volume policy: conditions, all of which must hold, and an action.

use std::collections::{BTreeMap, BTreeSet};

use super::raw::RawVolumePolicy;
use super::volume::{Claim, Volume};
use crate::model::volumes::{CsiCondition, NfsCondition, VolumeActionType, VolumeConditions};
use crate::validate::capacity_range;

/// A checked policy.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumePolicy {
    conditions: Vec<Condition>,
    pub action: VolumeActionType,
    /// For plug-ins.
    pub parameters: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Capacity { low: f64, high: Option<f64> },
    StorageClass(Vec<String>),
    Nfs(NfsCondition),
    Csi(CsiCondition),
    Source(Vec<String>),
    ClaimLabels(BTreeMap<String, String>),
    ClaimPhase(Vec<String>),
    ClaimVolumeMode(String),
    ClaimAccessModes(BTreeSet<String>),
}

impl VolumePolicy {
    pub(super) fn new(raw: RawVolumePolicy) -> Result<Self, String> {
        let RawVolumePolicy { conditions, action } = raw;
        Ok(Self { conditions: checked(conditions)?, action: action.action, parameters: action.parameters })
    }

    /// Whether all conditions hold of a volume.
    pub fn matches(&self, volume: &Volume) -> bool {
        self.conditions.iter().all(|condition| condition.holds(volume))
    }
}

fn checked(conditions: VolumeConditions) -> Result<Vec<Condition>, String> {
    let VolumeConditions {
        capacity,
        storage_class,
        nfs,
        csi,
        volume_types,
        pvc_labels,
        pvc_phase,
        pvc_volume_mode,
        pvc_access_modes,
    } = conditions;
    let mut checked = Vec::new();
    if let Some(text) = capacity {
        let (low, high) = capacity_range(&text).map_err(|reason| format!("capacity {text:?} {reason}"))?;
        // A zero at the end means that there is none.
        checked.push(Condition::Capacity {
            low: low.unwrap_or_default(),
            high: high.filter(|high| *high != 0.0),
        });
    }
    if let Some(csi) = &csi
        && csi.driver.as_deref().unwrap_or_default().is_empty()
        && !csi.volume_attributes.is_empty()
    {
        return Err("csi.volumeAttributes needs csi.driver".to_owned());
    }
    checked.extend(storage_class.filter(|names| !names.is_empty()).map(Condition::StorageClass));
    checked.extend(nfs.map(Condition::Nfs));
    checked.extend(csi.map(Condition::Csi));
    checked.extend(volume_types.filter(|names| !names.is_empty()).map(Condition::Source));
    checked.extend(pvc_labels.filter(|labels| !labels.is_empty()).map(Condition::ClaimLabels));
    checked.extend(pvc_phase.filter(|names| !names.is_empty()).map(Condition::ClaimPhase));
    checked.extend(pvc_volume_mode.filter(|mode| !mode.is_empty()).map(Condition::ClaimVolumeMode));
    if let Some(modes) = pvc_access_modes.filter(|modes| !modes.is_empty()) {
        let distinct: BTreeSet<String> = modes.iter().cloned().collect();
        if distinct.len() != modes.len() {
            return Err("pvcAccessModes has an entry twice, and so could match no claim".to_owned());
        }
        checked.push(Condition::ClaimAccessModes(distinct));
    }
    Ok(checked)
}

impl Condition {
    fn holds(&self, volume: &Volume) -> bool {
        let claim = |holds: &dyn Fn(&Claim) -> bool| volume.claim.as_ref().is_some_and(holds);
        let is = |wanted: &Option<String>, found: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted == found)
        };
        match self {
            Self::Capacity { low, high } => {
                volume.capacity >= *low && high.is_none_or(|high| volume.capacity <= high)
            }
            Self::StorageClass(names) => names.contains(&volume.storage_class),
            Self::Nfs(wanted) => volume
                .nfs
                .as_ref()
                .is_some_and(|found| is(&wanted.server, &found.server) && is(&wanted.path, &found.path)),
            Self::Csi(wanted) => volume.csi.as_ref().is_some_and(|found| {
                let attributes = &wanted.volume_attributes;
                let equal =
                    |(key, value): (&String, &String)| found.volume_attributes.get(key) == Some(value);
                is(&wanted.driver, &found.driver) && attributes.iter().all(equal)
            }),
            Self::Source(names) => {
                volume.source.is_some_and(|source| names.iter().any(|name| name == source))
            }
            Self::ClaimLabels(wanted) => {
                claim(&|claim| wanted.iter().all(|(key, value)| claim.labels.get(key) == Some(value)))
            }
            Self::ClaimPhase(names) => claim(&|claim| names.contains(&claim.phase)),
            Self::ClaimVolumeMode(mode) => claim(&|claim| claim.volume_mode == *mode),
            Self::ClaimAccessModes(modes) => claim(&|claim| claim.access_modes == *modes),
        }
    }
}
