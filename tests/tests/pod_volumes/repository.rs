//! What goes into a repository comes out of it, here and with the stock `restic`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use holdfast::repository::{Deletion, Error, Forgotten, Sparse, VolumeRestore};
use holdfast_tests::restic;
use pretty_assertions::assert_eq;
use tokio_util::sync::CancellationToken;

use crate::place::{PASSWORD, Place, back_up, contents, fill, noise, restore_of, tags};

#[tokio::test]
async fn a_volume_comes_back_as_it_was() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    assert!(!repository.exists().await?);
    assert!(
        matches!(back_up(&repository, &volume, "one").await, Err(error) if error.to_string().contains("no repository"))
    );
    repository.create().await?;
    assert!(repository.exists().await?);
    let snapshot = back_up(&repository, &volume, "one").await?;
    let restore = restore_of(&snapshot.id, &target);
    let progress = restore.progress.clone();
    repository.restore(restore).await?;
    assert_eq!(contents(&target)?, contents(&volume)?);
    let transferred = progress.read();
    assert!(transferred.done == transferred.total && transferred.done >= 3_000_000, "{transferred:?}");
    Ok(())
}

#[tokio::test]
async fn a_volume_that_did_not_change_adds_nothing() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let volume = place.volume("data")?;
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let first = back_up(&repository, &volume, "one").await?;
    assert!(first.bytes >= 3_000_000 && first.added_bytes >= 3_000_000, "{first:?}");
    let packs = place.files("data").len();
    let second = back_up(&repository, &volume, "two").await?;
    assert_eq!(second.added_bytes, 0);
    assert_eq!(place.files("data").len(), packs);
    Ok(())
}

#[tokio::test]
async fn the_stock_restic_reads_what_was_written() -> anyhow::Result<()> {
    if !restic::is_there() {
        return Ok(());
    }
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    let listed = restic::restic(&place.path(), PASSWORD, ["snapshots", "--json"]).await?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    assert_eq!(listed[0]["id"], snapshot.id);
    assert_eq!(listed[0]["hostname"], "velero");
    assert!(
        listed[0]["tags"].as_array().is_some_and(|tags| tags.contains(&"volume=data".into())),
        "{listed}"
    );
    let folder = target.display().to_string();
    restic::restic(&place.path(), PASSWORD, ["restore", &snapshot.id, "--target", &folder]).await?;
    assert_eq!(contents(&target)?, contents(&volume)?);
    restic::restic(&place.path(), PASSWORD, ["check", "--read-data"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_repository_of_the_stock_restic_can_be_restored() -> anyhow::Result<()> {
    if !restic::is_there() {
        return Ok(());
    }
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    restic::restic(&place.path(), PASSWORD, ["init"]).await?;
    let folder = volume.display().to_string();
    restic::restic(&place.path(), PASSWORD, ["backup", &folder]).await?;
    let repository = place.repository()?;
    let ids = repository.snapshots().await?;
    repository.restore(restore_of(&ids[0], &target)).await?;
    let below = target.join(volume.strip_prefix("/")?);
    assert_eq!(contents(&below)?, contents(&volume)?);
    Ok(())
}

#[tokio::test]
async fn another_password_is_told_and_nothing_is_made_anew() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let volume = place.volume("data")?;
    place.repository()?.create().await?;
    let other = place.repository_with("another")?;
    assert!(matches!(other.create().await, Err(Error::Password { .. })));
    assert!(back_up(&other, &volume, "one").await.unwrap_err().to_string().contains("another password"));
    assert_eq!(place.files("keys").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_restore_into_a_volume_with_files_makes_those_of_the_snapshot_and_leaves_others()
-> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    fs::create_dir(target.join("db"))?;
    fs::write(target.join("db/table"), noise(4_000_000))?;
    fs::write(target.join("db/other"), "stays")?;
    fs::write(target.join("link"), "no link")?;
    repository.restore(restore_of(&snapshot.id, &target)).await?;
    let mut expected = contents(&volume)?;
    let mut found = contents(&target)?;
    assert!(found.remove(std::path::Path::new("db/other")).is_some());
    // Its time is that of the last change in it.
    for contents in [&mut expected, &mut found] {
        contents.remove(std::path::Path::new("db"));
    }
    assert_eq!(found, expected);
    Ok(())
}

#[tokio::test]
async fn links_in_a_volume_lead_no_restore_out_of_it() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target, outside) =
        (place.volume("data")?, place.volume("target")?, place.volume("outside")?);
    fill(&volume)?;
    fs::write(outside.join("table"), "of the node")?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    symlink(&outside, target.join("db"))?;
    symlink(outside.join("table"), target.join("nothing"))?;
    repository.restore(restore_of(&snapshot.id, &target)).await?;
    assert_eq!(contents(&target)?, contents(&volume)?);
    assert_eq!(fs::read_to_string(outside.join("table"))?, "of the node");
    assert_eq!(contents(&outside)?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn special_files_modes_attributes_and_times_come_back() -> anyhow::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, XattrFlags};

    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket)] {
        rustix::fs::mknodat(CWD, volume.join(name), kind, Mode::RUSR, 0)?;
    }
    fs::write(volume.join("program"), "runs as its owner")?;
    fs::set_permissions(volume.join("program"), fs::Permissions::from_mode(0o4751))?;
    fs::create_dir(volume.join("shared"))?;
    fs::set_permissions(volume.join("shared"), fs::Permissions::from_mode(0o3777))?;
    // Not every file system has them.
    let set = |path: &Path| rustix::fs::setxattr(path, "user.note", b"mine", XattrFlags::empty());
    let has_attributes = set(&volume.join("program")).is_ok() && set(&volume.join("shared")).is_ok();
    let long_ago = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    fs::File::open(volume.join("program"))?.set_modified(long_ago)?;
    fs::File::open(volume.join("shared"))?.set_modified(long_ago)?;
    fs::write(target.join("program"), "runs as its owner")?;
    if has_attributes {
        rustix::fs::setxattr(target.join("program"), "user.other", b"gone", XattrFlags::empty())?;
    }

    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    repository.restore(restore_of(&snapshot.id, &target)).await?;
    for name in ["pipe", "socket", "program", "shared"] {
        let (made, kept) =
            (fs::symlink_metadata(target.join(name))?, fs::symlink_metadata(volume.join(name))?);
        assert_eq!((made.mode(), made.modified()?), (kept.mode(), kept.modified()?), "{name}");
    }
    if has_attributes {
        for name in ["program", "shared"] {
            let mut value = [0; 16];
            let length = rustix::fs::getxattr(target.join(name), "user.note", &mut value)?;
            assert_eq!(&value[..length], b"mine");
        }
        let mut value = [0; 16];
        assert!(rustix::fs::getxattr(target.join("program"), "user.other", &mut value).is_err());
    }
    Ok(())
}

