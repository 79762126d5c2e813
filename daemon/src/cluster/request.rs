//! One GET: sends it, checks the status, reads the body within time-outs, and tries again what may pass.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use tokio::time::timeout;

/// An ordinary answer.
pub(super) const JSON: &str = "application/json";

/// The API server itself gives up after 60 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(75);
/// A body that has started does not pause.
const NEXT_BYTES_WITHIN: Duration = Duration::from_secs(30);
/// The tries together outlast a restart of the API server: 0.25 + 0.5 + … + 16 s.
const TRIES: u32 = 8;
/// A 5xx answer is more often a broken backend or webhook than a restart.
const TRIES_OF_FAULTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: no answer from the API server within {} s", within.as_secs())]
    TimedOut { path: String, within: Duration },
    #[error("{path}: {source}")]
    Unreachable { path: String, source: kube::Error },
    #[error("{path}: the API server's answer broke off")]
    Truncated { path: String },
    #[error("{message}")]
    Refused {
        path: String,
        code: u16,
        reason: String,
        message: String,
        retry_after: Option<Duration>,
        /// A token that goes on with a list whose own token expired.
        go_on_with: Option<String>,
    },
    #[error("{path}: the API server's answer cannot be read: {source}")]
    Malformed { path: String, source: serde_json::Error },
    #[error("{path}: not a path that can be asked for")]
    Path { path: String, source: http::Error },
}

impl Error {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The token of a list is no longer known.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }
}

/// How long to wait before trying again; None when another try is no use. `tries` counts those made.
pub(super) fn pause(error: &Error, tries: u32) -> Option<Duration> {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let (allowed, pause) = match error {
        Error::TimedOut { .. } | Error::Unreachable { .. } | Error::Truncated { .. } => (TRIES, doubled),
        Error::Refused { code: 429, retry_after, .. } => {
            (TRIES, retry_after.unwrap_or_default().max(doubled))
        }
        Error::Refused { code: 500..=599, retry_after, .. } => {
            (TRIES_OF_FAULTS, retry_after.unwrap_or_default().max(doubled))
        }
        Error::Refused { .. } | Error::Malformed { .. } | Error::Path { .. } => (1, doubled),
    };
    (tries < allowed).then_some(pause.min(LONGEST_PAUSE))
}

/// The whole body of GET `path`, after as many tries as its failures allow.
pub(super) async fn fetch(client: &kube::Client, path: &str, accept: &str) -> Result<Bytes, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match fetch_once(client, path, accept).await {
            Ok(body) => return Ok(body),
            Err(error) => error,
        };
        let Some(pause) = pause(&error, tries) else { return Err(error) };
        tokio::time::sleep(pause).await;
    }
}

async fn fetch_once(client: &kube::Client, path: &str, accept: &str) -> Result<Bytes, Error> {
    let mut answer = open(client, path, accept).await?;
    let mut body = BytesMut::new();
    while let Some(bytes) = next_bytes(&mut answer, path).await? {
        body.extend_from_slice(&bytes);
    }
    Ok(body.freeze())
}

/// Sends GET once and gives the answer when its status is good; the body is still to be read.
pub(super) async fn open(client: &kube::Client, path: &str, accept: &str) -> Result<Response<Body>, Error> {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|source| Error::Path { path: path.into(), source })?;
    let answer = timeout(ANSWER_WITHIN, client.send(request))
        .await
        .map_err(|_| Error::TimedOut { path: path.into(), within: ANSWER_WITHIN })?
        .map_err(|source| Error::Unreachable { path: path.into(), source })?;
    if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer, path).await) }
}

/// The next piece of the body; None at its end.
pub(super) async fn next_bytes(answer: &mut Response<Body>, path: &str) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = timeout(NEXT_BYTES_WITHIN, answer.body_mut().frame())
            .await
            .map_err(|_| Error::TimedOut { path: path.into(), within: NEXT_BYTES_WITHIN })?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Error::Truncated { path: path.into() }),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    metadata: StatusMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusMetadata {
    #[serde(rename = "continue")]
    go_on_with: Option<String>,
}

async fn refusal(mut answer: Response<Body>, path: &str) -> Error {
    let code = answer.status();
    let retry_after =
        answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = BytesMut::new();
    // Whatever of the explanation arrives is used; a refusal stays one without it.
    while let Ok(Some(bytes)) = next_bytes(&mut answer, path).await {
        body.extend_from_slice(&bytes);
        if body.len() > 64 * 1024 {
            break;
        }
    }
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    Error::Refused {
        path: path.into(),
        code: code.as_u16(),
        message: message(code, status.message),
        reason: status.reason,
        retry_after: retry_after.map(Duration::from_secs),
        go_on_with: status.metadata.go_on_with.filter(|token| !token.is_empty()),
    }
}

/// The API server's own words, or what an answer without any means.
fn message(code: StatusCode, message: String) -> String {
    if !message.is_empty() {
        return message;
    }
    match code {
        StatusCode::NOT_FOUND => "the server could not find the requested resource".into(),
        StatusCode::UNAUTHORIZED => "the server has asked for the client to provide credentials".into(),
        other => format!("the API server answered {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, retry_after: Option<u64>) -> Error {
        Error::Refused {
            path: "/api".into(),
            code,
            reason: String::new(),
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
            go_on_with: None,
        }
    }

    #[test]
    fn a_refusal_for_good_is_not_tried_again() {
        for code in [400, 401, 403, 404, 405, 410, 422] {
            assert_eq!(pause(&refused(code, None), 1), None, "{code}");
        }
    }

    #[test]
    fn throttling_is_waited_out_as_the_server_asks() {
        assert_eq!(pause(&refused(429, Some(3)), 1), Some(Duration::from_secs(3)));
        assert_eq!(pause(&refused(429, Some(1)), 5), Some(Duration::from_secs(4)));
        assert_eq!(pause(&refused(429, Some(3600)), 1), Some(LONGEST_PAUSE));
        assert_eq!(pause(&refused(429, Some(1)), 8), None);
    }

    #[test]
    fn tries_are_bounded_and_outlast_a_restart() {
        let error = Error::Truncated { path: "/api".into() };
        let pauses: Vec<_> = (1..).map_while(|tries| pause(&error, tries)).collect();
        assert_eq!(pauses.len(), 7);
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(20));
        assert_eq!((1..).map_while(|tries| pause(&refused(500, None), tries)).count(), 3);
    }
}
