//! Restores by the engine itself, of archives that a test writes by hand, into a control plane that tests share.

#![expect(clippy::unwrap_used, reason = "only tests use it, and fail by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::cluster::Cluster;
use holdfast::engine::RunOptions;
use holdfast::engine::pod_volumes::PodVolumes;
use holdfast::engine::restore::{Depth, Error, Outcome, Preview, Progress, RestoreRun, Timeouts, preview};
use holdfast::rights::Role;
use holdfast::store::{BackupStore, LocationSettings, RestoreFile};
use holdfast_policy::velero;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Testbed;

/// A bucket of one's own, beside a control plane that all tests of a file share.
pub struct Bench {
    pub testbed: &'static Testbed,
    pub client: Client,
    /// May restore, and run hooks, and nothing else.
    restorer: Client,
    bucket: TempDir,
    pub store: BackupStore,
}

/// What a restore left behind.
pub struct Restored {
    pub outcome: Outcome,
    pub list: BTreeMap<String, Vec<String>>,
    pub results: Value,
}

impl Bench {
    pub async fn start() -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let bucket = tempfile::tempdir().unwrap();
        std::fs::create_dir(bucket.path().join("b")).unwrap();
        let spec = serde_json::from_value(json!({
            "provider": "local", "config": {"path": bucket.path()}, "objectStorage": {"bucket": "b"},
        }))
        .unwrap();
        let settings = LocationSettings::parse("default", &spec, None, None).unwrap();
        let store = BackupStore::open(&settings).await.unwrap();
        let account = testbed.account("default", &[Role::Observe, Role::Restore, Role::Hooks]).await.unwrap();
        Self { testbed, client: testbed.client().unwrap(), restorer: account.client, bucket, store }
    }

    /// A name that no other test uses.
    pub async fn unused_name(&self, prefix: &str) -> String {
        let name = self.testbed.namespace(prefix).await.unwrap();
        format!("{name}-r")
    }

    pub fn put_backup(&self, name: &str, archive: &[u8]) {
        let folder = self.bucket.path().join("b/backups").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let backup = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name}});
        std::fs::write(folder.join("velero-backup.json"), backup.to_string()).unwrap();
        std::fs::write(folder.join(format!("{name}.tar.gz")), archive).unwrap();
    }

    pub fn put_file(&self, backup: &str, file: &str, content: &Value) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content.to_string().as_bytes()).unwrap();
        let path = self.bucket.path().join("b/backups").join(backup).join(format!("{backup}-{file}"));
        std::fs::write(path, packed.finish().unwrap()).unwrap();
    }

    /// From now on no file of a restore can be written.
    pub fn refuse_restore_files(&self) {
        std::fs::write(self.bucket.path().join("b/restores"), "a file where the folder would be").unwrap();
    }

    pub async fn run(&self, name: &str, spec: Value) -> Result<Outcome, Error> {
        self.run_as(json!({"name": name, "namespace": "default"}), spec).await
    }

    /// Runs a Restore of this metadata; its namespace is where the ConfigMaps of item actions are looked for.
    pub async fn run_as(&self, metadata: Value, spec: Value) -> Result<Outcome, Error> {
        holdfast::engine::restore::run(self.run_of(metadata, spec, self.restorer.clone()).await).await
    }

    /// What a Restore would do.
    pub async fn preview(&self, spec: Value, depth: Depth) -> Preview {
        let metadata = json!({"name": "preview", "namespace": "default"});
        preview(self.run_of(metadata, spec, self.restorer.clone()).await, depth).await.unwrap()
    }

    /// A run through a client of the test's own.
    pub async fn run_of(&self, metadata: Value, spec: Value, client: Client) -> RestoreRun {
        let restore: velero::Restore =
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        let backup =
            self.store.read_backup(restore.spec.backup_name.as_deref().unwrap()).await.unwrap().unwrap();
        let metadata_namespace = restore.metadata.namespace.clone();
        RestoreRun {
            restore,
            backup,
            pod_volumes: PodVolumes::usual(
                &client,
                metadata_namespace.as_deref().unwrap_or_default(),
                &holdfast::clock::system(),
            ),
            cluster: Cluster::new(client),
            store: self.store.clone(),
            clock: holdfast::clock::system(),
            progress: watch::channel(Progress::default()).0,
            cancel: CancellationToken::new(),
            timeouts: Timeouts::default(),
            options: RunOptions::default(),
        }
    }

    pub async fn restore(&self, name: &str, spec: Value) -> Restored {
        self.restore_as(json!({"name": name, "namespace": "default"}), spec).await
    }

    pub async fn restore_as(&self, metadata: Value, spec: Value) -> Restored {
        let name = metadata["name"].as_str().unwrap().to_owned();
        let outcome = self.run_as(metadata, spec).await.unwrap();
        self.restored(&name, outcome).await
    }

    /// What a restore that ended like this left in the bucket.
    pub async fn restored(&self, name: &str, outcome: Outcome) -> Restored {
        let list = self.file(name, RestoreFile::ResourceList).await;
        Restored { outcome, list, results: self.file(name, RestoreFile::Results).await }
    }

    pub async fn file<T: serde::de::DeserializeOwned>(&self, restore: &str, file: RestoreFile) -> T {
        let packed = self.store.get_restore_file(restore, file).await.unwrap().unwrap();
        holdfast::archive::gunzip_json(&packed, 1 << 24).unwrap()
    }

    pub async fn config_map(&self, namespace: &str, name: &str) -> Value {
        let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        serde_json::to_value(config_maps.get(name).await.unwrap()).unwrap()
    }

    /// An object by the path of its URL.
    pub async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request(request).await.unwrap()
    }

    /// Creates an object by the path of its collection.
    pub async fn create(&self, collection: &str, object: &Value) {
        let request = http::Request::post(collection)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    pub async fn delete(&self, collection: &str, name: &str) {
        let request = http::Request::delete(format!("{collection}/{name}")).body(Vec::new()).unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    pub async fn namespace_exists(&self, name: &str) -> bool {
        Api::<Namespace>::all(self.client.clone()).get_opt(name).await.unwrap().is_some()
    }
}

pub fn config_map(namespace: &str, name: &str) -> (String, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "uid": "1", "resourceVersion": "1"},
        "data": {"key": name},
    });
    (format!("resources/configmaps/namespaces/{namespace}/{name}.json"), object)
}

pub fn namespace(name: &str) -> (String, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, "team": "red"}},
    });
    (format!("resources/namespaces/cluster/{name}.json"), object)
}

/// Any object, with the path of its entry.
pub fn object(group_resource: &str, object: Value) -> (String, Value) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    let place = match text("namespace") {
        "" => "cluster".to_owned(),
        namespace => format!("namespaces/{namespace}"),
    };
    (format!("resources/{group_resource}/{place}/{}.json", text("name")), object)
}

/// A whole archive of these entries.
pub fn archive(entries: &[(String, Value)]) -> Vec<u8> {
    let texts: Vec<(String, String)> =
        entries.iter().map(|(path, object)| (path.clone(), object.to_string())).collect();
    archive_of_texts(&texts)
}

pub fn archive_of_texts(entries: &[(String, String)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let version = ("metadata/version".to_owned(), "1.1.0\n".to_owned());
    for (path, text) in [version].iter().chain(entries) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}
