//! Policies in ConfigMaps: one by name, or all that a label selects in one namespace.
//!
//! In: which ConfigMaps. Out: what their keys `*.yaml` and `*.yml` hold together, whenever that changes. The API
//! server's watch tells of changes; a change of several ConfigMaps is taken when it has come to rest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_policy::parse::SourceFile;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::directory::is_policy_file;
use super::source::{SourceProblem, SourceSnapshot};
use super::watch::{Outcome, Update};

/// What is applied together arrives within this …
const QUIET: Duration = Duration::from_millis(300);
/// … and is not waited for longer than this.
const QUIET_AT_MOST: Duration = Duration::from_secs(1);
/// The API server bounds a ConfigMap; this bounds all of a source together.
const TOTAL_BYTES: u64 = 128 << 20;

/// Annotation of a ConfigMap: the Git commit that its policies are from.
pub const GIT_REVISION: &str = "holdfast.dev/git-revision";
/// A branch and a commit, as Flux writes them; what is longer is something else.
const LONGEST_REVISION: usize = 256;

/// The ConfigMaps that make a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMaps {
    pub namespace: String,
    pub which: Which,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Named(String),
    /// A label selector, as `kubectl get -l` takes it.
    Labelled(String),
}

impl fmt::Display for ConfigMaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Named(name) => write!(formatter, "ConfigMap {}/{name}", self.namespace),
            Which::Labelled(selector) => {
                write!(formatter, "ConfigMaps in {} with {selector}", self.namespace)
            }
        }
    }
}

/// Sends what the ConfigMaps hold, and again whenever that changes. Ends when nobody listens any more.
pub async fn follow(source: usize, maps: ConfigMaps, client: kube::Client, updates: mpsc::Sender<Update>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &maps.namespace);
    let config = match &maps.which {
        Which::Named(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        Which::Labelled(selector) => watcher::Config::default().labels(selector),
    };
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    let mut listed: Option<BTreeMap<String, Held>> = None;
    let mut complete = false;
    let mut broken = false;
    let mut sent: Option<String> = None;
    let mut settle: Option<(Instant, Instant)> = None;
    loop {
        // Nothing is waited for until something has changed; then until it is quiet.
        let event = match settle {
            None => events.try_next().await,
            Some((quiet, end)) => match timeout_at(quiet.min(end), events.try_next()).await {
                Ok(event) => event,
                Err(_) => {
                    settle = None;
                    let outcome = outcome(&maps, &held);
                    let mark = mark(&outcome, &held);
                    if sent.as_ref() != Some(&mark) {
                        let config_maps = references(&maps.namespace, &held);
                        if updates.send(Update { source, outcome, config_maps }).await.is_err() {
                            return;
                        }
                        sent = Some(mark);
                    }
                    continue;
                }
            },
        };
        match event {
            Ok(None) => return,
            Err(error) => {
                if !broken {
                    let error = &error as &dyn std::error::Error;
                    warn!(source = %maps, error, "watching policies failed, trying on");
                    broken = true;
                }
                continue;
            }
            Ok(Some(watcher::Event::Init)) => listed = Some(BTreeMap::new()),
            Ok(Some(watcher::Event::InitApply(map))) => {
                let (name, map) = hold(map);
                listed.get_or_insert_default().insert(name, map);
            }
            Ok(Some(watcher::Event::InitDone)) => {
                held = listed.take().unwrap_or_default();
                complete = true;
            }
            Ok(Some(watcher::Event::Apply(map))) => {
                let (name, map) = hold(map);
                held.insert(name, map);
            }
            Ok(Some(watcher::Event::Delete(map))) => {
                held.remove(&map.metadata.name.unwrap_or_default());
            }
        }
        if broken {
            info!(source = %maps, "watching policies works again");
            broken = false;
        }
        if complete && listed.is_none() {
            let now = Instant::now();
            let end = settle.map_or(now + QUIET_AT_MOST, |(_, end)| end);
            settle = Some((now + QUIET, end));
        }
    }
}

/// What counts of a ConfigMap.
#[derive(Debug)]
struct Held {
    uid: Option<String>,
    files: BTreeMap<String, String>,
    git_revision: Option<String>,
}

fn hold(map: ConfigMap) -> (String, Held) {
    let mut files = map.data.unwrap_or_default();
    files.retain(|key, _| is_policy_file(key.as_ref()));
    let annotation = map.metadata.annotations.and_then(|mut annotations| annotations.remove(GIT_REVISION));
    let git_revision =
        annotation.filter(|revision| !revision.is_empty() && revision.len() <= LONGEST_REVISION);
    (map.metadata.name.unwrap_or_default(), Held { uid: map.metadata.uid, files, git_revision })
}

