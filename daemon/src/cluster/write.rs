//! The writes of a restore: raw create, merge patch and status update of one object, with failures told apart.
//!
//! In: a resource, a place and JSON bytes. Out: what the API server made of it, or a [`WriteError`]. A request is
//! tried again only where that can't do harm: after 429 always, and after an unclear end (5xx, time-out, broken
//! connection) because every write here names its object, so that a second one meets the first. A create that meets
//! itself that way ends in [`WriteError::AlreadyExists`] with [`Attempt::AfterUnclearEnd`]. What an existing object
//! means is left to the engine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{Cluster, Error, Resource, request};

/// Named in the managed fields of everything that a restore writes.
pub const FIELD_MANAGER: &str = "holdfast";

const ANSWER_WITHIN: Duration = Duration::from_secs(75);
/// Throttling is the API server at work: 0.25 s doubled up to 8 s makes about a minute in all.
const TRIES_WHEN_THROTTLED: u32 = 12;
const TRIES_AFTER_UNCLEAR_END: u32 = 6;
/// A 500 is mostly a webhook that doesn't answer, which costs its own time-out each time.
const TRIES_AFTER_FAULT: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The explanation of a refusal is cut here; field diffs of large objects can be long.
const LONGEST_EXPLANATION: usize = 256 * 1024;

/// What is kept of a written object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    pub name: String,
    pub uid: String,
    /// Empty where nothing was stored.
    #[serde(default)]
    pub resource_version: String,
}

/// Whether the answer belongs to the only request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Clear,
    /// An earlier request for the same ended so that it may have been carried out.
    AfterUnclearEnd,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{message}")]
    AlreadyExists { message: String, attempt: Attempt },
    #[error("{message}")]
    Conflict { message: String },
    /// The API server has no such kind in this version.
    #[error("the server could not find the requested resource")]
    NotServed,
    /// The object to patch, or the namespace to create in.
    #[error("{message}")]
    NotFound { message: String },
    #[error("{message}")]
    Invalid { message: String, causes: Vec<String> },
    #[error("{message}")]
    Forbidden { message: String },
    #[error("the API server still asks for fewer requests after {tries} tries")]
    Throttled { tries: u32 },
    #[error("{message}")]
    Unavailable { code: u16, message: String },
    #[error("{message}")]
    Refused { code: u16, reason: String, message: String },
    #[error("no answer from the API server within {} s", within.as_secs())]
    TimedOut { within: Duration },
    #[error("the API server can't be reached")]
    Unreachable { source: kube::Error },
    #[error("the API server's answer broke off")]
    BrokenOff,
    #[error("the API server's answer can't be read")]
    Malformed { source: serde_json::Error },
    #[error("{path} is not a path that can be asked for")]
    Path { path: String, source: http::Error },
}

impl Cluster {
    /// POST of an object that names itself.
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let path = with_manager(resource.path(namespace, None));
        self.write(&Method::POST, &path, "application/json", body).await
    }

    /// What a POST would do, admission and validation included; nothing is stored.
    pub async fn try_create(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let path = trial(with_manager(resource.path(namespace, None)));
        self.write(&Method::POST, &path, "application/json", body).await
    }

    /// What a merge patch would do, likewise.
    pub async fn try_merge_patch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let path = trial(with_manager(resource.path(namespace, Some(name))));
        self.write(&Method::PATCH, &path, "application/merge-patch+json", body).await
    }

    /// JSON merge patch of an object.
    pub async fn merge_patch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let path = with_manager(resource.path(namespace, Some(name)));
        self.write(&Method::PATCH, &path, "application/merge-patch+json", body).await
    }

    /// PUT to the status subresource; the body carries the resource version that it is meant for.
    pub async fn replace_status(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let path = with_manager(format!("{}/status", resource.path(namespace, Some(name))));
        self.write(&Method::PUT, &path, "application/json", body).await
    }

    /// One object as a tree of values, or None where it (or its kind) does not exist.
    pub async fn get_value(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let path = resource.path(namespace, Some(name));
        let answer = match self.read(&path).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&answer).map(Some).map_err(|source| Error::Malformed { path, source })
    }

    async fn write(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Written, WriteError> {
        let mut attempt = Attempt::Clear;
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.write_once(method, path, content_type, body.clone()).await {
                Ok(written) => return Ok(written),
                Err(failure) => failure,
            };
            match again(&failure, tries) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure.into_error(attempt, tries)),
            }
            if failure.end == End::Unclear {
                attempt = Attempt::AfterUnclearEnd;
            }
        }
    }

    async fn write_once(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Written, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(body))
            .map_err(|source| Failure::clear(WriteError::Path { path: path.to_owned(), source }))?;
        let answer = timeout(ANSWER_WITHIN, self.client().send(request))
            .await
            .map_err(|_| Failure::unclear(WriteError::TimedOut { within: ANSWER_WITHIN }))?
            .map_err(|source| Failure::unclear(WriteError::Unreachable { source }))?;
        if !answer.status().is_success() {
            return Err(refusal(answer, path).await);
        }
        let body = read(answer, path, usize::MAX).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|source| Failure::clear(WriteError::Malformed { source }))?;
        Ok(answer.metadata)
    }
}

