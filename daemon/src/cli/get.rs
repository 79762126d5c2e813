//! `holdfast get`: objects as tables, or as they are.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, BackupStorageLocation, Restore, Schedule};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, Resource};
use serde_json::{Value, json};

use super::flags::{ClusterFlags, Output};
use super::policies;
use super::status::facts;
use super::table::Paint;
use crate::clock;
use crate::overview::Facts;

mod tables;
pub(super) mod tones;

/// How many objects one answer of the API server brings.
const PAGE: u32 = 500;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    kind: Kind,
    /// Only this one.
    name: Option<String>,
    /// Only those with these labels.
    #[arg(short = 'l', long, conflicts_with = "name")]
    selector: Option<String>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the objects are written: as a table, or whole.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(alias = "backup")]
    Backups,
    #[value(alias = "schedule")]
    Schedules,
    #[value(alias = "restore")]
    Restores,
    #[value(aliases = ["location", "backup-locations", "bsl"])]
    Locations,
    #[value(aliases = ["policy", "policysets", "policyset"])]
    Policies,
}

impl Kind {
    fn resource(self) -> ApiResource {
        fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
            ApiResource::erase::<K>(&())
        }
        match self {
            Kind::Backups => of::<Backup>(),
            Kind::Schedules => of::<Schedule>(),
            Kind::Restores => of::<Restore>(),
            Kind::Locations => of::<BackupStorageLocation>(),
            Kind::Policies => of::<PolicySet>(),
        }
    }
}

/// Exits with 0 when there was something to show, 1 when there is none of that name, 2 when that could not be found out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { kind, name, selector, cluster, output } = args;
    let resource = kind.resource();
    let namespace = cluster.namespace.clone();
    let read = cluster.with_client(async |client| {
        let objects = match &name {
            Some(name) => one(&client, &namespace, &resource, name).await?,
            None => Some(all(&client, &namespace, &resource, selector.as_deref()).await?),
        };
        let facts = match (output, kind) {
            (Output::Json | Output::Yaml, _) | (_, Kind::Backups | Kind::Restores) => Facts::default(),
            (Output::Text, Kind::Schedules | Kind::Locations | Kind::Policies) => {
                facts(&client, &namespace).await?
            }
        };
        Ok(objects.map(|objects| (objects, facts)))
    });
    let (objects, facts) = match read {
        Err(error) => return Ok(policies::could_not_run(error)),
        Ok(None) => {
            eprintln!("there is no {} {} in namespace {namespace}", resource.kind, name.unwrap_or_default());
            return Ok(ExitCode::from(policies::PROBLEMS));
        }
        Ok(Some(read)) => read,
    };
    let text = match output {
        Output::Text => match tables::table(kind, &objects, &facts, clock::system()()) {
            Ok(table) if table.is_empty() => format!("no {} in namespace {namespace}\n", resource.plural),
            Ok(table) => table.text(Paint::of_output()),
            Err(error) => return Ok(policies::could_not_run(error)),
        },
        Output::Json | Output::Yaml => match (&name, objects.as_slice()) {
            (Some(_), [object]) => output.value(object)?,
            _ => output.value(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))?,
        },
    };
    policies::print(&text)?;
    Ok(policies::CLEAN)
}

async fn one(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
    name: &str,
) -> anyhow::Result<Option<Vec<Value>>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let found = api.get_opt(name).await.with_context(|| format!("cannot read {} {name}", resource.kind))?;
    found.map(|object| Ok(vec![whole(object, resource)?])).transpose()
}

async fn all(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
    selector: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let mut objects = Vec::new();
    let mut parameters = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
    parameters.limit = Some(PAGE);
    loop {
        let page = api.list(&parameters).await.with_context(|| format!("cannot list {}", resource.plural))?;
        for object in page.items {
            objects.push(whole(object, resource)?);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if parameters.continue_token.as_ref() == Some(&token) => {
                bail!("the API server repeats a page of {}", resource.plural)
            }
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(objects),
        }
    }
}

/// What came in a list says no longer what it is.
fn whole(mut object: DynamicObject, resource: &ApiResource) -> anyhow::Result<Value> {
    object.types.get_or_insert_with(|| kube::core::TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    });
    object.metadata.managed_fields = None;
    serde_json::to_value(object).context("writing an object as JSON")
}