/// Tells whether anything is new. A ConfigMap that was made again with the same content is another one to events.
fn mark(outcome: &Outcome, held: &BTreeMap<String, Held>) -> String {
    let mut mark = match outcome {
        Ok(snapshot) => snapshot.mark(),
        Err(problem) => problem.to_string(),
    };
    for uid in held.values().filter_map(|map| map.uid.as_deref()) {
        mark.push(' ');
        mark.push_str(uid);
    }
    mark
}

fn references(namespace: &str, held: &BTreeMap<String, Held>) -> Vec<ObjectReference> {
    let reference = |(name, map): (&String, &Held)| ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.clone()),
        uid: map.uid.clone(),
        ..ObjectReference::default()
    };
    held.iter().map(reference).collect()
}

/// The commit that all of them name; while some name another one, none is told.
fn git_revision(held: &BTreeMap<String, Held>) -> Option<String> {
    let mut named = held.values().filter_map(|map| map.git_revision.as_ref());
    let first = named.next()?;
    named.all(|other| other == first).then(|| first.clone())
}

fn outcome(maps: &ConfigMaps, held: &BTreeMap<String, Held>) -> Outcome {
    if held.is_empty() {
        return Err(SourceProblem::NoConfigMap { maps: maps.to_string() });
    }
    let total: u64 = held.values().flat_map(|map| map.files.values()).map(|text| text.len() as u64).sum();
    if total > TOTAL_BYTES {
        return Err(SourceProblem::TooLarge { path: maps.to_string().into(), limit: TOTAL_BYTES });
    }
    let mut files = Vec::new();
    for (map, Held { uid: _, files: keys, git_revision: _ }) in held {
        for (key, text) in keys {
            let name = format!("configmap/{}/{map}/{key}", maps.namespace);
            files.push(SourceFile { name, text: text.clone() });
        }
    }
    if files.is_empty() {
        return Err(SourceProblem::Empty { path: maps.to_string().into() });
    }
    Ok(SourceSnapshot::new(files).at_commit(git_revision(held)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps() -> ConfigMaps {
        ConfigMaps { namespace: "velero".to_owned(), which: Which::Labelled("a=b".to_owned()) }
    }

    fn map(name: &str, keys: &[(&str, &str)]) -> ConfigMap {
        let data = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        let mut map = ConfigMap { data: Some(data.collect()), ..ConfigMap::default() };
        map.metadata.name = Some(name.to_owned());
        map
    }

    #[test]
    fn the_policy_files_of_all_config_maps_make_one_set() {
        let held = [
            map("b", &[("shop.yaml", "1"), ("README", "no"), ("shop_test.yaml", "no")]),
            map("a", &[("x.yml", "2")]),
        ];
        let snapshot = outcome(&maps(), &held.into_iter().map(hold).collect()).unwrap();
        let files: Vec<_> = snapshot.files.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
        assert_eq!(files, [("configmap/velero/a/x.yml", "2"), ("configmap/velero/b/shop.yaml", "1")]);
    }

    #[test]
    fn a_commit_is_told_when_all_config_maps_that_name_one_agree() {
        let from = |name: &str, commit: Option<&str>| {
            let mut map = map(name, &[("a.yaml", "1")]);
            map.metadata.annotations = commit.map(|c| [(GIT_REVISION.to_owned(), c.to_owned())].into());
            map
        };
        let told = |maps: [ConfigMap; 3]| git_revision(&maps.into_iter().map(hold).collect());
        let agreed = told([from("a", Some("main@sha1:1")), from("b", None), from("c", Some("main@sha1:1"))]);
        assert_eq!(agreed.as_deref(), Some("main@sha1:1"));
        assert_eq!(told([from("a", Some("1")), from("b", None), from("c", Some("2"))]), None);
        assert_eq!(told([from("a", Some(&"1".repeat(257))), from("b", None), from("c", None)]), None);
    }

    #[test]
    fn what_all_config_maps_hold_together_is_bounded() {
        let text = "#".repeat(usize::try_from(TOTAL_BYTES).unwrap());
        let held = [map("a", &[("a.yaml", &text)]), map("b", &[("b.yaml", "#")])];
        let outcome = outcome(&maps(), &held.into_iter().map(hold).collect());
        assert!(matches!(outcome, Err(SourceProblem::TooLarge { .. })));
    }

    #[test]
    fn no_config_map_and_none_with_policies_are_problems() {
        let none = outcome(&maps(), &BTreeMap::new()).unwrap_err();
        assert_eq!(none.to_string(), "found no ConfigMaps in velero with a=b");
        let held = BTreeMap::from([hold(map("a", &[("README", "no")]))]);
        assert!(matches!(outcome(&maps(), &held), Err(SourceProblem::Empty { .. })));
    }
}
