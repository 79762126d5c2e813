//! What a restore promises beyond Velero's sample: nothing is created from a damaged archive or without its data,
//! bad entries are told and left out, and what deviates from Velero does so as documented.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::cluster::Cluster;
use holdfast::engine::restore::{Error, Outcome, Progress, RestoreRun};
use holdfast::store::{BackupStore, LocationSettings, RestoreFile};
use holdfast_policy::velero;
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A bucket of one's own, beside a control plane that all tests of this file share.
struct Bench {
    testbed: &'static Testbed,
    client: Client,
    bucket: TempDir,
    store: BackupStore,
}

struct Restored {
    outcome: Outcome,
    list: BTreeMap<String, Vec<String>>,
    results: Value,
}

impl Bench {
    async fn start() -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let bucket = tempfile::tempdir().unwrap();
        std::fs::create_dir(bucket.path().join("b")).unwrap();
        let spec = serde_json::from_value(json!({
            "provider": "local", "config": {"path": bucket.path()}, "objectStorage": {"bucket": "b"},
        }))
        .unwrap();
        let settings = LocationSettings::parse("default", &spec, None, None).unwrap();
        let store = BackupStore::open(&settings).await.unwrap();
        Self { testbed, client: testbed.client().unwrap(), bucket, store }
    }

    /// A name that no other test uses.
    async fn unused_name(&self, prefix: &str) -> String {
        let name = self.testbed.namespace(prefix).await.unwrap();
        format!("{name}-r")
    }

    fn put_backup(&self, name: &str, archive: &[u8]) {
        let folder = self.bucket.path().join("b/backups").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let backup = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name}});
        std::fs::write(folder.join("velero-backup.json"), backup.to_string()).unwrap();
        std::fs::write(folder.join(format!("{name}.tar.gz")), archive).unwrap();
    }

    fn put_file(&self, backup: &str, file: &str, content: &Value) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content.to_string().as_bytes()).unwrap();
        let path = self.bucket.path().join("b/backups").join(backup).join(format!("{backup}-{file}"));
        std::fs::write(path, packed.finish().unwrap()).unwrap();
    }

    async fn run(&self, name: &str, spec: Value) -> Result<Outcome, Error> {
        let restore: velero::Restore =
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
                .unwrap();
        let backup =
            self.store.read_backup(restore.spec.backup_name.as_deref().unwrap()).await.unwrap().unwrap();
        holdfast::engine::restore::run(RestoreRun {
            restore,
            backup,
            cluster: Cluster::new(self.client.clone()),
            store: self.store.clone(),
            clock: holdfast::clock::system(),
            progress: watch::channel(Progress::default()).0,
            cancel: CancellationToken::new(),
        })
        .await
    }

    async fn restore(&self, name: &str, spec: Value) -> Restored {
        let outcome = self.run(name, spec).await.unwrap();
        let list = self.file(name, RestoreFile::ResourceList).await;
        Restored { outcome, list, results: self.file(name, RestoreFile::Results).await }
    }

    async fn file<T: serde::de::DeserializeOwned>(&self, restore: &str, file: RestoreFile) -> T {
        let packed = self.store.get_restore_file(restore, file).await.unwrap().unwrap();
        holdfast::archive::gunzip_json(&packed, 1 << 24).unwrap()
    }

    async fn config_map(&self, namespace: &str, name: &str) -> Value {
        let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        serde_json::to_value(config_maps.get(name).await.unwrap()).unwrap()
    }

    async fn namespace_exists(&self, name: &str) -> bool {
        Api::<Namespace>::all(self.client.clone()).get_opt(name).await.unwrap().is_some()
    }
}

fn config_map(namespace: &str, name: &str) -> (String, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "uid": "1", "resourceVersion": "1"},
        "data": {"key": name},
    });
    (format!("resources/configmaps/namespaces/{namespace}/{name}.json"), object)
}

fn namespace(name: &str) -> (String, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, "team": "red"}},
    });
    (format!("resources/namespaces/cluster/{name}.json"), object)
}

