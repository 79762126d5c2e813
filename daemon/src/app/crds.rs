//! The CustomResourceDefinitions at the start: which of Velero's kinds the cluster serves, and creating what it lacks.
//!
//! Never touches a definition that is there, whoever made it.

use std::collections::BTreeSet;
use std::time::Duration;

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
    let lacks_velero_s = missing.iter().any(|definition| definition.spec.group == VELERO_GROUP);
    match absent {
        Absent::Refuse => {
            let required = missing.iter().filter(|definition| definition.spec.group == VELERO_GROUP);
            let names: Vec<String> = required.map(ResourceExt::name_any).collect();
            if names.is_empty() { Ok(Kinds::ThereBefore) } else { Err(Error::Missing { names }) }
        }
        Absent::Create => {
            for definition in &missing {
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
            let names = missing(client).await?.iter().map(ResourceExt::name_any).collect();
            Err(Error::NotServed { names })
        }
    }
}

async fn missing(client: &Client) -> Result<Vec<CustomResourceDefinition>, Error> {
    let definitions = all();
    let wanted: BTreeSet<String> = definitions.iter().flat_map(group_versions).collect();
    let mut served = BTreeSet::new();
    for group_version in wanted {
        match client.list_api_group_resources(&group_version).await {
            Ok(resources) => served.extend(
                resources.resources.into_iter().map(|resource| (group_version.clone(), resource.name)),
            ),
            Err(kube::Error::Api(status)) if status.code == 404 => (),
            Err(source) => return Err(Error::Discover { group_version, source: Box::new(source) }),
        }
    }
    let is_served = |definition: &CustomResourceDefinition| {
        group_versions(definition)
            .all(|group_version| served.contains(&(group_version, definition.spec.names.plural.clone())))
    };
    Ok(definitions.into_iter().filter(|definition| !is_served(definition)).collect())
}

fn group_versions(definition: &CustomResourceDefinition) -> impl Iterator<Item = String> {
    definition.spec.versions.iter().map(|version| format!("{}/{}", definition.spec.group, version.name))
}
