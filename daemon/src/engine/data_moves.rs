//! What DataUploads and DataDownloads have in common: Velero's node agent carries them out, and a run waits for them
//! (reference: velero-backup.md 6.7, velero-restore.md 5.12). Pure.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::velero::DataPathPhase;

/// Velero's own data mover, which an unset one means too.
pub(crate) const BUILT_IN: &str = "velero";
/// What its repositories are of.
pub(crate) const UPLOADER: &str = "kopia";

/// Moves that a run waits for, all else being done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub attempted: u64,
    pub ended: u64,
    /// Something of the run has failed already.
    pub has_errors: bool,
}

/// How far a move has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Moved,
    NotYet,
    /// Its time is over: it is to be given up.
    Late,
    NotMoved {
        reason: String,
    },
}

/// What Velero says of an operation that took too long.
pub(crate) const LATE: &str = "Asynchronous action timed out";

/// `kind` is the kind's name, `seen` phase and message of the object that is there; one that is gone was deleted by
/// somebody else. `waited` counts from when it was asked for.
pub(crate) fn judge(
    kind: &str,
    seen: Option<(DataPathPhase, Option<&str>)>,
    waited: Duration,
    within: Duration,
) -> Verdict {
    let Some((phase, message)) = seen else {
        return Verdict::NotMoved { reason: "it was deleted before it ended".to_owned() };
    };
    let message = message.filter(|message| !message.is_empty());
    match phase {
        DataPathPhase::Completed => Verdict::Moved,
        DataPathPhase::Failed => {
            Verdict::NotMoved { reason: message.unwrap_or("no reason is given").to_owned() }
        }
        DataPathPhase::Canceled => {
            let message = message.map_or_else(String::new, |message| format!(": {message}"));
            Verdict::NotMoved { reason: format!("{kind} is canceled{message}") }
        }
        DataPathPhase::New
        | DataPathPhase::Accepted
        | DataPathPhase::Prepared
        | DataPathPhase::InProgress
        | DataPathPhase::Canceling => match waited >= within {
            true => Verdict::Late,
            false => Verdict::NotYet,
        },
    }
}

/// A time in the files beside the archive.
pub(crate) fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn an_end_counts_however_late_it_is_seen() {
        use DataPathPhase::{Canceled, Canceling, Completed, Failed, InProgress, New};
        let not_moved = |reason: &str| Verdict::NotMoved { reason: reason.to_owned() };
        for (phase, message, waited, expected) in [
            (New, None, 9, Verdict::NotYet),
            (InProgress, None, 10, Verdict::Late),
            (Canceling, None, 9, Verdict::NotYet),
            (Completed, Some(""), 99, Verdict::Moved),
            (Failed, Some("disk full"), 99, not_moved("disk full")),
            (Failed, None, 0, not_moved("no reason is given")),
            (Canceled, None, 0, not_moved("DataUpload is canceled")),
            (Canceled, Some("by hand"), 0, not_moved("DataUpload is canceled: by hand")),
        ] {
            let (waited, within) = (Duration::from_secs(waited), Duration::from_secs(10));
            let judged = judge("DataUpload", Some((phase, message)), waited, within);
            assert_eq!(judged, expected, "{phase:?}");
        }
        let gone = judge("DataUpload", None, Duration::ZERO, Duration::from_secs(10));
        assert_eq!(gone, not_moved("it was deleted before it ended"));
    }
}