fn archive(entries: &[(String, Value)]) -> Vec<u8> {
    let texts: Vec<(String, String)> =
        entries.iter().map(|(path, object)| (path.clone(), object.to_string())).collect();
    archive_of_texts(&texts)
}

fn archive_of_texts(entries: &[(String, String)]) -> Vec<u8> {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_fails_the_restore_and_nothing_is_created() {
    let bench = Bench::start().await;
    let target = bench.unused_name("damaged").await;
    let objects: Vec<_> = (0..200).map(|number| config_map("src", &format!("c{number}"))).collect();
    let whole = archive(&objects);
    let half = whole[..whole.len() / 2].to_vec();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let trailing = [whole.clone(), b"more".to_vec()].concat();
    for (name, bytes) in [("half", half), ("flipped", flipped), ("trailing", trailing), ("empty", Vec::new())]
    {
        bench.put_backup(name, &bytes);
        let result = bench
            .run(&format!("rs-{name}"), json!({"backupName": name, "namespaceMapping": {"src": target}}))
            .await;
        assert!(matches!(result, Err(Error::Source(_))), "{name}: {result:?}");
        assert!(!bench.namespace_exists(&target).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_can_t_be_read_is_refused_before_anything_is_created() {
    let bench = Bench::start().await;
    let target = bench.unused_name("refused").await;
    bench.put_backup("data", &archive(&[config_map("src", "a")]));
    bench.put_file(
        "data",
        "volumeinfo.json.gz",
        &json!([{"pvcName": "d", "pvcNamespace": "src", "pvName": "v", "backupMethod": "PodVolumeBackup"}]),
    );
    let spec = json!({"backupName": "data", "namespaceMapping": {"src": target}});
    let result = bench.run("rs-data", spec.clone()).await;
    assert!(
        matches!(&result, Err(Error::Refused { problems }) if problems[0].contains("src/d")),
        "{result:?}"
    );
    assert!(!bench.namespace_exists(&target).await);
    let mut without_volumes = spec;
    without_volumes["includedResources"] = json!(["configmaps"]);
    assert_eq!(bench.restore("rs-data-2", without_volumes).await.outcome.errors, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_entries_are_told_and_the_good_ones_restored() {
    let bench = Bench::start().await;
    let target = bench.unused_name("bad").await;
    let text = |(path, object): (String, Value)| (path, object.to_string());
    let lying = config_map("src", "other").1.to_string();
    bench.put_backup(
        "bad",
        &archive_of_texts(&[
            text(config_map("src", "good")),
            ("resources/configmaps/namespaces/src/broken.json".to_owned(), "{".to_owned()),
            ("resources/configmaps/namespaces/src/lying.json".to_owned(), lying),
        ]),
    );
    let restored =
        bench.restore("rs-bad", json!({"backupName": "bad", "namespaceMapping": {"src": target}})).await;
    assert_eq!(restored.outcome.errors, 2, "{}", restored.results);
    let errors = restored.results["errors"]["namespaces"][&target].to_string();
    assert!(errors.contains("src/broken.json") && errors.contains("src/lying.json"), "{errors}");
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/good(created)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_restore_of_the_same_finds_everything_as_it_should_be() {
    let bench = Bench::start().await;
    let target = bench.unused_name("again").await;
    bench.put_backup("again", &archive(&[namespace("src"), config_map("src", "a"), config_map("src", "b")]));
    let spec = json!({"backupName": "again", "namespaceMapping": {"src": target}});
    let first = bench.restore("rs-first", spec.clone()).await;
    assert_eq!(first.list["v1/Namespace"], [format!("{target}(created)")]);
    let second = bench.restore("rs-second", spec).await;
    assert_eq!((second.outcome.warnings, second.outcome.errors), (0, 0), "{}", second.results);
    assert_eq!(second.list.keys().collect::<Vec<_>>(), ["v1/ConfigMap"]);
    assert_eq!(second.list["v1/ConfigMap"], ["a", "b"].map(|name| format!("{target}/{name}(skipped)")));
    let object = bench.config_map(&target, "a").await;
    assert_eq!(object["metadata"]["labels"]["velero.io/restore-name"], "rs-first");
    assert_eq!(object["metadata"]["labels"]["velero.io/backup-name"], "again");
    assert_ne!(object["metadata"]["uid"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_fields_come_back_only_where_somebody_applied_the_object() {
    let bench = Bench::start().await;
    let target = bench.unused_name("fields").await;
    let fields = |manager: &str, operation: &str| {
        json!([{
            "manager": manager, "operation": operation, "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:key": {}}},
        }])
    };
    let (mut applied, mut updated) = (config_map("src", "applied"), config_map("src", "updated"));
    applied.1["metadata"]["managedFields"] = fields("gitops", "Apply");
    updated.1["metadata"]["managedFields"] = fields("editor", "Update");
    bench.put_backup("fields", &archive(&[applied, updated]));
    bench.restore("rs-fields", json!({"backupName": "fields", "namespaceMapping": {"src": target}})).await;
    let managers = |object: Value| -> Vec<String> {
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        entries.iter().map(|entry| format!("{}/{}", entry["manager"], entry["operation"])).collect()
    };
    assert!(
        managers(bench.config_map(&target, "applied").await).contains(&"\"gitops\"/\"Apply\"".to_owned())
    );
    assert_eq!(managers(bench.config_map(&target, "updated").await), ["\"holdfast\"/\"Update\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_namespaces_that_are_included_are_restored_with_labels_and_others_are_not() {
    let bench = Bench::start().await;
    let prefix = bench.unused_name("empty").await;
    let (wanted, other) = (format!("{prefix}-wanted"), format!("{prefix}-other"));
    bench.put_backup("empty", &archive(&[namespace(&wanted), namespace(&other), config_map(&other, "a")]));
    let restored = bench
        .restore("rs-empty", json!({"backupName": "empty", "includedNamespaces": [format!("{prefix}-w*")]}))
        .await;
    assert_eq!(restored.list["v1/Namespace"], [format!("{wanted}(created)")]);
    assert!(!bench.namespace_exists(&other).await);
    let labels =
        Api::<Namespace>::all(bench.client.clone()).get(&wanted).await.unwrap().metadata.labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels["velero.io/restore-name"].as_str()), ("red", "rs-empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_globs_that_match_nothing_restore_nothing_and_say_so() {
    let bench = Bench::start().await;
    let source = bench.unused_name("nothing").await;
    bench.put_backup("nothing", &archive(&[namespace(&source), config_map(&source, "a")]));
    let restored = bench
        .restore("rs-nothing", json!({"backupName": "nothing", "includedNamespaces": ["absent-*"]}))
        .await;
    assert_eq!((restored.outcome.items, restored.outcome.warnings), (0, 1), "{}", restored.results);
    assert!(!bench.namespace_exists(&source).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_not_served_are_told_object_by_object_and_the_rest_goes_on() {
    let bench = Bench::start().await;
    let target = bench.unused_name("unserved").await;
    let ship = json!({
        "apiVersion": "sea.example.org/v2", "kind": "Ship", "metadata": {"namespace": "src", "name": "ava"},
    });
    let ship = ("resources/ships.sea.example.org/namespaces/src/ava.json".to_owned(), ship);
    bench.put_backup("unserved", &archive(&[ship, config_map("src", "a")]));
    let restored = bench
        .restore("rs-unserved", json!({"backupName": "unserved", "namespaceMapping": {"src": target}}))
        .await;
    assert_eq!(
        restored.results["errors"]["namespaces"][&target],
        json!([format!(
            "error restoring ships.sea.example.org/{target}/ava: the server could not find the requested resource"
        )])
    );
    assert_eq!(restored.list["sea.example.org/v2/Ship"], [format!("{target}/ava(failed)")]);
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/a(created)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminating_namespace_is_waited_for() {
    let bench = Bench::start().await;
    let target = bench.unused_name("terminating").await;
    bench.put_backup("terminating", &archive(&[config_map("src", "a")]));
    let spec = json!({"backupName": "terminating", "namespaceMapping": {"src": target}});
    bench.restore("rs-terminating-1", spec.clone()).await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), &target);
    config_maps.patch("a", &PatchParams::default(), &Patch::Merge(held)).await.unwrap();
    Api::<Namespace>::all(bench.client.clone()).delete(&target, &DeleteParams::default()).await.unwrap();
    let released = json!({"metadata": {"finalizers": null}});
    let (restored, _) = tokio::join!(bench.restore("rs-terminating-2", spec), async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        config_maps.patch("a", &PatchParams::default(), &Patch::Merge(released)).await.unwrap()
    });
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/a(created)")], "{}", restored.results);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_of_one_backup_at_once_do_not_disturb_each_other() {
    let bench = Bench::start().await;
    let prefix = bench.unused_name("twice").await;
    let objects: Vec<_> = (0..50).map(|number| config_map("src", &format!("c{number}"))).collect();
    bench.put_backup("twice", &archive(&objects));
    let spec = |suffix: &str| json!({"backupName": "twice", "namespaceMapping": {"src": format!("{prefix}-{suffix}")}});
    let (one, two) = tokio::join!(bench.restore("rs-one", spec("one")), bench.restore("rs-two", spec("two")));
    for (restored, suffix) in [(one, "one"), (two, "two")] {
        assert_eq!((restored.outcome.errors, restored.outcome.items), (0, 51), "{}", restored.results);
        let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), &format!("{prefix}-{suffix}"));
        let labelled = ListParams::default().labels(&format!("velero.io/restore-name=rs-{suffix}"));
        assert_eq!(config_maps.list(&labelled).await.unwrap().items.len(), 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_that_meet_in_one_give_each_name_once_with_a_warning() {
    let bench = Bench::start().await;
    let target = bench.unused_name("meet").await;
    bench.put_backup(
        "meet",
        &archive(&[config_map("one", "a"), config_map("two", "a"), config_map("two", "b")]),
    );
    let restored = bench
        .restore("rs-meet", json!({"backupName": "meet", "namespaceMapping": {"one": target, "two": target}}))
        .await;
    assert_eq!(restored.list["v1/ConfigMap"], ["a", "b"].map(|name| format!("{target}/{name}(created)")));
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (1, 0), "{}", restored.results);
}

#[tokio::test(flavor = "multi_thread")]
async fn modifiers_apply_to_namespaces_too_and_a_wrong_rule_fails_before_anything_is_created() {
    let bench = Bench::start().await;
    let target = bench.unused_name("modified").await;
    bench.put_backup("modified", &archive(&[namespace("src"), config_map("src", "a")]));
    let rules = "version: v1\nresourceModifierRules:\n- conditions: {groupResource: namespaces}\n  mergePatches:\n  - patchData: '{metadata: {labels: {added: by-rule}}}'\n";
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), "default");
    for (name, text) in [("mods-good", rules), ("mods-bad", "version: v2")] {
        let object =
            serde_json::from_value(json!({"metadata": {"name": name}, "data": {"rules": text}})).unwrap();
        config_maps.create(&PostParams::default(), &object).await.unwrap();
    }
    let spec = |mods: &str| {
        json!({
            "backupName": "modified", "namespaceMapping": {"src": target},
            "resourceModifier": {"kind": "ConfigMap", "name": mods},
        })
    };
    let wrong = bench.run("rs-mods-bad", spec("mods-bad")).await;
    assert!(matches!(wrong, Err(Error::Modifiers { .. })), "{wrong:?}");
    assert!(!bench.namespace_exists(&target).await);
    bench.restore("rs-mods-good", spec("mods-good")).await;
    let labels =
        Api::<Namespace>::all(bench.client.clone()).get(&target).await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["added"], "by-rule");
}
