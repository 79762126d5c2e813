//! What a bucket can answer, in plain words and without secrets.

use std::error::Error as StdError;
use std::fmt;

use super::credentials::CredentialsError;

/// Why something could not be done in a bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("connecting to bucket {bucket} failed")]
    Connect { bucket: String, source: Reason },
    #[error("the location's credentials can't be used")]
    Credentials(#[from] CredentialsError),
    #[error("finding keys for AWS failed")]
    Keys { source: Reason },
    #[error("reading {path} failed")]
    ReadKey { path: String, source: std::io::Error },
    #[error("the bucket's folder {folder} does not exist")]
    FolderMissing { folder: String },
    #[error("the bucket has top-level folders that don't belong there: {named}")]
    UnexpectedFolders { named: String },
    #[error("listing {folder} failed")]
    List { folder: String, source: Reason },
    #[error("reading {key} failed")]
    Read { key: String, source: Reason },
    #[error("writing {key} failed")]
    Write { key: String, source: Reason },
    #[error("deleting {key} failed")]
    Delete { key: String, source: Reason },
    #[error("making a URL for {key} failed")]
    Sign { key: String, source: Reason },
    #[error("{key} is not there any more")]
    Gone { key: String },
    #[error("{key} exists already")]
    AlreadyExists { key: String },
    #[error("{key} has {size} bytes, more than the {limit} that are read")]
    TooLarge { key: String, size: u64, limit: u64 },
    #[error("decoding {key} failed")]
    Decode { key: String, source: serde_json::Error },
    #[error("{key} is no velero.io/v1 Backup but {found}")]
    NotABackup { key: String, found: String },
    #[error("{name:?} can't be part of a key")]
    Name { name: String },
}

impl Error {
    /// The whole message, causes included, for a status or a log line.
    pub fn with_causes(&self) -> String {
        crate::causes::with_causes(self)
    }
}

/// The provider's own reason, reduced to its code and message.
///
/// What a provider's library has to say holds more than a reader needs: retry counts, request URLs whose query may be a
/// signature, and error documents that repeat parts of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Reason {}

impl From<object_store::Error> for Reason {
    fn from(error: object_store::Error) -> Self {
        let text = error.to_string();
        if let Some(code) = between(&text, "<Code>", "</Code>") {
            return Self(match between(&text, "<Message>", "</Message>") {
                Some(message) if !message.trim().is_empty() => {
                    format!("{code}: {}", first_line(message))
                }
                Some(_) | None => code.to_owned(),
            });
        }
        if let Some((_, status)) = text.split_once("non-2xx status code: ") {
            return Self(format!("the server answered {}", status_line(status)));
        }
        let deepest = deepest_cause(&error);
        let host = between(&text, "://", "/").filter(|host| !host.is_empty());
        Self(match host {
            // Only of requests: causes from a disk name their file themselves.
            Some(host) => format!("{}: {}", host_only(host), without_queries(first_line(&deepest))),
            None => without_queries(first_line(&deepest)),
        })
    }
}

/// Is the object not there? A missing bucket is more than that, and so is any other thing that the server doesn't know:
/// some answer 404 to a key of an account that they have never seen.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    const MISSING_OBJECT: [&str; 3] = ["NoSuchKey", "BlobNotFound", "NotFound"];
    match error {
        object_store::Error::NotFound { source, .. } => {
            let text = source.to_string();
            match between(&text, "<Code>", "</Code>") {
                Some(code) => MISSING_OBJECT.contains(&code),
                // An answer to HEAD has no document.
                None => !text.contains("bucket does not exist"),
            }
        }
        _ => false,
    }
}

/// Does the server not know the headers with which a put is made conditional?
pub(super) fn lacks_conditions(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => true,
        error => error.to_string().contains("status code: 501"),
    }
}

fn deepest_cause(error: &object_store::Error) -> String {
    let mut deepest: &dyn StdError = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

/// `403 Forbidden`, and what the body says in its first line, unless the body is a document.
fn status_line(status: &str) -> String {
    let line = first_line(status);
    let (status, body) = line.split_once(": ").unwrap_or((line, ""));
    if body.is_empty() || body.starts_with(['<', '{']) {
        return status.trim_end_matches([':', ' ']).to_owned();
    }
    format!("{status}: {}", without_queries(body))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}

fn first_line(text: &str) -> &str {
    const LONGEST: usize = 500;
    let line = text.trim().lines().next().unwrap_or_default();
    line.char_indices().nth(LONGEST).map_or(line, |(end, _)| &line[..end])
}

fn host_only(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Drops the query of every URL in a text, since that is where signatures stand.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url,
        Some(_) | None => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        let source = text.to_owned().into();
        Reason::from(object_store::Error::Generic { store: "S3", source }).to_string()
    }

    #[test]
    fn an_error_document_is_reduced_to_its_code_and_message() {
        let document = "Error performing GET https://s3/bucket?list-type=2 in 3ms - Server returned non-2xx status code: \
             403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature \
             does not match</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        assert_eq!(reason(document), "SignatureDoesNotMatch: The signature does not match");
    }

    #[test]
    fn an_answer_without_a_document_is_its_status() {
        let text = "Error performing HEAD http://s3/b in 1ms - Server returned non-2xx status code: 503 Service Unavailable: ";
        assert_eq!(reason(text), "the server answered 503 Service Unavailable");
        let text =
            "x - Server returned non-2xx status code: 502 Bad Gateway: <html><body>nginx</body></html>";
        assert_eq!(reason(text), "the server answered 502 Bad Gateway");
        let text =
            "x - Server returned non-2xx status code: 400 Bad Request: see http://a/b?sig=SECRET for more";
        assert_eq!(reason(text), "the server answered 400 Bad Request: see http://a/b for more");
    }

    #[test]
    fn a_missing_bucket_is_more_than_a_missing_object() {
        let error =
            |text: &str| object_store::Error::NotFound { path: "a".into(), source: text.to_owned().into() };
        assert!(is_absent(&error("404 Not Found: <Code>NoSuchKey</Code>")));
        assert!(is_absent(&error("404 Not Found: ")));
        assert!(!is_absent(&error("404 Not Found: <Code>NoSuchBucket</Code>")));
        assert!(!is_absent(&error("404 Not Found: <Code>ContainerNotFound</Code>")));
        assert!(!is_absent(&error("404 Not Found: <Code>InvalidAccessKeyId</Code>")));
    }

    #[test]
    fn a_message_tells_its_causes() {
        let source = Reason("AccessDenied: no".to_owned());
        let error = Error::List { folder: "backups/".to_owned(), source };
        assert_eq!(error.with_causes(), "listing backups/ failed: AccessDenied: no");
    }
}
