//! Whether a location is to be checked now, and what is to be done with a check that has ended.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;

use super::place::Place;

/// One location.
#[derive(Clone, Debug)]
pub struct Observed {
    pub location: Arc<velero::BackupStorageLocation>,
    pub check: CheckState,
    pub default_frequency: GoDuration,
}

/// What this process has done about a location.
#[derive(Clone, Debug)]
pub enum CheckState {
    /// Nothing since it started.
    None,
    UnderWay,
    Ended(Arc<Check>),
    /// The last check was of a spec that has changed since.
    OtherSpec,
    Known,
}

/// A check that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub at: DateTime<Utc>,
    pub outcome: Result<Place, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Check {
        reason: Reason,
    },
    Checking,
    Record {
        check: Arc<Check>,
    },
    Sleep {
        until: DateTime<Utc>,
    },
    /// Its frequency is zero.
    CheckedOnce,
}

/// Why a location is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Started,
    SpecChanged,
    /// Nobody has written a result into its status, or somebody took it out.
    NeverChecked,
    Due,
}

pub fn decide(
    observed: &[Observed],
    now: DateTime<Utc>,
) -> Vec<(Arc<velero::BackupStorageLocation>, Decision)> {
    observed.iter().map(|one| (one.location.clone(), decide_one(one, now))).collect()
}

fn decide_one(observed: &Observed, now: DateTime<Utc>) -> Decision {
    match &observed.check {
        CheckState::UnderWay => return Decision::Checking,
        CheckState::Ended(check) => return Decision::Record { check: check.clone() },
        CheckState::None => return Decision::Check { reason: Reason::Started },
        CheckState::OtherSpec => return Decision::Check { reason: Reason::SpecChanged },
        CheckState::Known => (),
    }
    let status = &observed.location.status;
    let (Some(last), Some(_)) = (&status.last_validation_time, status.phase) else {
        return Decision::Check { reason: Reason::NeverChecked };
    };
    let own = observed.location.spec.validation_frequency;
    let frequency = own.filter(|own| own.as_std().is_some()).unwrap_or(observed.default_frequency);
    if frequency.is_zero() {
        return Decision::CheckedOnce;
    }
    let due = to_chrono(last) + frequency.to_chrono();
    // A check noted by a clock that was ahead must not keep the location unchecked until then.
    if due <= now || to_chrono(last) > now + frequency.to_chrono() {
        Decision::Check { reason: Reason::Due }
    } else {
        Decision::Sleep { until: due }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn observed(check: CheckState, last: Option<&str>, frequency: Option<&str>) -> Observed {
        let location = serde_json::from_value(json!({
            "metadata": {"name": "default"},
            "spec": {
                "provider": "local", "objectStorage": {"bucket": "b"}, "validationFrequency": frequency,
            },
            "status": {"phase": last.map(|_| "Available"), "lastValidationTime": last},
        }))
        .unwrap();
        Observed { location: Arc::new(location), check, default_frequency: "1m".parse().unwrap() }
    }

    #[test]
    fn a_location_is_checked_when_its_time_has_come() {
        let check = |reason| Decision::Check { reason };
        let sleep = |until: &str| Decision::Sleep { until: until.parse().unwrap() };
        let last = Some("2026-11-23T09:59:30Z");
        let cases = [
            (CheckState::None, last, None, check(Reason::Started)),
            (CheckState::OtherSpec, last, None, check(Reason::SpecChanged)),
            (CheckState::UnderWay, None, None, Decision::Checking),
            (CheckState::Known, None, None, check(Reason::NeverChecked)),
            (CheckState::Known, last, None, sleep("2026-11-23T10:00:30Z")),
            (CheckState::Known, last, Some("20s"), check(Reason::Due)),
            (CheckState::Known, last, Some("30s"), check(Reason::Due)),
            (CheckState::Known, last, Some("31s"), sleep("2026-11-23T10:00:01Z")),
            (CheckState::Known, last, Some("0s"), Decision::CheckedOnce),
            (CheckState::Known, last, Some("-1s"), sleep("2026-11-23T10:00:30Z")),
            (CheckState::Known, Some("2027-11-23T10:00:00Z"), None, check(Reason::Due)),
        ];
        for (state, last, frequency, expected) in cases {
            let one = observed(state, last, frequency);
            assert_eq!(decide_one(&one, now()), expected, "{:?} {last:?} {frequency:?}", one.check);
        }
    }

    #[test]
    fn a_check_that_ended_is_recorded_first() {
        let check = Arc::new(Check { at: now(), outcome: Err("no such bucket".to_owned()) });
        let one = observed(CheckState::Ended(check.clone()), None, None);
        assert_eq!(decide_one(&one, now()), Decision::Record { check });
    }
}