#[tokio::test]
async fn blocks_of_zeros_become_holes_and_never_what_was_there() -> anyhow::Result<()> {
    const MIB: usize = 1 << 20;
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    let mut content = noise(MIB);
    content.resize(40 * MIB, 0);
    content.extend(noise(MIB));
    for name in ["new", "old"] {
        fs::write(volume.join(name), &content)?;
    }
    let mut old = content.clone();
    old[20 * MIB..21 * MIB].fill(b'x');
    fs::write(target.join("old"), old)?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    let restore = VolumeRestore { sparse: Sparse::Holes, ..restore_of(&snapshot.id, &target) };
    repository.restore(restore).await?;
    for name in ["new", "old"] {
        assert!(fs::read(target.join(name))? == content, "{name} has another content");
    }
    let on_disk = fs::metadata(target.join("new"))?.blocks() * 512;
    assert!(on_disk < 20 * MIB as u64, "{on_disk} bytes");
    Ok(())
}

#[tokio::test]
async fn data_that_was_altered_is_not_restored() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    let packs = place.files("data");
    let largest = packs.iter().max_by_key(|path| fs::metadata(path).map_or(0, |it| it.len()));
    let largest = largest.expect("a pack");
    let mut bytes = fs::read(largest)?;
    bytes[1000] ^= 1;
    fs::set_permissions(largest, fs::Permissions::from_mode(0o600))?;
    fs::write(largest, bytes)?;
    let restored = repository.restore(restore_of(&snapshot.id, &target)).await;
    assert!(matches!(restored, Err(Error::Damaged { .. })), "{restored:?}");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_restore_ends() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let snapshot = back_up(&repository, &volume, "one").await?;
    let restore = restore_of(&snapshot.id, &target);
    restore.cancel.cancel();
    assert!(matches!(repository.restore(restore).await, Err(Error::Cancelled)));
    Ok(())
}

#[tokio::test]
async fn a_snapshot_of_another_backup_is_not_forgotten() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let volume = place.volume("data")?;
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let one = back_up(&repository, &volume, "one").await?;
    let mixed = repository.forget(&one.id, &tags("two")).await;
    assert!(
        matches!(mixed, Err(Error::Mixed { ref missing, .. }) if missing == "backup-uid=two"),
        "{mixed:?}"
    );
    assert!(matches!(repository.forget(&one.id[..8], &tags("one")).await, Ok(Forgotten::Before)));
    assert_eq!(repository.snapshots().await?, std::slice::from_ref(&one.id));
    assert_eq!(repository.forget(&one.id, &tags("one")).await?, Forgotten::Now);
    assert_eq!(repository.forget(&one.id, &tags("one")).await?, Forgotten::Before);
    Ok(())
}

#[tokio::test]
async fn what_the_last_snapshot_held_is_deleted_and_what_another_holds_is_not() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (volume, target) = (place.volume("data")?, place.volume("target")?);
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let one = back_up(&repository, &volume, "one").await?;
    fs::write(volume.join("db/table"), noise(5_000_000).split_off(3_500_000))?;
    let two = back_up(&repository, &volume, "two").await?;
    repository.forget(&one.id, &tags("one")).await?;
    repository.prune(Deletion::Marked).await?;
    repository.prune(Deletion::Now).await?;
    repository.restore(restore_of(&two.id, &target)).await?;
    assert_eq!(contents(&target)?, contents(&volume)?);
    repository.forget(&two.id, &tags("two")).await?;
    repository.prune(Deletion::Now).await?;
    let left = ["data", "snapshots", "index"].map(|folder| place.files(folder).len());
    assert_eq!(left, [0, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_backup_leaves_no_snapshot() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let volume = place.volume("data")?;
    fill(&volume)?;
    let repository = place.repository()?;
    repository.create().await?;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let backup = holdfast::repository::VolumeBackup {
        folder: volume,
        tags: tags("one"),
        progress: Default::default(),
        cancel,
    };
    assert!(matches!(repository.backup(backup).await, Err(Error::Cancelled)));
    assert_eq!(repository.snapshots().await?, Vec::<String>::new());
    Ok(())
}
