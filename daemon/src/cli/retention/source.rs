//! Backups, Schedules and locations, from a cluster or from a file.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use holdfast_policy::ownership::Cluster;
use holdfast_policy::velero::{Backup, BackupStorageLocation, Schedule};
use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app;
use crate::cli::flags::Access;
use crate::controllers::watched::Record;

/// Larger files are refused: so many backups are read from the cluster.
const LARGEST: u64 = 512 * 1024 * 1024;
/// How many objects one answer of the API server brings.
const PAGE: u32 = 500;

pub(super) struct Objects {
    /// In the order of their names, by start within a schedule.
    pub(super) backups: Vec<Backup>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) locations: Vec<BackupStorageLocation>,
    /// Whose backups are judged; without a name all are.
    pub(super) cluster: Option<Cluster>,
}

pub(super) fn file(path: &Path, cluster: Option<Cluster>) -> anyhow::Result<Objects> {
    let name = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
    file.take(LARGEST + 1).read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > LARGEST {
        bail!("{name} is larger than {} MiB", LARGEST / 1024 / 1024);
    }
    parse(&text, cluster).with_context(|| format!("cannot use {name}"))
}

fn parse(text: &str, cluster: Option<Cluster>) -> anyhow::Result<Objects> {
    let documents = match serde_json::from_str::<Value>(text) {
        Ok(value) => vec![value],
        Err(_) => holdfast_policy::yaml::documents(text)?,
    };
    let mut objects = Objects { backups: Vec::new(), schedules: Vec::new(), locations: Vec::new(), cluster };
    for value in documents.into_iter().flat_map(flatten) {
        match value["kind"].as_str() {
            Some("Backup") => objects.backups.push(read(value)?),
            Some("Schedule") => objects.schedules.push(read(value)?),
            Some("BackupStorageLocation") => objects.locations.push(read(value)?),
            Some(_) => (),
            None => bail!("an object without kind"),
        }
    }
    Ok(objects)
}

fn read<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    let (kind, name) = (value["kind"].clone(), value["metadata"]["name"].clone());
    serde_json::from_value(value).with_context(|| format!("{kind} {name} cannot be read"))
}

/// A list's objects; anything else is one.
fn flatten(value: Value) -> Vec<Value> {
    let is_list = value["kind"].as_str().is_none_or(|kind| kind.ends_with("List"));
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.into_iter().flat_map(flatten).collect(),
        Value::Object(mut fields) if is_list && fields.get("items").is_some_and(Value::is_array) => {
            fields.remove("items").map(flatten).unwrap_or_default()
        }
        single => vec![single],
    }
}

pub(super) fn cluster(
    access: &Access,
    namespace: &str,
    cluster_name: Option<&str>,
) -> anyhow::Result<Objects> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = app::connect(access).await?;
        Ok(Objects {
            backups: all(&client, namespace).await?,
            schedules: all(&client, namespace).await?,
            locations: all(&client, namespace).await?,
            cluster: Some(app::cluster_name::find(&client, cluster_name).await?),
        })
    })
}

pub(in crate::cli) async fn all<K: Record>(client: &kube::Client, namespace: &str) -> anyhow::Result<Vec<K>> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&parameters).await.with_context(|| format!("cannot list {}s", K::kind(&())))?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart_and_other_kinds_passed_over() {
        let text = "kind: Backup\nmetadata: {name: a}\n---\n---\nkind: List\nitems:\n- {kind: Backup, metadata: {name: b}}\n\
                    - {kind: Schedule, metadata: {name: s}, spec: {schedule: '@daily', template: {}}}\n\
                    - {kind: Pod, metadata: {name: p}}\n";
        let objects = parse(text, None).unwrap();
        assert_eq!((objects.backups.len(), objects.schedules.len(), objects.locations.len()), (2, 1, 0));
        let list = r#"{"kind": "BackupList", "items": [{"kind": "Backup", "metadata": {"name": "a"}}]}"#;
        assert_eq!(parse(list, None).unwrap().backups.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let told = |text: &str| parse(text, None).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert_eq!(told("metadata: {name: a}"), "an object without kind");
        let wrong = told(r#"{"kind": "Backup", "metadata": {"name": "a"}, "status": {"phase": "Dreaming"}}"#);
        assert!(wrong.starts_with(r#""Backup" "a" cannot be read: "#), "{wrong}");
    }
}
