//! `holdfast logs`: the log of a backup or a restore, which the daemon gives an address for.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_policy::velero::{Backup, BackupStorageLocation, DownloadTarget, DownloadTargetKind, Restore};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use super::flags::ClusterFlags;
use super::follow::{Followed, Verdict, name_of, to_its_end};
use super::policies;
use crate::controllers::download_request::decide::Server;
use crate::controllers::leader;
use fetch::Fetched;

mod address;
mod fetch;
pub mod forward;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// backup/NAME or restore/NAME.
    #[arg(value_name = "KIND/NAME")]
    run: Target,
    /// Tell how far it is until it has ended, and then its log.
    #[arg(short, long)]
    follow: bool,
    /// How long the daemon may take to give the log's address, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// What became of the wish to read one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Written,
    /// The bucket has none.
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Backup(String),
    Restore(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some(("backup" | "backups", name)) if !name.is_empty() => Ok(Target::Backup(name.to_owned())),
            Some(("restore" | "restores", name)) if !name.is_empty() => Ok(Target::Restore(name.to_owned())),
            _ => Err("write it as backup/NAME or restore/NAME".to_owned()),
        }
    }
}

/// Exits with 0 when a log was written, 1 when there is none, 2 when that could not be found out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { run, follow, timeout, cluster } = args;
    let patience = Duration::from_secs(timeout);
    let namespace = cluster.namespace.clone();
    let done = cluster.with_client(async |client| match &run {
        Target::Backup(name) => {
            let Some(backup) = found::<Backup>(&client, &namespace, name, follow).await? else {
                return Ok(None);
            };
            let location = backup.spec.storage_location.clone();
            let target = DownloadTarget { kind: DownloadTargetKind::BackupLog, name: name.clone() };
            tell(&client, &namespace, target, location, patience).await.map(Some)
        }
        Target::Restore(name) => {
            let Some(restore) = found::<Restore>(&client, &namespace, name, follow).await? else {
                return Ok(None);
            };
            let backups: Api<Backup> = Api::namespaced(client.clone(), &namespace);
            let backup = match &restore.spec.backup_name {
                Some(backup) => {
                    backups.get_opt(backup).await.with_context(|| format!("cannot read backup/{backup}"))?
                }
                None => None,
            };
            let location = backup.and_then(|backup| backup.spec.storage_location);
            let target = DownloadTarget { kind: DownloadTargetKind::RestoreLog, name: name.clone() };
            tell(&client, &namespace, target, location, patience).await.map(Some)
        }
    });
    Ok(match done {
        Err(error) => policies::could_not_run(error),
        Ok(Some(Log::Written)) => policies::CLEAN,
        Ok(Some(Log::Absent)) => {
            eprintln!("there is no log in the bucket: the run ended before it could be written");
            ExitCode::from(policies::PROBLEMS)
        }
        Ok(None) => ExitCode::from(policies::PROBLEMS),
    })
}

/// The run, once it has a log. None where it has none, which is told.
async fn found<K: Followed>(
    client: &Client,
    namespace: &str,
    name: &str,
    follow: bool,
) -> anyhow::Result<Option<K>> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let what = format!("{}/{name}", K::WORD);
    let read = api.get_opt(name).await.with_context(|| format!("cannot read {what}"))?;
    let Some(object) = read else {
        eprintln!("there is no {what} in namespace {namespace}");
        return Ok(None);
    };
    let object = match (object.view().verdict, follow) {
        (Verdict::Unfinished, true) => to_its_end(&api, name).await?,
        (Verdict::Unfinished, false) => {
            eprintln!("{}", object.view().line(&what));
            eprintln!("its log is written when it has ended: --follow waits for it");
            return Ok(None);
        }
        (Verdict::Well | Verdict::Failed | Verdict::Refused, _) => object,
    };
    let view = object.view();
    match view.verdict {
        Verdict::Refused => {
            eprintln!("{}", view.line(&name_of(&object)));
            Ok(None)
        }
        Verdict::Unfinished | Verdict::Well | Verdict::Failed => Ok(Some(object)),
    }
}

/// Writes the log, from the bucket or, where that is out of reach, through the API server from the daemon.
async fn tell(
    client: &Client,
    namespace: &str,
    target: DownloadTarget,
    location: Option<String>,
    patience: Duration,
) -> anyhow::Result<Log> {
    let locations: Api<BackupStorageLocation> = Api::namespaced(client.clone(), namespace);
    let location = match location {
        Some(name) => {
            locations.get_opt(&name).await.with_context(|| format!("cannot read location {name}"))?
        }
        None => None,
    };
    let authority = location.and_then(|location| location.spec.object_storage.ca_cert);
    let authority = authority.as_ref().map(|authority| authority.0.as_slice());
    let url = address::address(client, namespace, target.clone(), Server::Bucket, patience).await?;
    let (host, error) = match fetch::print(&url, authority).await? {
        Fetched::Written => return Ok(Log::Written),
        Fetched::Absent => return Ok(Log::Absent),
        Fetched::Unreachable { host, error } => (host, error),
    };
    eprintln!("{host} can't be reached from here ({error}): asking the daemon for the log");
    let url = address::address(client, namespace, target, Server::Daemon, patience).await?;
    match fetch::print(&reachable(client, namespace, &url).await?, None).await? {
        Fetched::Written => Ok(Log::Written),
        Fetched::Absent => Ok(Log::Absent),
        Fetched::Unreachable { host, error } => Err(error)
            .with_context(|| format!("neither the bucket nor the daemon ({host}) can be reached from here")),
    }
}

/// The daemon's own URL, through the API server where the daemon runs as a pod.
async fn reachable(client: &Client, namespace: &str, url: &str) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse(url).context("the daemon gave no URL")?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases.get_opt(leader::NAME).await.context("cannot find out which pod leads")?;
    let leader = lease.and_then(|lease| lease.spec?.holder_identity);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = match &leader {
        // A name that was made up is none that a pod can have.
        Some(leader) if !leader.contains('_') => {
            pods.get_opt(leader).await.with_context(|| format!("cannot read pod {leader}"))?
        }
        Some(_) | None => None,
    };
    if let (Some(leader), Some(_), Some(port)) = (&leader, pod, url.port_or_known_default()) {
        let address = forward::to_pod(client, namespace, leader, port).await?;
        let moved = url.set_ip_host(address.ip()).and_then(|()| url.set_port(Some(address.port())));
        anyhow::ensure!(moved.is_ok(), "the daemon gave a URL without a host: {url}");
    }
    Ok(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_run_is_named_by_kind_and_name() {
        assert_eq!("backup/a".parse(), Ok(Target::Backup("a".to_owned())));
        assert_eq!("restores/b".parse(), Ok(Target::Restore("b".to_owned())));
        for wrong in ["a", "backup/", "schedule/a"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
