//! The CustomResourceDefinitions at the start: which of Velero's kinds the cluster serves, and creating what it lacks.
//!
//! Never touches a definition that is there, whoever made it.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_policy::velero::Served;
use holdfast_policy::{holdfast, velero};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};

use crate::controllers::foreign_server::Kinds;
use crate::controllers::watched::FIELD_MANAGER;

const VELERO_GROUP: &str = <velero::Backup as velero::Kind>::GROUP;
const TIME_TO_BE_SERVED: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What to do about kinds that the cluster lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    Create,
    Refuse,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot ask the cluster which kinds of {group_version} it serves")]
    Discover { group_version: String, source: Box<kube::Error> },
    #[error(
        "the cluster lacks {}: create them with `holdfast crds | kubectl apply --server-side -f -`, \
         or start with --install-crds",
        names.join(", ")
    )]
    Missing { names: Vec<String> },
    #[error("cannot create {name}")]
    Create { name: String, source: Box<kube::Error> },
    #[error("the cluster still does not serve {} {} s after they were created", names.join(", "), TIME_TO_BE_SERVED.as_secs())]
    NotServed { names: Vec<String> },
}

/// All definitions: Velero's, which nothing works without, and ours, which tell what became of policies.
pub fn all() -> Vec<CustomResourceDefinition> {
    velero::crds().into_iter().chain(holdfast::crds()).collect()
}

/// Returns when the cluster serves all kinds of velero.io, and with [`Absent::Create`] ours too. Tells whether a server
/// of Velero could have worked with what was served before.
pub async fn ensure(client: &Client, absent: Absent) -> Result<Kinds, Error> {
    let missing = missing(client).await?;
    if missing.is_empty() {
        return Ok(Kinds::ThereBefore);
    }
    let lacks_velero_s = missing.iter().any(|kind| kind.group == VELERO_GROUP);
    match absent {
        Absent::Refuse => {
            let required = missing.iter().filter(|kind| kind.group == VELERO_GROUP);
            let names: Vec<String> = required.map(Served::definition).collect();
            if names.is_empty() { Ok(Kinds::ThereBefore) } else { Err(Error::Missing { names }) }
        }
        Absent::Create => {
            let missing: BTreeSet<String> = missing.iter().map(Served::definition).collect();
            for definition in all().iter().filter(|definition| missing.contains(&definition.name_any())) {
                create(client, definition).await?;
            }
            wait_until_served(client).await?;
            Ok(if lacks_velero_s { Kinds::CreatedJustNow } else { Kinds::ThereBefore })
        }
    }
}

async fn create(client: &Client, definition: &CustomResourceDefinition) -> Result<(), Error> {
    let name = definition.name_any();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(definition))
        .await
        .map_err(|source| Error::Create { name: name.clone(), source: Box::new(source) })?;
    tracing::info!(name, "CustomResourceDefinition created");
    Ok(())
}

async fn wait_until_served(client: &Client) -> Result<(), Error> {
    let served = async {
        loop {
            let missing = missing(client).await?;
            if missing.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match tokio::time::timeout(TIME_TO_BE_SERVED, served).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let names = missing(client).await?.iter().map(Served::definition).collect();
            Err(Error::NotServed { names })
        }
    }
}

/// By their names alone: schemas are large, and at nearly every start nothing is missing.
async fn missing(client: &Client) -> Result<Vec<Served>, Error> {
    let wanted = || velero::SERVED.into_iter().chain(holdfast::SERVED);
    let group_versions: BTreeSet<String> = wanted().map(|kind| kind.group_version()).collect();
    let mut served = BTreeSet::new();
    for group_version in group_versions {
        match client.list_api_group_resources(&group_version).await {
            Ok(resources) => served.extend(
                resources.resources.into_iter().map(|resource| (group_version.clone(), resource.name)),
            ),
            Err(kube::Error::Api(status)) if status.code == 404 => (),
            Err(source) => return Err(Error::Discover { group_version, source: Box::new(source) }),
        }
    }
    let is_served = |kind: &Served| served.contains(&(kind.group_version(), kind.plural.to_owned()));
    Ok(wanted().filter(|kind| !is_served(kind)).collect())
}
