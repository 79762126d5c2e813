//! Whether a snapshot that was cut can be used (reference: velero-backup.md 6.7, progress). Pure.

use std::time::Duration;

use super::facts::{Content, Problem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotYet,
    Never { reason: String },
}

/// What Velero says of an operation that took too long.
pub(super) const LATE: &str = "Asynchronous action timed out";

/// `earlier` is the problem that the content told when the snapshot was cut: a try before that failed, and the driver leaves
/// it there until the snapshot is ready. `waited` counts from when the snapshot was asked for. A content that is gone was
/// deleted by somebody else.
pub(super) fn judge(
    content: Option<&Content>,
    earlier: Option<&Problem>,
    waited: Duration,
    within: Duration,
) -> Readiness {
    let Some(content) = content else {
        return Readiness::Never { reason: "its VolumeSnapshotContent is gone".to_owned() };
    };
    let problem = content.status.error.as_ref().filter(|problem| Some(*problem) != earlier);
    match (content.status.ready_to_use, problem) {
        (Some(true), _) => Readiness::Ready,
        (_, Some(problem)) => Readiness::Never { reason: problem.message.clone() },
        (_, None) if waited >= within => Readiness::Never { reason: LATE.to_owned() },
        (_, None) => Readiness::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_wins_over_an_error_which_wins_over_the_time() {
        let never = |reason: &str| Readiness::Never { reason: reason.to_owned() };
        for (status, waited, expected) in [
            (json!({"readyToUse": true, "error": {"message": "x"}}), 99, Readiness::Ready),
            (json!({"readyToUse": false, "error": {"message": "disk full"}}), 0, never("disk full")),
            (json!({"readyToUse": false}), 9, Readiness::NotYet),
            (json!({}), 10, never(LATE)),
        ] {
            let content: Content = serde_json::from_value(json!({"status": status})).unwrap();
            let judged = judge(Some(&content), None, Duration::from_secs(waited), Duration::from_secs(10));
            assert_eq!(judged, expected, "{status}");
            let judged = judge(Some(&content), content.status.error.as_ref(), Duration::ZERO, Duration::MAX);
            assert!(matches!(judged, Readiness::Ready | Readiness::NotYet), "{status}");
        }
        let gone = judge(None, None, Duration::ZERO, Duration::from_secs(10));
        assert_eq!(gone, never("its VolumeSnapshotContent is gone"));
    }
}
