//! What tells a restored pod that a volume is complete: an empty file in it, named after the restore. Velero's helper looks
//! for the same.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// In each volume, for as long as its restore lasts.
pub const FOLDER: &str = ".velero";

const POLL: Duration = Duration::from_secs(1);

/// Says that the volume is complete.
pub(super) fn write(volume: &Path, restore: &str) -> io::Result<()> {
    let folder = volume.join(FOLDER);
    // Files of an earlier restore came with the volume; a link would lead elsewhere.
    remove(&folder)?;
    fs::create_dir(&folder)?;
    fs::write(folder.join(restore), "")?;
    // Whoever the pod runs as removes it.
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))
}

/// Returns once every volume below `restores` is complete, without the files that said so.
pub async fn wait_for_all(restores: &Path, restore: &str) -> io::Result<()> {
    loop {
        let mut volumes = Vec::new();
        for entry in fs::read_dir(restores)? {
            let path = entry?.path();
            if path.is_dir() {
                volumes.push(path);
            }
        }
        match volumes.iter().find(|volume| !volume.join(FOLDER).join(restore).exists()) {
            Some(waiting) => tracing::info!(volume = %waiting.display(), "waiting for the files of a volume"),
            None => {
                for volume in &volumes {
                    // The application may start with it there.
                    if let Err(error) = remove(&volume.join(FOLDER)) {
                        tracing::warn!(volume = %volume.display(), %error, "left a folder in the volume");
                    }
                }
                return Ok(());
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(folder),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_goes_on_when_the_last_of_its_volumes_is_complete() {
        let restores = tempfile::tempdir().unwrap();
        let volume = |name: &str| restores.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir(volume(name)).unwrap();
        }
        write(&volume("a"), "other").unwrap();
        write(&volume("a"), "uid").unwrap();
        let waiting = tokio::spawn({
            let folder = restores.path().to_owned();
            async move { wait_for_all(&folder, "uid").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        write(&volume("b"), "uid").unwrap();
        waiting.await.unwrap().unwrap();
        assert!(!volume("a").join(FOLDER).exists() && !volume("b").join(FOLDER).exists());
    }
}
