//! Tells when a directory of policies may have changed, and reads it then.
//!
//! In: a path. Out: a [`Reading`] whenever what the directory gives is different from before. Events of the file
//! system only say when to look; a slow poll looks as well, for the events that get lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::directory;
use super::source::{Reading, SourceProblem, SourceSnapshot};

/// A reading counts when two looks this far apart agree.
const SETTLE: Duration = Duration::from_millis(200);
/// After an event, wait until none came for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … but no longer than this in all, so that a change is in force within two seconds on a busy disk too.
const QUIET_AT_MOST: Duration = Duration::from_millis(600);
/// How often to look without an event.
const POLL: Duration = Duration::from_secs(10);

/// What a source gives now.
pub type Outcome = Result<SourceSnapshot, SourceProblem>;

/// News of one of several sources, by its place among them.
#[derive(Debug)]
pub struct Update {
    pub source: usize,
    pub outcome: Outcome,
    /// The ConfigMaps that it comes from.
    pub config_maps: Vec<ObjectReference>,
}

/// Sends what `path` gives, and again whenever that changes. Ends when nobody listens any more.
pub async fn follow(source: usize, path: PathBuf, updates: mpsc::Sender<Update>) {
    let watch = Watch::start(&path);
    follow_watched(source, path, updates, watch).await;
}

async fn follow_watched(source: usize, path: PathBuf, updates: mpsc::Sender<Update>, mut watch: Watch) {
    let mut sent: Option<String> = None;
    loop {
        let reading = read(path.clone()).await;
        if watch.cover(&reading.folders) == Coverage::Grown {
            // What changed before the new folders were watched gave no event.
            continue;
        }
        let mark = match &reading.outcome {
            Ok(snapshot) => snapshot.mark(),
            Err(problem) => problem.to_string(),
        };
        if sent.as_ref() != Some(&mark) {
            if updates
                .send(Update { source, outcome: reading.outcome, config_maps: Vec::new() })
                .await
                .is_err()
            {
                return;
            }
            sent = Some(mark);
        }
        tokio::select! {
            () = watch.wake.notified() => quiet(&watch.wake).await,
            () = sleep(watch.poll) => {}
            () = updates.closed() => return,
        }
    }
}

async fn read(path: PathBuf) -> Reading {
    let reading = tokio::task::spawn_blocking(move || directory::read(&path, SETTLE)).await;
    reading.expect("reading a directory does not panic, and its task is never aborted")
}

async fn quiet(wake: &Notify) {
    let end = Instant::now() + QUIET_AT_MOST;
    while timeout_at(end.min(Instant::now() + QUIET), wake.notified()).await.is_ok() {}
}

#[derive(Debug, PartialEq, Eq)]
enum Coverage {
    Same,
    Grown,
}

/// The folders that are watched. Without inotify, or beyond its limits, only the poll is left.
struct Watch {
    wake: Arc<Notify>,
    poll: Duration,
    watcher: Option<RecommendedWatcher>,
    covered: BTreeSet<PathBuf>,
    /// Folders that were removed or renamed since the last look: their watches are gone.
    lost: Arc<Mutex<BTreeSet<PathBuf>>>,
    warned: bool,
}

impl Watch {
    fn start(path: &Path) -> Watch {
        // A relative path that can't be made absolute is polled like any other.
        let root = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let lost = Arc::new(Mutex::new(BTreeSet::new()));
        let wake = Arc::new(Notify::new());
        let handler = handler(root.clone(), Arc::clone(&wake), Arc::clone(&lost));
        let mut watch =
            Watch { wake, poll: POLL, watcher: None, covered: BTreeSet::new(), lost, warned: false };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.warn(&root, &error),
        }
        // The folder above tells when the directory itself, or the link that it is, is exchanged.
        if let Some(parent) = root.parent().filter(|parent| parent.is_dir()) {
            watch.add(parent);
        }
        watch
    }

    fn cover(&mut self, folders: &BTreeSet<PathBuf>) -> Coverage {
        let lost = std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        self.covered.retain(|covered| !lost.iter().any(|lost| covered.starts_with(lost)));
        let gone: Vec<PathBuf> = self.covered.difference(folders).cloned().collect();
        for folder in gone {
            if let Some(watcher) = &mut self.watcher {
                // An error means that the folder is gone, and its watch with it.
                let _unwatched = watcher.unwatch(&folder);
            }
            self.covered.remove(&folder);
        }
        let mut coverage = Coverage::Same;
        for folder in folders {
            if !self.covered.contains(folder) && self.add(folder) {
                self.covered.insert(folder.clone());
                coverage = Coverage::Grown;
            }
        }
        coverage
    }

    fn add(&mut self, folder: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                self.warn(folder, &error);
                false
            }
        }
    }

    fn warn(&mut self, folder: &Path, error: &notify::Error) {
        if !self.warned {
            warn!(folder = %folder.display(), %error, "could not watch a folder, changes in it are found by polling");
            self.warned = true;
        }
    }
}

fn handler(
    root: PathBuf,
    wake: Arc<Notify>,
    lost: Arc<Mutex<BTreeSet<PathBuf>>>,
) -> impl FnMut(notify::Result<notify::Event>) + Send + 'static {
    move |event| {
        // An error, like an overflow, says that events may be missing: a reason to look.
        if let Ok(event) = &event {
            let beside_root = |path: &PathBuf| path.parent() == root.parent() && *path != root;
            if !is_change(event.kind) || (!event.paths.is_empty() && event.paths.iter().all(beside_root)) {
                return;
            }
            if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                lost.lock().unwrap_or_else(PoisonError::into_inner).extend(event.paths.iter().cloned());
            }
        }
        wake.notify_one();
    }
}

