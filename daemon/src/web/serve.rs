//! The listener: who may look, which pages there are, and how much of it at a time.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::{Page, page};

/// How many connections are open at a time; others wait.
const CONNECTIONS: usize = 32;

/// How long one may last: longer than the longest answer takes, so that nobody holds a place by doing nothing.
const LIFETIME: Duration = Duration::from_secs(90);

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    // A browser would keep its place until the next refresh.
    (header::CONNECTION, HeaderValue::from_static("close")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

#[derive(Debug, thiserror::Error)]
#[error("the listener for the page ended")]
pub struct Error {
    #[from]
    source: std::io::Error,
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, page: Page) -> Result<(), Error> {
    let bounded = Bounded { listener, free: Arc::new(Semaphore::new(CONNECTIONS)) };
    Ok(axum::serve(bounded, router(page)).await?)
}

fn router(page: Page) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/coverage", get(coverage))
        .route("/page.css", get(async || ([(header::CONTENT_TYPE, "text/css")], page::STYLE)))
        .route("/page.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], page::SCRIPT)))
        .layer(middleware::from_fn_with_state(page.clone(), guard))
        .with_state(page)
}

/// Lets those through who may look, and tells browsers what the answer may do.
async fn guard(State(page): State<Page>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let may_look = page.0.setting.token.as_ref().is_none_or(|token| token.is_shown_by(shown));
    let mut answer = if may_look {
        next.run(request).await
    } else {
        let ask = [
            (header::WWW_AUTHENTICATE, "Basic realm=\"holdfast\", charset=\"UTF-8\""),
            (header::WWW_AUTHENTICATE, "Bearer realm=\"holdfast\""),
        ];
        (StatusCode::UNAUTHORIZED, axum::response::AppendHeaders(ask), "the token is needed\n")
            .into_response()
    };
    answer.headers_mut().extend(HEADERS);
    answer
}

async fn overview(State(page): State<Page>) -> Html<String> {
    Html(page.overview().to_string())
}

async fn coverage(State(page): State<Page>) -> Html<String> {
    let setting = &page.0.setting;
    let answer = match page.copies() {
        Some(copies) => {
            let schedules = copies.schedules.all();
            Some(page.0.coverage.answer(&setting.cluster, &schedules, || (setting.clock)()).await)
        }
        None => None,
    };
    Html(page::coverage(answer.as_deref(), (setting.clock)()).into_string())
}

/// A listener that keeps no more connections than it may.
struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

/// A connection with its place among those that may be open.
struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let place = self.free.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, over: Box::pin(tokio::time::sleep(LIFETIME)), _place: place }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_says_nothing_loses_its_place() {
        let (one, _other) = connected().await;
        let free = Arc::new(Semaphore::new(1));
        let place = free.clone().try_acquire_owned().ok();
        let mut connection =
            Connection { stream: one, over: Box::pin(tokio::time::sleep(Duration::ZERO)), _place: place };
        let read = connection.read_u8().await;
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        drop(connection);
        assert_eq!(free.available_permits(), 1);
    }

    #[tokio::test]
    async fn no_more_are_open_than_may_be() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded = Bounded { listener, free: Arc::new(Semaphore::new(1)) };
        let _callers =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let (first, _) = bounded.accept().await;
        let second = tokio::select! {
            biased;
            (second, _) = bounded.accept() => Some(second),
            () = std::future::ready(()) => None,
        };
        assert!(second.is_none());
        drop(first);
        let (_second, _) = bounded.accept().await;
    }

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }
}
