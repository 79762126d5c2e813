//! Documents whose commands need pods of Holdfast, followed to the letter.

use std::path::Path;

use holdfast_policy::velero::{Backup, BackupPhase, BackupStorageLocation, Schedule};
use holdfast_tests::docs_commands::{self, Block, Reader};
use holdfast_tests::{Daemon, DaemonOptions, Runs, S3Server, Testbed};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use super::pods::{PATIENCE, Scheduler};

mod migration;

pub(super) use migration::the_guide_from_velero_and_back_loses_no_object_of_cluster_and_bucket;

const HOME: &str = "velero";

/// A bucket that pods reach, in the variables of which the documents speak.
async fn bucket(testbed: &Testbed, reader: &mut Reader) -> anyhow::Result<S3Server> {
    let bucket = S3Server::start().await?;
    bucket.create_bucket("backups").await?;
    let port = bucket.endpoint().rsplit(':').next().unwrap_or_default().parse()?;
    let address = testbed.open_to_pods(port)?;
    reader.set("BUCKET", "backups");
    reader.set("S3_URL", format!("http://{address}"));
    reader.set("AWS_ACCESS_KEY_ID", bucket.access_key());
    reader.set("AWS_SECRET_ACCESS_KEY", bucket.secret_key());
    Ok(bucket)
}

pub(super) async fn the_install_guide_works_word_for_word() {
    let testbed = Testbed::start_with_node().await.unwrap();
    let client = testbed.client().unwrap();
    let _scheduler = Scheduler::start(&client, HOME);
    let mut reader =
        Reader::new(testbed.kubeconfig(), Path::new(env!("CARGO_BIN_EXE_testbed"))).await.unwrap();
    reader.set("REGISTRY", "registry.example.com");
    let _bucket = bucket(&testbed, &mut reader).await.unwrap();
    let blocks = docs_commands::blocks("install.md").unwrap();
    let [image, by_kubectl, no_kubectl, by_kustomize, no_kustomize, by_helm, no_helm, first] = &blocks[..]
    else {
        panic!("other blocks than these: {blocks:#?}")
    };
    let run = async |block: &Block| reader.run(block).await.unwrap();
    run(image).await;
    testbed.import_image(&reader.folder().join("holdfast.tar")).unwrap();
    run(by_kubectl).await;
    let told = run(first).await;
    assert!(told.contains("everything-"), "{told}");
    run(no_kubectl).await;
    run(by_kustomize).await;
    run(no_kustomize).await;
    run(by_helm).await;
    run(no_helm).await;
    let backups = Api::<Backup>::namespaced(client, HOME).list(&ListParams::default()).await.unwrap();
    let phases: Vec<BackupPhase> = backups.iter().map(Backup::status_phase).collect();
    assert!(!phases.is_empty());
    assert_eq!(phases, vec![BackupPhase::Completed; phases.len()]);
}

/// The policies of a repository, and a test of theirs.
fn repository(folder: &Path) -> std::io::Result<()> {
    let location = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "StorageLocation", "metadata": {"name": "default"},
        "spec": {"default": true, "provider": "aws", "bucket": "backups", "config": {"region": "us-east-1"}},
    });
    let policy = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BackupPolicy", "metadata": {"name": "shop"},
        "spec": {
            "select": {"namespaces": {"include": ["shop"]}}, "ttl": "720h",
            "schedules": [{"name": "nightly", "cron": "0 1 * * *", "timeZone": "UTC", "skipImmediately": true}],
        },
    });
    let test = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "PolicyTest", "metadata": {"name": "shop"},
        "spec": {
            "objects": [{"kind": "Namespace", "name": "shop"}, {"kind": "Pod", "namespace": "shop", "name": "db"}],
            "selection": [{"policy": "shop", "expect": "Included", "objects": ["Pod/shop/db"]}],
        },
    });
    let policies = folder.join("policies");
    std::fs::create_dir(&policies)?;
    for (name, document) in [("location.yaml", location), ("shop.yaml", policy), ("shop_test.yaml", test)] {
        std::fs::write(policies.join(name), document.to_string())?;
    }
    Ok(())
}

