//! `holdfast import`: the Schedules and locations of a Velero installation as policies.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use holdfast_policy::compile::Target;
use holdfast_policy::import::{Existing, Imported, Remark, import};
use holdfast_policy::velero::{BackupStorageLocation, Kind, Schedule, VolumeSnapshotLocation};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::flags::{Access, ClusterFlags};
use super::policies;
use crate::app;
use crate::cluster::patience::until_admitted;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// A folder for one file per document, made where it is missing; nothing in it is written over. Without it all
    /// documents go to standard output.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Exits with 0 when policies say everything that the objects say, 1 when they say less (each on standard error), 2 when
/// the objects could not be read or the policies not be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Args { cluster: ClusterFlags { namespace, access }, output_dir } = args;
    let written = runtime.block_on(existing(&access, &namespace)).and_then(|existing| {
        let target = Target { namespace, source: "policies".to_owned(), cluster_name: None };
        let imported = import(&existing, &target);
        write(&imported, output_dir.as_deref())?;
        Ok(imported)
    });
    match written {
        Err(error) => Ok(policies::could_not_run(error)),
        Ok(Imported { documents: _, remarks }) => {
            for remark in &remarks {
                eprintln!("{remark}");
            }
            match remarks.iter().any(Remark::is_a_loss) {
                true => Ok(ExitCode::from(policies::PROBLEMS)),
                false => Ok(policies::CLEAN),
            }
        }
    }
}

async fn existing(access: &Access, namespace: &str) -> anyhow::Result<Existing> {
    let client = app::connect(access).await?;
    Ok(Existing {
        storage_locations: all::<BackupStorageLocation>(&client, namespace).await?,
        snapshot_locations: all::<VolumeSnapshotLocation>(&client, namespace).await?,
        schedules: all::<Schedule>(&client, namespace).await?,
    })
}

/// All objects of a kind, with the fields that our types don't know.
async fn all<K: Kind>(client: &Client, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    // A kind that nobody has asked for yet is refused for a moment.
    let everything = ListParams::default();
    let listed = until_admitted(|| api.list(&everything)).await;
    let listed = listed.with_context(|| format!("cannot list {} in namespace {namespace}", K::PLURAL))?;
    let values = listed.items.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    values.with_context(|| format!("cannot read {}", K::PLURAL))
}

fn write(imported: &Imported, folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else {
        let mut text = String::new();
        for document in &imported.documents {
            // Writing to a String can't fail.
            let _written = write!(text, "---\n{}", document.text);
        }
        return Ok(policies::print(&text)?);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = |stem: &str| folder.join(format!("{stem}.yaml"));
    for document in &imported.documents {
        if path(&document.stem).exists() {
            bail!("{} exists already, and nothing is written over", path(&document.stem).display());
        }
    }
    for document in &imported.documents {
        let path = path(&document.stem);
        fs::write(&path, &document.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
