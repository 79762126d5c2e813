//! What happens when another server writes to our resources: the controllers end, and people are told.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::listen::Health;
use crate::controllers::foreign_server::{self, Lookout};
use crate::controllers::leader;
use crate::intake::status::FOREIGN_SERVER;

/// The reason in events, conditions and metrics.
pub(super) const REASON: &str = FOREIGN_SERVER;

/// Waits for the first write of another server, and then until it is dropped.
pub(super) async fn at_foreign_write(
    lookout: Lookout,
    client: Client,
    namespace: String,
    health: Health,
    told: watch::Sender<Option<String>>,
    stop_controllers: CancellationToken,
) {
    let write = lookout.found().await;
    // First of all: everything else can wait.
    stop_controllers.cancel();
    let note = foreign_server::note(&write);
    tracing::error!(
        manager = write.manager,
        kind = write.kind,
        name = write.name,
        at = %write.at,
        "another server is alive: controllers are stopped"
    );
    health.stalled(format!("Stalled={REASON}: {note}"));
    told.send_replace(Some(note.clone()));
    let lease = ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        namespace: Some(namespace),
        name: Some(leader::NAME.to_owned()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: REASON.to_owned(),
        note: Some(note),
        action: "Stop".to_owned(),
        secondary: None,
    };
    let recorder = Recorder::new(client, "holdfast".into());
    if let Err(error) = recorder.publish(&event, &lease).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not write an event");
    }
    std::future::pending().await
}
