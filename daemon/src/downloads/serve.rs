//! The listener for signed URLs.
//!
//! Answers as S3 does where the `velero` command line looks: 200 with the bytes as they are stored and no
//! Content-Encoding, 404 for a file that is not there, 403 for a URL that is not good.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::{ROOT, Refusal, Tickets};
use crate::clock::Clock;
use crate::store::{self, BackupStore, StoredFile};

#[derive(Debug, thiserror::Error)]
#[error("the listener for downloads ended")]
pub struct Error {
    #[from]
    source: std::io::Error,
}

/// What a request needs to be answered. `open` gives the store of a location by its name, or none where there is no
/// such location.
#[derive(Clone)]
pub struct Downloads<Open> {
    pub tickets: Tickets,
    pub clock: Clock,
    pub open: Open,
}

/// Why a store can't be opened.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
struct Signature {
    expires: i64,
    signature: String,
}

/// Why there is no file to send.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not found")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("cannot open the location")]
    Open(#[source] OpenError),
    #[error(transparent)]
    Read(#[from] store::Error),
}

/// Answers for ever.
pub async fn serve<Open, Opening>(listener: TcpListener, downloads: Downloads<Open>) -> Result<(), Error>
where
    Open: Fn(String) -> Opening + Clone + Send + Sync + 'static,
    Opening: Future<Output = Result<Option<BackupStore>, OpenError>> + Send + 'static,
{
    Ok(axum::serve(listener, router(downloads)).await?)
}

fn router<Open, Opening>(downloads: Downloads<Open>) -> Router
where
    Open: Fn(String) -> Opening + Clone + Send + Sync + 'static,
    Opening: Future<Output = Result<Option<BackupStore>, OpenError>> + Send + 'static,
{
    let path = format!("/{ROOT}/{{location}}/{{*key}}");
    Router::new().route(&path, get(download::<Open, Opening>)).with_state(downloads)
}

async fn download<Open, Opening>(
    State(downloads): State<Downloads<Open>>,
    Path((location, key)): Path<(String, String)>,
    Query(signature): Query<Signature>,
) -> Response
where
    Open: Fn(String) -> Opening + Clone + Send + Sync + 'static,
    Opening: Future<Output = Result<Option<BackupStore>, OpenError>> + Send + 'static,
{
    match find(&downloads, &location, &key, &signature).await {
        Ok(found) => (
            [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_LENGTH, found.size.to_string()),
            ],
            Body::from_stream(found.stream),
        )
            .into_response(),
        Err(failure) => {
            let status = match &failure {
                Failure::NotFound => StatusCode::NOT_FOUND,
                Failure::Refused(_) => StatusCode::FORBIDDEN,
                Failure::Open(_) | Failure::Read(_) => StatusCode::BAD_GATEWAY,
            };
            let error = &failure as &dyn std::error::Error;
            tracing::info!(location, key, error, "download not served");
            (status, failure.to_string()).into_response()
        }
    }
}

async fn find<Open, Opening>(
    downloads: &Downloads<Open>,
    location: &str,
    key: &str,
    signature: &Signature,
) -> Result<store::FileObject, Failure>
where
    Open: Fn(String) -> Opening + Clone + Send + Sync + 'static,
    Opening: Future<Output = Result<Option<BackupStore>, OpenError>> + Send + 'static,
{
    let file = StoredFile::parse(key).ok_or(Failure::NotFound)?;
    let now = (downloads.clock)();
    downloads.tickets.check(location, &file, signature.expires, &signature.signature, now)?;
    let store = (downloads.open)(location.to_owned()).await.map_err(Failure::Open)?;
    let found = store.ok_or(Failure::NotFound)?.read_file(&file).await?;
    found.ok_or(Failure::NotFound)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use chrono::{DateTime, Utc};
    use holdfast_policy::velero;

    use super::*;
    use crate::downloads::Links;
    use crate::store::{BackupFile, LocationSettings};

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    /// Serves a location `default` over a folder with the logs of backup `nightly`; gives the address.
    async fn served(folder: &std::path::Path) -> Links {
        let logs = folder.join("bucket/backups/nightly");
        std::fs::create_dir_all(&logs).unwrap();
        std::fs::write(logs.join("nightly-logs.gz"), b"\x1f\x8bpacked").unwrap();
        let mut location =
            velero::BackupStorageLocationSpec { provider: "local".to_owned(), ..Default::default() };
        location.object_storage.bucket = "bucket".to_owned();
        location.config = BTreeMap::from([("path".to_owned(), folder.display().to_string())]);
        let settings = LocationSettings::parse("default", &location, None, None).unwrap();
        let store = BackupStore::open(&settings).await.unwrap();
        let open = move |name: String| {
            let found = (name == "default").then(|| store.clone());
            async move { Ok(found) }
        };
        let tickets = Tickets::new(b"key");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let downloads = Downloads { tickets: tickets.clone(), clock: Arc::new(now), open };
        tokio::spawn(serve(listener, downloads));
        Links { tickets, base }
    }

    fn file(backup: &str) -> StoredFile {
        StoredFile::BackupFile { backup: backup.to_owned(), file: BackupFile::Logs }
    }

    #[tokio::test]
    async fn a_signed_url_gives_the_bytes_as_they_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let links = served(folder.path()).await;
        let later = now() + chrono::Duration::minutes(10);
        let answer = get(&links.link("default", None, &file("nightly"), later)).await;
        let (head, body) =
            answer.split_at(answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4);
        let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-length: 8\r\n"), "{head}");
        assert!(!head.contains("content-encoding"), "{head}");
        assert_eq!(body, b"\x1f\x8bpacked");
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_apart_from_what_is_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let links = served(folder.path()).await;
        let later = now() + chrono::Duration::minutes(10);
        let good = links.link("default", None, &file("nightly"), later);
        let cases = [
            (links.link("default", None, &file("hourly"), later), "404"),
            (links.link("gone", None, &file("nightly"), later), "404"),
            (links.link("default", None, &file("nightly"), now()), "403"),
            (good.replace("nightly", "weekly"), "403"),
            (good.replace("signature=", "signature=x"), "403"),
            (good.split('?').next().unwrap().to_owned(), "400"),
            (format!("{}/downloads/default/../../etc/passwd?expires=9&signature=", links.base), "404"),
        ];
        for (url, status) in cases {
            let answer = String::from_utf8(get(&url).await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{url}: {answer}");
        }
    }

    /// Not by a client library: that might unpack or follow without being asked.
    async fn get(url: &str) -> Vec<u8> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        answer
    }
}
