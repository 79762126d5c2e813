//! The guide from Velero to Holdfast and back, with what Velero 1.18.3 left standing in for Velero itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_policy::velero::{Backup, BackupStorageLocation, Schedule};
use holdfast_tests::docs_commands::{self, Block, Reader};
use holdfast_tests::fixtures::{self, velero_bucket};
use holdfast_tests::{Runs, Testbed, node};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::super::pods::Scheduler;
use super::{HOME, bucket};

/// Of the bucket, in Velero's location.
const BUCKET: &str = "velero-bkt";
/// The backups are of one day; a test is for all days.
const EXPIRATION: &str = "2126-01-01T00:00:00Z";
const TTL: &str = "876000h0m0s";

/// A Deployment that looks like Velero's to whoever asks whether it is alive.
fn stand_in() -> Deployment {
    let labels = json!({"component": "velero", "deploy": "velero"});
    serde_json::from_value(json!({
        "metadata": {"name": "velero", "labels": {"component": "velero"}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "velero", "image": node::IMAGE, "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "trap exit TERM; sleep 100000 & wait"],
                    }],
                },
            },
        },
    }))
    .unwrap()
}

fn items(kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixtures::data("velero-1.18.3-crs").join(format!("{kind}.yaml"))).unwrap();
    let mut list: Value = serde_yaml::from_str(&text).unwrap();
    list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

/// Puts the bucket's files where the server has them, with backups that are not over.
fn fill(folder: &Path) {
    velero_bucket::copy_into(folder).unwrap();
    for backup in fs::read_dir(folder.join("backups")).unwrap() {
        let path = backup.unwrap().path().join("velero-backup.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["spec"]["ttl"] = json!(TTL);
        record["status"]["expiration"] = json!(EXPIRATION);
        fs::write(&path, serde_json::to_vec_pretty(&record).unwrap()).unwrap();
    }
}

/// Contents by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What Velero's server would have in its cluster.
async fn velero(runs: &Runs, folder: &Path, endpoint: &str) {
    for mut location in items("backupstoragelocations") {
        location["metadata"] = json!({"name": location["metadata"]["name"]});
        location["spec"]["config"]["s3Url"] = json!(endpoint);
        runs.create(&serde_json::from_value::<BackupStorageLocation>(location).unwrap()).await.unwrap();
    }
    for mut schedule in items("schedules") {
        schedule["metadata"] = json!({"name": schedule["metadata"]["name"]});
        runs.create(&serde_json::from_value::<Schedule>(schedule).unwrap()).await.unwrap();
    }
    for backup in fs::read_dir(folder.join("backups")).unwrap() {
        let name = backup.unwrap().file_name().into_string().unwrap();
        runs.adopt(folder, &name).await.unwrap();
    }
    runs.create(&stand_in()).await.unwrap();
}

/// The specs of everything that is Velero's, by kind and name.
async fn specs(runs: &Runs) -> BTreeMap<String, Value> {
    let all = ListParams::default();
    let mut specs = BTreeMap::new();
    let mut note = |kind: &str, object: Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let text = object["metadata"].to_string();
        specs.insert(
            format!("{kind}/{name}"),
            json!({"spec": object["spec"], "marked": text.contains("holdfast")}),
        );
    };
    for object in runs.api::<Backup>().list(&all).await.unwrap() {
        note("Backup", serde_json::to_value(object).unwrap());
    }
    for object in runs.api::<Schedule>().list(&all).await.unwrap() {
        note("Schedule", serde_json::to_value(object).unwrap());
    }
    for object in runs.api::<BackupStorageLocation>().list(&all).await.unwrap() {
        note("BackupStorageLocation", serde_json::to_value(object).unwrap());
    }
    specs
}

pub(crate) async fn the_guide_from_velero_and_back_loses_no_object_of_cluster_and_bucket() {
    let testbed = Testbed::start_with_node().await.unwrap();
    let client = testbed.client().unwrap();
    let _scheduler = Scheduler::start(&client, HOME);
    let program = Path::new(env!("CARGO_BIN_EXE_testbed"));
    let mut reader = Reader::new(testbed.kubeconfig(), program).await.unwrap();
    reader.set("REGISTRY", "registry.example.com");
    let server = bucket(&testbed, &mut reader).await.unwrap();
    server.create_bucket(BUCKET).await.unwrap();
    let folder = server.root().join(BUCKET);
    fill(&folder);
    let prepare = "holdfast crds | kubectl create -f - && kubectl delete crd policysets.holdfast.dev && \
        kubectl create namespace velero && kubectl -n velero create secret generic cloud-credentials \
        --from-literal=cloud=\"$(printf '[default]\\naws_access_key_id=%s\\naws_secret_access_key=%s\\n' \
        \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\")\" && printf %s \"$S3_URL\" > endpoint";
    let block = |text: &str| Block { section: "before".to_owned(), line: 0, text: text.to_owned() };
    reader.run(&block(prepare)).await.unwrap();
    let endpoint = fs::read_to_string(reader.folder().join("endpoint")).unwrap();
    let runs = Runs::in_namespace(client, HOME).await.unwrap();
    velero(&runs, &folder, &endpoint).await;
    let image = &docs_commands::blocks("install.md").unwrap()[0];
    reader.run(image).await.unwrap();
    testbed.import_image(&reader.folder().join("holdfast.tar")).unwrap();
    let (before, stored) = (specs(&runs).await, files(&folder));
    assert!(before.len() > 18 && stored.len() > 100, "{} and {}", before.len(), stored.len());

    let blocks = docs_commands::blocks("migrate-from-velero.md").unwrap();
    for one in &blocks {
        if let Err(error) = reader.run(one).await {
            let log = block(
                "kubectl -n velero get pods,policysets -o wide; kubectl -n velero logs deployment/holdfast",
            );
            panic!("{error:#}\n{}", reader.run(&log).await.unwrap_or_default());
        }
    }

    assert_eq!(specs(&runs).await, before);
    let after = files(&folder);
    for (path, content) in &stored {
        assert!(after.get(path) == Some(content), "{} is another", path.display());
    }
}