pub(super) async fn what_is_said_of_git_works_word_for_word() {
    let testbed = Testbed::start_with_node().await.unwrap();
    let client = testbed.client().unwrap();
    let _scheduler = Scheduler::start(&client, HOME);
    let program = Path::new(env!("CARGO_BIN_EXE_testbed"));
    let mut reader = Reader::new(testbed.kubeconfig(), program).await.unwrap();
    reader.set("REGISTRY", "registry.example.com");
    repository(reader.folder()).unwrap();
    let install = docs_commands::blocks("install.md").unwrap();
    reader.run(&install[0]).await.unwrap();
    testbed.import_image(&reader.folder().join("holdfast.tar")).unwrap();
    let by_helm = install.iter().find(|block| block.text.starts_with("helm upgrade")).unwrap();
    reader.run(by_helm).await.unwrap();
    // Where definitions were made just now, the API server asks for patience, which nobody who comes later needs.
    let kinds = "schedules,backups,restores,backupstoragelocations,volumesnapshotlocations";
    let text = format!("until kubectl -n velero get {kinds} >/dev/null 2>&1; do sleep 1; done");
    reader.run(&Block { section: String::new(), line: 0, text }).await.unwrap();
    for block in docs_commands::blocks("gitops.md").unwrap() {
        reader.run(&block).await.unwrap();
    }
    let schedules: Api<Schedule> = Api::namespaced(client, HOME);
    let schedule = schedules.get("shop-nightly").await.unwrap();
    assert_eq!(schedule.metadata.labels.unwrap_or_default().get("holdfast.dev/policy"), None);
}

/// The application of a cluster that is gone, as its last backup has it.
async fn lost_cluster(bucket: &S3Server) -> anyhow::Result<String> {
    let testbed = Testbed::start().await?;
    let client = testbed.client()?;
    let runs = Runs::in_namespace(client.clone(), HOME).await?;
    let options = DaemonOptions {
        arguments: vec!["--install-crds".to_owned(), "--cluster-name=prod-eu-1".to_owned()],
        ..DaemonOptions::default()
    };
    let daemon = Daemon::start(&testbed, options).await?;
    let credentials = format!(
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\n",
        bucket.access_key(),
        bucket.secret_key()
    );
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "cloud-credentials"}, "stringData": {"cloud": credentials},
    }))?;
    runs.create(&secret).await?;
    let location: BackupStorageLocation = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": "default"},
        "spec": {
            "provider": "aws", "default": true, "objectStorage": {"bucket": "backups"},
            "config": {"region": "us-east-1", "s3Url": bucket.endpoint(), "s3ForcePathStyle": "true"},
            "credential": {"name": "cloud-credentials", "key": "cloud"},
        },
    }))?;
    runs.create(&location).await?;
    let shop = testbed.namespace("shop").await?;
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "prices"}, "data": {"tea": "3"}}))?;
    Api::namespaced(client, &shop).create(&PostParams::default(), &map).await?;
    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]}))?;
    let backup = runs.backup("last", spec, PATIENCE).await?;
    anyhow::ensure!(backup.status_phase() == BackupPhase::Completed, "{:?}", backup.status);
    daemon.stop().await?;
    Ok(shop)
}

pub(super) async fn the_guide_to_disaster_recovery_brings_a_lost_cluster_back() {
    let testbed = Testbed::start_with_node().await.unwrap();
    let client = testbed.client().unwrap();
    let _scheduler = Scheduler::start(&client, HOME);
    let program = Path::new(env!("CARGO_BIN_EXE_testbed"));
    let mut reader = Reader::new(testbed.kubeconfig(), program).await.unwrap();
    reader.set("REGISTRY", "registry.example.com");
    reader.set("BACKUP", "last");
    let bucket = bucket(&testbed, &mut reader).await.unwrap();
    let shop = lost_cluster(&bucket).await.unwrap();
    let image = &docs_commands::blocks("install.md").unwrap()[0];
    reader.run(image).await.unwrap();
    testbed.import_image(&reader.folder().join("holdfast.tar")).unwrap();
    for block in docs_commands::blocks("disaster-recovery.md").unwrap() {
        if let Err(error) = reader.run(&block).await {
            let log = Block { text: "kubectl -n velero logs deployment/holdfast".to_owned(), ..block };
            panic!("{error:#}\n{}", reader.run(&log).await.unwrap_or_default());
        }
    }
    let maps: Api<ConfigMap> = Api::namespaced(client, &shop);
    assert_eq!(maps.get("prices").await.unwrap().data.unwrap()["tea"], "3");
}
