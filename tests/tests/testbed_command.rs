//! `cargo testbed up`, `env` and `down`, as a shell sees them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn testbed(command: &str, directory: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg(command)
        .arg("--dir")
        .arg(directory)
        .args(more)
        .output()
        .unwrap()
}

fn exports(output: &Output) -> Vec<(String, String)> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| {
            let (name, value) =
                line.strip_prefix("export ").and_then(|rest| rest.split_once('=')).expect(line);
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn names(exports: &[(String, String)]) -> Vec<&str> {
    exports.iter().map(|(name, _)| name.as_str()).collect()
}

fn recorded_processes(directory: &Path) -> Vec<u64> {
    let text = std::fs::read(directory.join("processes.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&text).unwrap();
    ["control_plane", "s3"]
        .iter()
        .flat_map(|part| recorded[part].as_array().unwrap())
        .map(|process| process["pid"].as_u64().unwrap())
        .collect()
}

fn is_running(pid: u64) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").expect("a stat line").1.starts_with('Z'),
        Err(_) => false,
    }
}

/// Ends the servers also when the test fails in the middle.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        testbed("down", self.0, &[]);
    }
}

async fn server_version(kubeconfig: &str) -> String {
    holdfast_tests::testbed::install_crypto_provider();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    assert_eq!((kubeconfig.clusters.len(), kubeconfig.auth_infos.len()), (1, 1));
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap().apiserver_version().await.unwrap().git_version
}

#[tokio::test]
async fn up_leaves_servers_that_env_finds_and_down_ends() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("D");
    let _down = Down(&directory);

    // `output` returns only when nothing holds the two streams open any more.
    let plain = exports(&testbed("up", &directory, &[]));
    assert_eq!(names(&plain), ["KUBECONFIG"]);
    assert_eq!(Path::new(&plain[0].1), directory.canonicalize().unwrap().join("kubeconfig"));
    assert_eq!(server_version(&plain[0].1).await, "v1.36.3");
    let first = recorded_processes(&directory);
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|pid| is_running(*pid)));

    let started = Instant::now();
    assert_eq!(exports(&testbed("up", &directory, &[])), plain);
    assert_eq!(exports(&testbed("env", &directory, &[])), plain);
    assert!(started.elapsed() < Duration::from_secs(5));

    let with_s3 = exports(&testbed("up", &directory, &["--s3"]));
    assert_eq!(names(&with_s3), ["KUBECONFIG", "S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    assert!(with_s3[1].1.starts_with("http://127.0.0.1:"));
    assert!(directory.join("s3/buckets/backups").is_dir());
    assert_eq!(exports(&testbed("env", &directory, &[])), with_s3);
    let all = recorded_processes(&directory);
    assert_eq!((&all[..3], all.len()), (&first[..], 4));

    let down = testbed("down", &directory, &[]);
    assert_eq!((down.status.code(), String::from_utf8_lossy(&down.stdout).as_ref()), (Some(0), ""));
    assert!(!all.iter().any(|pid| is_running(*pid)));
    let env = testbed("env", &directory, &[]);
    assert_eq!((env.status.code(), String::from_utf8_lossy(&env.stdout).as_ref()), (Some(1), ""));
    assert!(String::from_utf8_lossy(&env.stderr).contains("no testbed runs in"));
    assert!(directory.join("logs/kube-apiserver.log").is_file());
}

#[tokio::test]
async fn a_crashed_testbed_is_taken_up_again_with_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let _down = Down(directory.path());
    exports(&testbed("up", directory.path(), &[]));
    let first = recorded_processes(directory.path());
    let crash = Command::new("kill").arg("-KILL").args(first.iter().map(u64::to_string)).status().unwrap();
    assert!(crash.success());
    let lines = exports(&testbed("up", directory.path(), &[]));
    assert_eq!(server_version(&lines[0].1).await, "v1.36.3");
    let second = recorded_processes(directory.path());
    assert_eq!(second.len(), 3);
    assert!(second.iter().all(|pid| !first.contains(pid) && is_running(*pid)));
}

#[test]
fn an_interrupted_up_leaves_nothing_running() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("D");
    let mut up = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["up", "--dir"])
        .arg(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _down = Down(&directory);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !directory.join("processes.json").exists() {
        assert!(Instant::now() < deadline, "no process started");
        std::thread::sleep(Duration::from_millis(10));
    }
    let started = recorded_processes(&directory);
    assert!(!started.is_empty());
    assert!(Command::new("kill").args(["-INT", &up.id().to_string()]).status().unwrap().success());
    let status = up.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(!started.iter().any(|pid| is_running(*pid)));
    assert!(!directory.join("processes.json").exists());
    assert!(!directory.join("kubeconfig").exists());
}

#[test]
fn up_says_in_one_sentence_that_go_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let up = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["up", "--dir"])
        .arg(directory.path().join("D"))
        .env("XDG_CACHE_HOME", directory.path().join("empty cache"))
        .env("PATH", directory.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&up.stderr);
    assert_eq!(up.status.code(), Some(1), "{message}");
    assert!(
        message.contains("needs Go for it, but there is no `go` on the PATH: install Go from"),
        "{message}"
    );
}
