//! What is next for a DownloadRequest.
//!
//! As with Velero, whether the file exists is not asked: the command line tells what is missing by the answer 404. And a
//! request that names what is not there gets no answer and goes after the time that a URL would have had.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{BackupStorageLocation, DownloadRequest, DownloadRequestPhase as Phase};

use super::target::Wanted;
use crate::controllers::runs::RunState;

/// How long a URL works, and its request lives.
pub const LIFETIME: Duration = Duration::minutes(10);

/// The URL, or why there is none.
pub type Signed = Result<String, String>;

#[derive(Clone, Debug)]
pub struct Observed {
    pub request: Arc<DownloadRequest>,
    pub found: Result<Found, Reason>,
    /// What this process has done about it.
    pub signing: Option<RunState<Signed>>,
}

/// Where the wanted file is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub location: Arc<BackupStorageLocation>,
    pub wanted: Wanted,
    /// Of the backup or the restore.
    pub name: String,
    pub server: Server,
}

/// Who serves the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The bucket, where its provider has signed URLs.
    Bucket,
    /// We, for those who can't reach the bucket.
    Daemon,
}

/// Why a request can't be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("it names no target")]
    NoTarget,
    #[error("there is no Restore {name}")]
    NoRestore { name: String },
    #[error("there is no Backup {name}")]
    NoBackup { name: String },
    #[error("there is no BackupStorageLocation {name:?}")]
    NoLocation { name: String },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Sign {
        found: Found,
    },
    Signing,
    /// It was signed, or could not be.
    Record {
        signed: Arc<Signed>,
    },
    /// So that it goes some time, though it can't be answered.
    SetExpiration {
        reason: Option<Reason>,
    },
    Sleep {
        until: DateTime<Utc>,
        reason: Option<Reason>,
    },
    Delete,
}

pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Decision {
    let status = &observed.request.status;
    let expiration = status.expiration.as_ref().map(to_chrono);
    if expiration.is_some_and(|expiration| expiration <= now) {
        return Decision::Delete;
    }
    let wait = |reason| match expiration {
        Some(until) => Decision::Sleep { until, reason },
        None => Decision::SetExpiration { reason },
    };
    match observed.request.status_phase() {
        Phase::Processed => wait(None),
        Phase::New => match (&observed.signing, &observed.found) {
            (Some(RunState { ended: None, .. }), _) => Decision::Signing,
            (Some(RunState { ended: Some(signed), .. }), _) => Decision::Record { signed: signed.clone() },
            (None, Ok(found)) => Decision::Sign { found: found.clone() },
            (None, Err(reason)) => wait(Some(reason.clone())),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::BackupFile;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn found() -> Found {
        Found {
            server: Server::Bucket,
            location: Arc::new(BackupStorageLocation::default()),
            wanted: Wanted::OfBackup(BackupFile::Logs),
            name: "nightly".to_owned(),
        }
    }

    fn gone() -> Reason {
        Reason::NoBackup { name: "nightly".to_owned() }
    }

    fn signing(ended: Option<Signed>) -> Option<RunState<Signed>> {
        Some(RunState { name: "nightly".to_owned(), ended: ended.map(Arc::new) })
    }

    fn decided(status: &Value, found: Result<Found, Reason>, signing: Option<RunState<Signed>>) -> Decision {
        let request = json!({
            "metadata": {"name": "nightly-1"},
            "spec": {"target": {"kind": "BackupLog", "name": "nightly"}},
            "status": status,
        });
        let request = Arc::new(serde_json::from_value(request).unwrap());
        decide(&Observed { request, found, signing }, now())
    }

    #[test]
    fn a_new_request_is_signed_once() {
        let signed: Signed = Ok("https://bucket".to_owned());
        let record = Decision::Record { signed: Arc::new(signed.clone()) };
        for status in [json!({}), json!({"phase": ""}), json!({"phase": "New"})] {
            assert_eq!(decided(&status, Ok(found()), None), Decision::Sign { found: found() });
            assert_eq!(decided(&status, Ok(found()), signing(None)), Decision::Signing);
            assert_eq!(decided(&status, Ok(found()), signing(Some(signed.clone()))), record);
            // The backup was deleted meanwhile; the URL is made and leads to 404.
            assert_eq!(decided(&status, Err(gone()), signing(Some(signed.clone()))), record);
        }
    }

    #[test]
    fn a_request_that_names_what_is_not_there_is_kept_as_long_as_a_url_would_be() {
        let until = now() + LIFETIME;
        assert_eq!(decided(&json!({}), Err(gone()), None), Decision::SetExpiration { reason: Some(gone()) });
        let given_time = json!({"expiration": "2026-11-23T10:10:00Z"});
        assert_eq!(decided(&given_time, Err(gone()), None), Decision::Sleep { until, reason: Some(gone()) });
        assert_eq!(decided(&given_time, Ok(found()), None), Decision::Sign { found: found() });
    }

    #[test]
    fn an_expired_request_goes_whatever_its_phase() {
        for phase in ["", "New", "Processed"] {
            let expired = json!({"phase": phase, "expiration": "2026-11-23T10:00:00Z"});
            assert_eq!(decided(&expired, Ok(found()), None), Decision::Delete);
            assert_eq!(decided(&expired, Err(gone()), signing(None)), Decision::Delete);
        }
    }

    #[test]
    fn an_answered_request_waits_for_its_end() {
        let answered = json!({"phase": "Processed", "expiration": "2026-11-23T10:10:00Z"});
        let until = now() + LIFETIME;
        assert_eq!(decided(&answered, Ok(found()), None), Decision::Sleep { until, reason: None });
        let endless = json!({"phase": "Processed"});
        assert_eq!(decided(&endless, Ok(found()), None), Decision::SetExpiration { reason: None });
    }
}
