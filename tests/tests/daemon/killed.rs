//! A daemon that is killed in the middle of a backup: what stands in the bucket then is either no backup or all of it,
//! and the next daemon brings it to its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, ensure};
use flate2::read::GzDecoder;
use holdfast_policy::velero::{Backup, BackupPhase, LocationPhase};
use holdfast_tests::{Daemon, S3Server};

use crate::home::{Home, backup_of};
use crate::proxy::{Proxy, When};

/// Moments at which the daemon is killed, besides the one right after a Backup's creation.
const MOMENTS: usize = 9;

fn files_of(backup: &str) -> BTreeSet<String> {
    let suffixes = [
        ".tar.gz",
        "-logs.gz",
        "-results.gz",
        "-resource-list.json.gz",
        "-volumeinfo.json.gz",
        "-itemoperations.json.gz",
        "-podvolumebackups.json.gz",
        "-volumesnapshots.json.gz",
    ];
    let beside = suffixes.iter().map(|suffix| format!("{backup}{suffix}"));
    beside.chain(["velero-backup.json".to_owned()]).collect()
}

fn files_in(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    if !folder.exists() {
        return Ok(BTreeSet::new());
    }
    let names = std::fs::read_dir(folder).context("listing a backup's folder")?;
    names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn check_archive(path: &Path) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).context("opening the archive")?));
    let mut entries = 0;
    for entry in archive.entries()? {
        std::io::copy(&mut entry?, &mut std::io::sink()).context("reading the archive")?;
        entries += 1;
    }
    ensure!(entries > 3, "{entries} entries");
    Ok(())
}

/// Kills the daemon once the request is stopped; gives its successor.
async fn killed_at(
    home: &Home,
    proxy: &Proxy,
    daemon: Daemon,
    name: &str,
    (pass, when): (usize, When),
    folder: &Path,
    successor: &[&str],
) -> anyhow::Result<Daemon> {
    proxy.set_trap(&format!("/backups/{name}/"), pass, when);
    home.runs.create(&Backup::new(name, backup_of(&home.namespace))).await?;
    proxy.caught().await;
    daemon.kill()?;
    proxy.remove_trap();
    let left = files_in(folder)?;
    ensure!(!left.contains("velero-backup.json") || left == files_of(name), "{left:?}");
    home.daemon(successor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_whichever_moment_a_daemon_is_killed_the_next_one_completes_its_backup() -> anyhow::Result<()> {
    let home = Home::new("killed").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    let proxy = Proxy::start(server.endpoint()).await?;
    let folder = |name: &str| server.root().join("bucket/backups").join(name);
    let mut daemon = home.daemon(&[]).await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(proxy.endpoint(), "bucket").await?;
    home.location_is(LocationPhase::Available).await?;

    let mut names = Vec::new();
    for moment in 0..MOMENTS {
        let name = format!("before-{moment}");
        daemon = killed_at(&home, &proxy, daemon, &name, (moment, When::BeforeItIsSent), &folder(&name), &[])
            .await?;
        names.push(name);
    }
    // The last is the metadata file: that it was written is all that is lost.
    let name = "after-the-last".to_owned();
    daemon =
        killed_at(&home, &proxy, daemon, &name, (MOMENTS - 1, When::BeforeTheAnswer), &folder(&name), &[])
            .await?;
    ensure!(files_in(&folder(&name))?.contains("velero-backup.json"));
    names.push(name);

    let name = "at-once".to_owned();
    home.runs.create(&Backup::new(&name, backup_of(&home.namespace))).await?;
    daemon.kill()?;
    names.push(name);
    let _daemon = home.daemon(&[]).await?;

    for name in &names {
        home.backup_is(name, BackupPhase::Completed).await.with_context(|| format!("backup {name}"))?;
        let left = files_in(&folder(name))?;
        ensure!(left == files_of(name), "{name}: {left:?}");
        check_archive(&folder(name).join(format!("{name}.tar.gz"))).with_context(|| name.clone())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_daemon_was_killed_may_have_failed_and_nothing_of_it_stays() -> anyhow::Result<()> {
    let home = Home::new("given-up").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    let proxy = Proxy::start(server.endpoint()).await?;
    let folder = |name: &str| server.root().join("bucket/backups").join(name);
    let mut daemon = home.daemon(&[]).await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(proxy.endpoint(), "bucket").await?;
    home.location_is(LocationPhase::Available).await?;
    // Before the archive, behind it, and before the metadata file: that one is left to be written, whatever was asked for.
    for (pass, phase) in
        [(0, BackupPhase::Failed), (4, BackupPhase::Failed), (MOMENTS - 1, BackupPhase::Completed)]
    {
        let name = format!("killed-{pass}");
        let moment = (pass, When::BeforeItIsSent);
        let fail = ["--on-restart=fail"];
        daemon = killed_at(&home, &proxy, daemon, &name, moment, &folder(&name), &fail).await?;
        home.backup_is(&name, phase).await.with_context(|| format!("backup {name}"))?;
        let expected = if phase == BackupPhase::Completed { files_of(&name) } else { BTreeSet::new() };
        let left = files_in(&folder(&name))?;
        ensure!(left == expected, "{name}: {left:?}");
    }
    Ok(())
}
