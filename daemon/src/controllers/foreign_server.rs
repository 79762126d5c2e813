//! Velero's own server on the same resources: looked for before our controllers start, and noticed while they run.
//!
//! Takes the pods of the namespace, the answer to a question, and the names under which objects were written; gives the
//! server that is alive. Velero takes no lease and fails every run in progress when it starts, so there is never a second
//! chance: the start is refused, or our controllers stop.

use std::time::Duration;

use holdfast_policy::velero::{ServerStatusRequest, ServerStatusRequestPhase, ServerStatusRequestSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};

pub mod pods;
pub mod writes;

pub use writes::{ForeignWrite, Lookout};

/// Between looks for an answer; as often as the command line looks.
const LOOK: Duration = Duration::from_millis(250);
/// In every version that a Holdfast answers with.
const OURS: &str = "+holdfast.";

/// A server that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// It has answered.
    Answers {
        version: String,
    },
    Runs {
        pod: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is alive in {namespace}: scale it to 0, or use --mode policy", name(.alive))]
    Alive { alive: Alive, namespace: String },
    #[error("cannot list the pods of {namespace} to see whether a Velero server runs")]
    Pods { namespace: String, source: Box<kube::Error> },
    #[error("cannot ask whether a Velero server is alive in {namespace}")]
    Ask { namespace: String, source: Box<kube::Error> },
}

fn name(alive: &Alive) -> String {
    match alive {
        Alive::Answers { version } => format!("Velero {version}"),
        Alive::Runs { pod } => format!("Velero (pod {pod})"),
    }
}

/// Returns when no other server was found. `patience` is how long one may take to answer.
pub async fn require_none(client: &Client, namespace: &str, patience: Duration) -> Result<(), Error> {
    let alive = match running(client, namespace).await? {
        Some(pod) => Some(Alive::Runs { pod }),
        None if patience.is_zero() => None,
        None => ask(client, namespace, patience).await?.map(|version| Alive::Answers { version }),
    };
    match alive {
        Some(alive) => Err(Error::Alive { alive, namespace: namespace.to_owned() }),
        None => Ok(()),
    }
}

async fn running(client: &Client, namespace: &str) -> Result<Option<String>, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default()).await;
    let list =
        list.map_err(|source| Error::Pods { namespace: namespace.to_owned(), source: Box::new(source) })?;
    Ok(list.items.iter().find(|pod| pods::is_live_server(pod)).map(ResourceExt::name_any))
}

/// The version of whoever answers in time.
async fn ask(client: &Client, namespace: &str, patience: Duration) -> Result<Option<String>, Error> {
    let failed = |source| Error::Ask { namespace: namespace.to_owned(), source: Box::new(source) };
    let requests: Api<ServerStatusRequest> = Api::namespaced(client.clone(), namespace);
    let metadata =
        ObjectMeta { generate_name: Some("holdfast-is-velero-alive-".to_owned()), ..ObjectMeta::default() };
    let question =
        ServerStatusRequest { metadata, spec: ServerStatusRequestSpec {}, status: Default::default() };
    tracing::info!(seconds = patience.as_secs(), "asking whether a Velero server is alive");
    let name = requests.create(&PostParams::default(), &question).await.map_err(failed)?.name_any();
    let answer = tokio::time::timeout(patience, answer(&requests, &name)).await;
    // Left behind, it would be answered and removed by whichever server comes next.
    if let Err(error) = requests.delete(&name, &DeleteParams::default()).await {
        tracing::debug!(name, error = &error as &dyn std::error::Error, "question not taken back");
    }
    match answer {
        Err(_) => Ok(None),
        Ok(Err(source)) => Err(failed(source)),
        Ok(Ok(version)) => Ok(Some(version).filter(|version| !version.contains(OURS))),
    }
}

async fn answer(requests: &Api<ServerStatusRequest>, name: &str) -> Result<String, kube::Error> {
    loop {
        let found = requests.get_opt(name).await?;
        let answered = found.filter(|found| found.status_phase() == ServerStatusRequestPhase::Processed);
        if let Some(answered) = answered {
            return Ok(answered.status.server_version.unwrap_or_default());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How long a server may take to answer before it is taken for absent.
pub fn patience(asked_for: Duration, before: super::leader::Before, kinds: Kinds) -> Duration {
    use super::leader::Before;
    match (before, kinds) {
        // It would have noticed, up to a moment ago.
        (Before::Holdfast, _) => Duration::ZERO,
        // Velero's server ends where its kinds are not served.
        (Before::Nobody, Kinds::CreatedJustNow) => Duration::ZERO,
        (Before::Nobody, Kinds::ThereBefore) => asked_for,
    }
}

/// Whether Velero's kinds were served before this process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    ThereBefore,
    CreatedJustNow,
}

/// What people are told when a server was noticed while we run.
pub fn note(write: &ForeignWrite) -> String {
    format!(
        "{} has written the status of {} {}: controllers are stopped, because two servers on one set of resources \
         destroy each other's runs; scale it to 0 and restart, or use --mode policy",
        write.manager, write.kind, write.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::leader::Before;

    #[test]
    fn the_answer_of_a_server_is_waited_for_unless_there_can_be_none() {
        let asked = Duration::from_secs(15);
        assert_eq!(patience(asked, Before::Nobody, Kinds::ThereBefore), asked);
        assert_eq!(patience(asked, Before::Holdfast, Kinds::ThereBefore), Duration::ZERO);
        assert_eq!(patience(asked, Before::Nobody, Kinds::CreatedJustNow), Duration::ZERO);
    }

    #[test]
    fn a_refused_start_says_what_to_do() {
        let refused = |alive| Error::Alive { alive, namespace: "velero".to_owned() }.to_string();
        assert_eq!(
            refused(Alive::Answers { version: "v1.18.3".to_owned() }),
            "Velero v1.18.3 is alive in velero: scale it to 0, or use --mode policy"
        );
        assert_eq!(
            refused(Alive::Runs { pod: "velero-7d9f".to_owned() }),
            "Velero (pod velero-7d9f) is alive in velero: scale it to 0, or use --mode policy"
        );
    }
}
