//! The listener for probes and metrics.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::cli::version;
use crate::controllers::switches::Purpose;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Bind { address: String, source: std::io::Error },
    #[error("the listener for metrics and probes ended")]
    Serve { source: std::io::Error },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an address to listen on: HOST:PORT, :PORT and none are")]
pub struct AddressError(String);

/// Where to listen, if at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Nowhere,
    /// On all addresses of the machine, as Velero reads `:8085`.
    Everywhere {
        port: u16,
    },
    At {
        host: String,
        port: u16,
    },
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(ListenAddress::Nowhere);
        }
        let refused = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        Ok(match host {
            "" => ListenAddress::Everywhere { port },
            host => ListenAddress::At { host: host.to_owned(), port },
        })
    }
}

/// What probes and scrapers are told.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    readiness: Arc<Mutex<Readiness>>,
    registry: Mutex<Registry>,
}

/// Whether the daemon does what it is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Readiness {
    Starting,
    /// Ready to take over from whoever leads.
    StandingBy {
        holder: String,
    },
    Ready(Purpose),
    Stalled {
        why: String,
    },
    Stopping,
}

impl Health {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register(
            "holdfast_build",
            "Which Holdfast this is, and which release of Velero it is compatible with",
            Info::new([("version", version::TEXT), ("velero", version::VELERO)]),
        );
        let readiness = Arc::new(Mutex::new(Readiness::Starting));
        registry.register_collector(Box::new(Replica(readiness.clone())));
        Health(Arc::new(Shared { readiness, registry: Mutex::new(registry) }))
    }

    /// From now on scrapers are told this as well.
    pub fn expose(&self, collector: impl Collector) {
        lock(&self.0.registry).register_collector(Box::new(collector));
    }

    /// From now on the daemon does its work.
    pub fn ready(&self, purpose: Purpose) {
        self.now(Readiness::Ready(purpose));
    }

    /// From now on it waits until the lead is free.
    pub fn standing_by(&self, holder: &str) {
        self.now(Readiness::StandingBy { holder: holder.to_owned() });
    }

    /// From now on it only waits for a person.
    pub fn stalled(&self, why: String) {
        self.now(Readiness::Stalled { why });
    }

    /// From now on it does not.
    pub fn stopping(&self) {
        self.now(Readiness::Stopping);
    }

    /// What probes are told, and whether it is good.
    pub fn words(&self) -> (StatusCode, String) {
        match self.readiness() {
            Readiness::Starting => {
                (StatusCode::SERVICE_UNAVAILABLE, "the controllers have not started".to_owned())
            }
            Readiness::StandingBy { holder } => (StatusCode::OK, format!("ok: standing by for {holder}")),
            Readiness::Stalled { why } => (StatusCode::SERVICE_UNAVAILABLE, why),
            Readiness::Ready(Purpose::BackupAndRestore) => (StatusCode::OK, "ok".to_owned()),
            Readiness::Ready(Purpose::RestoreOnly) => (StatusCode::OK, "ok: restore-only".to_owned()),
            Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned()),
        }
    }

    fn now(&self, readiness: Readiness) {
        *lock(&self.0.readiness) = readiness;
    }

    fn readiness(&self) -> Readiness {
        lock(&self.0.readiness).clone()
    }
}

/// What the process does, as metrics.
#[derive(Debug)]
struct Replica(Arc<Mutex<Readiness>>);

impl Collector for Replica {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let readiness = lock(&self.0).clone();
        let (leads, is_stalled, restores_only) = match readiness {
            Readiness::Starting | Readiness::StandingBy { holder: _ } | Readiness::Stopping => (0, 0, 0),
            Readiness::Ready(Purpose::BackupAndRestore) => (1, 0, 0),
            Readiness::Ready(Purpose::RestoreOnly) => (1, 0, 1),
            Readiness::Stalled { why: _ } => (1, 1, 0),
        };
        for (name, help, value) in [
            ("holdfast_leader", "Whether this replica has the lead", leads),
            (
                "holdfast_stalled",
                "Whether controllers were stopped because another server is alive",
                is_stalled,
            ),
            ("holdfast_restore_only", "Whether backups, schedules and expiry are off", restores_only),
        ] {
            let gauge: ConstGauge<i64> = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}

/// Listens; the address tells which port was taken where port 0 was asked for.
pub async fn bind(address: &ListenAddress) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
    let (text, bound) = match address {
        ListenAddress::Nowhere => return Ok(None),
        ListenAddress::Everywhere { port } => {
            let everywhere = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
                // A machine without IPv6.
                Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                    TcpListener::bind(("0.0.0.0", *port)).await
                }
                bound => bound,
            };
            (format!(":{port}"), everywhere)
        }
        ListenAddress::At { host, port } => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            (format!("{host}:{port}"), TcpListener::bind((bare, *port)).await)
        }
    };
    let listener = bound.map_err(|source| Error::Bind { address: text.clone(), source })?;
    let local = listener.local_addr().map_err(|source| Error::Bind { address: text, source })?;
    Ok(Some((listener, local)))
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, health: Health) -> Result<(), Error> {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).await.map_err(|source| Error::Serve { source })
}

async fn ready(State(health): State<Health>) -> Response {
    health.words().into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &lock(&health.0.registry)) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(std::fmt::Error) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot write metrics").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_velero_writes_them() {
        assert_eq!(":8085".parse(), Ok(ListenAddress::Everywhere { port: 8085 }));
        assert_eq!("127.0.0.1:0".parse(), Ok(ListenAddress::At { host: "127.0.0.1".to_owned(), port: 0 }));
        assert_eq!("none".parse(), Ok(ListenAddress::Nowhere));
        assert_eq!("8085".parse::<ListenAddress>(), Err(AddressError("8085".to_owned())));
    }

    #[tokio::test]
    async fn readiness_is_told_apart_from_health() {
        let health = Health::new();
        assert_eq!(ready(State(health.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        health.ready(Purpose::BackupAndRestore);
        assert_eq!(ready(State(health.clone())).await.status(), StatusCode::OK);
        health.stopping();
        assert_eq!(ready(State(health)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn metrics_tell_the_version() {
        let answer = metrics(State(Health::new())).await;
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("velero=\"v1.18.3\""), "{text}");
    }
}