fn with_manager(path: String) -> String {
    format!("{path}?fieldManager={FIELD_MANAGER}")
}

fn trial(path: String) -> String {
    format!("{path}&dryRun=All")
}

#[derive(Deserialize)]
struct Answer {
    metadata: Written,
}

/// One request that did not succeed.
#[derive(Debug)]
struct Failure {
    error: WriteError,
    end: End,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The API server did not carry it out.
    Clear,
    /// It may have been carried out.
    Unclear,
}

impl Failure {
    fn clear(error: WriteError) -> Self {
        Self { error, end: End::Clear, retry_after: None }
    }

    fn unclear(error: WriteError) -> Self {
        Self { error, end: End::Unclear, retry_after: None }
    }

    fn into_error(self, attempt: Attempt, tries: u32) -> WriteError {
        match self.error {
            WriteError::AlreadyExists { message, attempt: _ } => {
                WriteError::AlreadyExists { message, attempt }
            }
            WriteError::Throttled { tries: _ } => WriteError::Throttled { tries },
            other => other,
        }
    }
}

/// How long to wait before the same is sent again; None where it is not. `tries` counts those made.
fn again(failure: &Failure, tries: u32) -> Option<Duration> {
    let allowed = match &failure.error {
        WriteError::Throttled { .. } => TRIES_WHEN_THROTTLED,
        WriteError::Unavailable { code: 500, .. } => TRIES_AFTER_FAULT,
        WriteError::Unavailable { .. }
        | WriteError::TimedOut { .. }
        | WriteError::Unreachable { .. }
        | WriteError::BrokenOff => TRIES_AFTER_UNCLEAR_END,
        WriteError::AlreadyExists { .. }
        | WriteError::Conflict { .. }
        | WriteError::NotServed
        | WriteError::NotFound { .. }
        | WriteError::Invalid { .. }
        | WriteError::Forbidden { .. }
        | WriteError::Refused { .. }
        | WriteError::Malformed { .. }
        | WriteError::Path { .. } => 1,
    };
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(10));
    let pause = failure.retry_after.unwrap_or_default().max(doubled.min(LONGEST_PAUSE));
    (tries < allowed).then_some(pause.min(Duration::from_secs(60)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    kind: String,
    name: String,
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    message: String,
}

async fn refusal(answer: Response<Body>, path: &str) -> Failure {
    let code = answer.status();
    let retry_after =
        answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    // Whatever of the explanation arrives is used; a refusal stays one without it.
    let body = read(answer, path, LONGEST_EXPLANATION).await.unwrap_or_default();
    let failure = tell_apart(code, serde_json::from_slice(&body).unwrap_or_default());
    Failure { retry_after: retry_after.map(Duration::from_secs), ..failure }
}

fn tell_apart(code: StatusCode, status: Status) -> Failure {
    let Status { message, reason, details: Details { kind, name, causes } } = status;
    let message = if message.is_empty() { format!("the API server answered {code}") } else { message };
    match (code.as_u16(), reason.as_str()) {
        (409, "AlreadyExists") => {
            Failure::clear(WriteError::AlreadyExists { message, attempt: Attempt::Clear })
        }
        (409, _) => Failure::clear(WriteError::Conflict { message }),
        // Without a name it is the path itself that nobody serves.
        (404, _) if kind.is_empty() || name.is_empty() => Failure::clear(WriteError::NotServed),
        (404, _) => Failure::clear(WriteError::NotFound { message }),
        (422, _) => {
            let causes = causes.into_iter().map(|cause| cause.message).collect();
            Failure::clear(WriteError::Invalid { message, causes })
        }
        (403, _) => Failure::clear(WriteError::Forbidden { message }),
        (429, _) => Failure::clear(WriteError::Throttled { tries: 1 }),
        (code @ 500..=599, _) => Failure::unclear(WriteError::Unavailable { code, message }),
        (code, _) => Failure::clear(WriteError::Refused { code, reason, message }),
    }
}

async fn read(mut answer: Response<Body>, path: &str, at_most: usize) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(bytes) =
        request::next_bytes(&mut answer, path).await.map_err(|_| Failure::unclear(WriteError::BrokenOff))?
    {
        body.extend_from_slice(&bytes);
        if body.len() >= at_most {
            break;
        }
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(code: u16, status: Value) -> Failure {
        tell_apart(StatusCode::from_u16(code).unwrap(), serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_conflict_is_not_an_existing_object() {
        let exists = failure(409, json!({"reason": "AlreadyExists"}));
        assert!(matches!(exists.error, WriteError::AlreadyExists { attempt: Attempt::Clear, .. }));
        assert!(matches!(failure(409, json!({"reason": "Conflict"})).error, WriteError::Conflict { .. }));
    }

    #[test]
    fn a_kind_that_is_not_served_is_not_a_missing_namespace() {
        assert!(matches!(failure(404, json!({})).error, WriteError::NotServed));
        assert!(matches!(
            failure(404, json!({"reason": "NotFound", "details": {"kind": "namespaces", "name": "shop"}}))
                .error,
            WriteError::NotFound { .. }
        ));
    }

    #[test]
    fn the_causes_of_an_invalid_object_are_kept() {
        let invalid =
            failure(422, json!({"reason": "Invalid", "details": {"causes": [{"message": "provided port"}]}}));
        assert!(matches!(invalid.error, WriteError::Invalid { causes, .. } if causes == ["provided port"]));
    }

    #[test]
    fn refusals_for_good_are_sent_once() {
        for code in [400, 401, 403, 404, 409, 413, 422] {
            assert_eq!(again(&failure(code, json!({})), 1), None, "{code}");
        }
    }

    #[test]
    fn throttling_is_waited_out_as_the_server_asks() {
        let throttled =
            |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..failure(429, json!({})) };
        assert_eq!(again(&throttled(3), 1), Some(Duration::from_secs(3)));
        assert_eq!(again(&throttled(1), 5), Some(Duration::from_secs(4)));
        assert_eq!(again(&throttled(1), TRIES_WHEN_THROTTLED), None);
    }

    #[test]
    fn a_create_that_may_have_been_carried_out_says_so_when_it_meets_itself() {
        let timed_out = Failure::unclear(WriteError::TimedOut { within: ANSWER_WITHIN });
        assert!(again(&timed_out, 1).is_some());
        let exists = failure(409, json!({"reason": "AlreadyExists"}));
        assert!(matches!(
            exists.into_error(Attempt::AfterUnclearEnd, 2),
            WriteError::AlreadyExists { attempt: Attempt::AfterUnclearEnd, .. }
        ));
    }

    #[test]
    fn a_fault_of_the_server_is_tried_a_few_times_and_counts_as_unclear() {
        let fault = failure(500, json!({"message": "failed calling webhook"}));
        assert_eq!(fault.end, End::Unclear);
        assert_eq!((1..).map_while(|tries| again(&fault, tries)).count(), 2);
    }
}