/// Reading the files gives events too, and they must not cause the next reading.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Long enough for a slow machine; far below [`POLL`], so that only an event can have caused the reading.
    const SOON: Duration = Duration::from_secs(5);

    struct Followed {
        folder: tempfile::TempDir,
        updates: mpsc::Receiver<Update>,
    }

    impl Followed {
        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("policies").join(name)
        }

        async fn next(&mut self) -> Outcome {
            let update = tokio::time::timeout(SOON, self.updates.recv()).await;
            update.expect("an event wakes the reader").unwrap().outcome
        }

        async fn next_text(&mut self) -> String {
            self.next().await.unwrap().files.into_iter().map(|file| file.text).collect()
        }
    }

    async fn followed(prepare: impl FnOnce(&Path)) -> Followed {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        prepare(&policies);
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(follow(0, policies, sender));
        Followed { folder, updates }
    }

    #[tokio::test]
    async fn an_edit_a_new_folder_and_a_removed_directory_are_each_told_once() {
        let mut followed = followed(|policies| fs::write(policies.join("a.yaml"), "one").unwrap()).await;
        assert_eq!(followed.next_text().await, "one");

        fs::write(followed.path("a.yaml"), "two").unwrap();
        assert_eq!(followed.next_text().await, "two");

        fs::create_dir(followed.path("team")).unwrap();
        fs::write(followed.path("team/b.yaml"), "three").unwrap();
        assert_eq!(followed.next_text().await, "twothree");
        fs::write(followed.path("team/b.yaml"), "four").unwrap();
        assert_eq!(followed.next_text().await, "twofour");

        fs::remove_dir_all(followed.path("")).unwrap();
        // The files go one by one, so that other problems may come first.
        while !matches!(followed.next().await, Err(SourceProblem::Missing { .. })) {}

        fs::create_dir(followed.path("")).unwrap();
        fs::write(followed.path("a.yaml"), "five").unwrap();
        while !matches!(followed.next().await, Ok(snapshot) if snapshot.files[0].text == "five") {}
        fs::write(followed.path("a.yaml"), "six").unwrap();
        assert_eq!(followed.next_text().await, "six");
    }

    #[tokio::test]
    async fn the_switch_of_a_mounted_config_map_is_seen() {
        let mut followed = followed(|policies| {
            fs::create_dir(policies.join("..one")).unwrap();
            fs::write(policies.join("..one/a.yaml"), "one").unwrap();
            symlink("..one", policies.join("..data")).unwrap();
            symlink("..data/a.yaml", policies.join("a.yaml")).unwrap();
        })
        .await;
        assert_eq!(followed.next_text().await, "one");

        fs::create_dir(followed.path("..two")).unwrap();
        fs::write(followed.path("..two/a.yaml"), "two").unwrap();
        symlink("..two", followed.path("..data_tmp")).unwrap();
        fs::rename(followed.path("..data_tmp"), followed.path("..data")).unwrap();
        fs::remove_dir_all(followed.path("..one")).unwrap();
        assert_eq!(followed.next_text().await, "two");
    }

    #[tokio::test]
    async fn a_directory_that_is_a_link_may_be_switched_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("one", "one"), ("two", "two")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("a.yaml"), text).unwrap();
        }
        symlink("one", folder.path().join("current")).unwrap();
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(follow(0, folder.path().join("current"), sender));
        let mut followed = Followed { folder, updates };
        assert_eq!(followed.next_text().await, "one");

        symlink("two", followed.folder.path().join("next")).unwrap();
        fs::rename(followed.folder.path().join("next"), followed.folder.path().join("current")).unwrap();
        assert_eq!(followed.next_text().await, "two");
    }

    #[tokio::test]
    async fn a_change_without_an_event_is_found_by_the_poll() {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("a.yaml"), "one").unwrap();
        let (sender, updates) = mpsc::channel(1);
        let deaf = Watch {
            wake: Arc::default(),
            poll: Duration::from_millis(50),
            watcher: None,
            covered: BTreeSet::new(),
            lost: Arc::default(),
            warned: true,
        };
        tokio::spawn(follow_watched(0, policies, sender, deaf));
        let mut followed = Followed { folder, updates };
        assert_eq!(followed.next_text().await, "one");
        fs::write(followed.path("a.yaml"), "two").unwrap();
        assert_eq!(followed.next_text().await, "two");
    }

    #[tokio::test]
    async fn what_editors_leave_behind_is_no_news() {
        let mut followed = followed(|policies| fs::write(policies.join("a.yaml"), "one").unwrap()).await;
        assert_eq!(followed.next_text().await, "one");
        for name in [".a.yaml.swp", "a.yaml~", "4913", "#a.yaml#", ".#a.yaml", "a.yaml.bak"] {
            fs::write(followed.path(name), "no policy").unwrap();
        }
        // An editor that writes a new file and renames it over the old one.
        fs::write(followed.path(".a.yaml.new"), "two").unwrap();
        fs::rename(followed.path(".a.yaml.new"), followed.path("a.yaml")).unwrap();
        assert_eq!(followed.next_text().await, "two");
    }
}
