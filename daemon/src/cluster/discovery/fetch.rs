//! Fetches the discovery documents: two requests where the server aggregates them, one for each group version
//! where it does not.

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, APIVersions};
use kube::core::discovery::v2::{ACCEPT_AGGREGATED_DISCOVERY_V2, APIGroupDiscoveryList};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::request::{self, Error};
use super::{Discovery, FailedGroup, GroupVersion, aggregated, legacy};

/// Documents of group versions asked for at once.
const IN_FLIGHT: usize = 8;

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

pub(in super::super) async fn discover(client: &kube::Client) -> Result<Discovery, Error> {
    let mut versions = Vec::new();
    for root in ["/api", "/apis"] {
        let document = request::fetch(client, root, ACCEPT_AGGREGATED_DISCOVERY_V2).await?;
        let Kind { kind } = read(root, &document)?;
        versions.extend(match kind.as_str() {
            "APIGroupDiscoveryList" => {
                aggregated::group_versions(read::<APIGroupDiscoveryList>(root, &document)?)
            }
            "APIVersions" => {
                let core = read::<APIVersions>(root, &document)?;
                each(client, legacy::core_group_versions(core)).await
            }
            _ => {
                let groups = read::<APIGroupList>(root, &document)?;
                each(client, legacy::group_versions(groups)).await
            }
        });
    }
    Ok(Discovery::from_versions(versions))
}

async fn each(client: &kube::Client, wanted: Vec<legacy::Wanted>) -> Vec<GroupVersion> {
    futures::stream::iter(wanted)
        .map(|wanted| async move {
            match resources(client, &wanted.path).await {
                Ok(resources) => GroupVersion::Served(legacy::resources(&wanted, resources)),
                Err(error) => GroupVersion::Failed(FailedGroup {
                    group: wanted.group,
                    version: wanted.version,
                    reason: error.to_string(),
                }),
            }
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await
}

async fn resources(client: &kube::Client, path: &str) -> Result<APIResourceList, Error> {
    read(path, &request::fetch(client, path, request::JSON).await?)
}

fn read<T: DeserializeOwned>(path: &str, document: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(document).map_err(|source| Error::Malformed { path: path.into(), source })
}
