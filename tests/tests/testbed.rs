//! The testbed itself: a real control plane and a real S3 server that leave nothing behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::{S3Server, Testbed};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn is_running(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").expect("a stat line").1.starts_with('Z'),
        Err(_) => false,
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn it_is_kubernetes_1_36_3() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let version = testbed.client().unwrap().apiserver_version().await.unwrap();
    assert_eq!(
        (version.git_version.as_str(), version.major.as_str(), version.minor.as_str()),
        ("v1.36.3", "1", "36")
    );
}

#[tokio::test]
async fn a_deleted_namespace_goes_away_with_its_objects() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let name = testbed.namespace("deleted").await.unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &name);
    config_maps.create(&PostParams::default(), &config_map("inside")).await.unwrap();
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while namespaces.get_opt(&name).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "namespace {name} is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(config_maps.get_opt("inside").await.unwrap(), None);
}

#[tokio::test]
async fn namespaces_get_names_of_their_own() {
    let testbed = Testbed::shared().await.unwrap();
    let (first, second) = tokio::join!(testbed.namespace("same"), testbed.namespace("same"));
    assert_ne!(first.unwrap(), second.unwrap());
}

#[tokio::test]
async fn two_run_side_by_side_and_know_nothing_of_each_other() {
    let (first, second) = tokio::join!(Testbed::start(), Testbed::start());
    let (first, second) = (first.unwrap(), second.unwrap());
    let in_first = Api::<ConfigMap>::namespaced(first.client().unwrap(), "default");
    let in_second = Api::<ConfigMap>::namespaced(second.client().unwrap(), "default");
    in_first.create(&PostParams::default(), &config_map("only-in-first")).await.unwrap();
    assert!(in_first.get_opt("only-in-first").await.unwrap().is_some());
    assert!(in_second.get_opt("only-in-first").await.unwrap().is_none());

    let processes = [first.process_ids(), second.process_ids()].concat();
    let directories = [first.directory().to_owned(), second.directory().to_owned()];
    assert_eq!(processes.len(), 6);
    assert!(processes.iter().all(|pid| is_running(*pid)));
    drop(first);
    drop(second);
    assert!(!processes.iter().any(|pid| is_running(*pid)));
    assert!(!directories.iter().any(|directory| directory.exists()));
}

#[tokio::test]
async fn the_kubeconfig_works_for_kubectl() {
    let testbed = Testbed::shared().await.unwrap();
    let output = Command::new(testbed.kubectl().await.unwrap())
        .args(["get", "namespace", "default", "--output=jsonpath={.status.phase}", "--kubeconfig"])
        .arg(testbed.kubeconfig())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "Active",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Not a test by itself: the process that the tests below end in a bad moment.
#[tokio::test]
#[ignore = "a helper process of other tests"]
async fn holder_of_a_testbed_and_an_s3_server() {
    let Ok(ending) = std::env::var("HOLDER_ENDING") else { return };
    let testbed = Testbed::shared().await.unwrap();
    let s3 = S3Server::start().await.unwrap();
    let mut processes = testbed.process_ids();
    processes.push(s3.process_id());
    let directory = testbed.directory().to_str().unwrap();
    println!("\nHELD {}", serde_json::json!({ "processes": processes, "directory": directory }));
    match ending.as_str() {
        "panic" => panic!("on purpose"),
        "return" => {}
        _ => std::thread::sleep(Duration::from_secs(600)),
    }
}

fn nothing_is_left_of_a_holder_that_ends_by(ending: &str) {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder_of_a_testbed_and_an_s3_server", "--ignored", "--nocapture"])
        .env("HOLDER_ENDING", ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let held =
        output.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("HELD ")?.to_owned()));
    let held: Value = serde_json::from_str(&held.expect("the holder has started its servers")).unwrap();
    let processes: Vec<u32> =
        held["processes"].as_array().unwrap().iter().map(|pid| pid.as_u64().unwrap() as u32).collect();
    let directory = Path::new(held["directory"].as_str().unwrap());
    assert_eq!(processes.len(), 4);
    if let Some(signal) = ending.strip_prefix("SIG") {
        assert!(processes.iter().all(|pid| is_running(*pid)));
        assert!(directory.exists());
        let kill = Command::new("kill").args(["-s", signal, &holder.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }
    holder.wait().unwrap();
    wait_until("the servers of the ended process are gone", || !processes.iter().any(|pid| is_running(*pid)));
    wait_until("its directory is gone", || !directory.exists());
}

#[test]
fn nothing_is_left_of_a_test_process_that_was_killed() {
    nothing_is_left_of_a_holder_that_ends_by("SIGKILL");
}

#[test]
fn nothing_is_left_of_a_test_process_that_was_interrupted() {
    nothing_is_left_of_a_holder_that_ends_by("SIGINT");
}

#[test]
fn nothing_is_left_of_a_test_process_whose_test_panicked() {
    nothing_is_left_of_a_holder_that_ends_by("panic");
}

#[test]
fn nothing_is_left_of_a_test_process_that_ended_well() {
    nothing_is_left_of_a_holder_that_ends_by("return");
}

fn client_of(server: &S3Server, bucket: &str) -> AmazonS3 {
    holdfast_tests::testbed::install_crypto_provider();
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_region(holdfast_tests::s3::REGION)
        .with_bucket_name(bucket)
        .with_access_key_id(server.access_key())
        .with_secret_access_key(server.secret_key())
        .with_virtual_hosted_style_request(false)
        .with_allow_http(true)
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_s3_server_keeps_objects_as_files() {
    let server = S3Server::start().await.unwrap();
    server.create_bucket("first-bucket").await.unwrap();
    let store = client_of(&server, "first-bucket");
    let key = Key::from("backups/one/velero-backup.json");
    store.put(&key, PutPayload::from_static(b"{}")).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "{}");
    assert_eq!(std::fs::read(server.root().join("first-bucket").join(key.as_ref())).unwrap(), b"{}");

    let mut upload = WriteMultipart::new(store.put_multipart(&Key::from("large")).await.unwrap());
    for part in 0..12_u8 {
        upload.write(&[part; 1 << 20]);
    }
    upload.finish().await.unwrap();
    assert_eq!(store.head(&Key::from("large")).await.unwrap().size, 12 << 20);
}

#[tokio::test]
async fn the_s3_server_refuses_to_create_what_exists() {
    let server = S3Server::start().await.unwrap();
    server.create_bucket("conditions").await.unwrap();
    let store = client_of(&server, "conditions");
    let key = Key::from("once");
    store.put_opts(&key, PutPayload::from_static(b"first"), PutMode::Create.into()).await.unwrap();
    let second = store.put_opts(&key, PutPayload::from_static(b"second"), PutMode::Create.into()).await;
    assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "first");
}

#[tokio::test]
async fn a_bucket_copied_into_the_s3_servers_folder_is_served() {
    let server = S3Server::start().await.unwrap();
    std::fs::create_dir_all(server.root().join("copied/backups/old")).unwrap();
    std::fs::write(server.root().join("copied/backups/old/file"), "content").unwrap();
    let store = client_of(&server, "copied");
    assert_eq!(store.get(&Key::from("backups/old/file")).await.unwrap().bytes().await.unwrap(), "content");
    let listed = store.list_with_delimiter(Some(&Key::from("backups"))).await.unwrap();
    assert_eq!(listed.common_prefixes, [Key::from("backups/old")]);
}
