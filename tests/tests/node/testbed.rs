//! The node itself: pods run on it, several stand side by side, and nothing is left of one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::Testbed;
use pretty_assertions::assert_eq;

use super::{pods, shared};

/// How the process that holds a node is to end; set for that process only.
pub(super) const ENDING: &str = "HOLDER_ENDING";
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn a_pod_runs_and_answers_exec() {
    let testbed = shared().await;
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("pods").await.unwrap();
    pods::run(&client, &namespace, pods::idle("web", &["main", "other"])).await;
    let said = pods::shell(&client, &namespace, "web", "other", "echo hello from $HOSTNAME").await;
    assert_eq!(said, "hello from web\n");
}

pub(super) async fn two_nodes_stand_side_by_side_and_leave_nothing() {
    let testbed = Testbed::start_with_node().await.unwrap();
    let client = testbed.client().unwrap();
    let other = shared().await;
    let other_client = other.client().unwrap();
    let namespace = other.namespace("beside").await.unwrap();
    pods::run(&client, "default", pods::idle("web", &["main"])).await;
    pods::run(&other_client, &namespace, pods::idle("web", &["main"])).await;
    let address = "ip -4 -o addr show eth0";
    let one = pods::shell(&client, "default", "web", "main", address).await;
    let two = pods::shell(&other_client, &namespace, "web", "main", address).await;
    assert!(one.contains("inet 198.") && two.contains("inet 198."), "{one}{two}");
    assert_ne!(one, two);
    let traces = Traces::of(testbed.directory());
    assert!(!traces.found().is_empty());
    drop(testbed);
    traces.wait_until_none();
    assert_eq!(pods::shell(&other_client, &namespace, "web", "main", address).await, two);
}

pub(super) async fn nothing_is_left_of_a_node_whose_process_was_killed() {
    nothing_is_left_of_a_holder_that_ends_by("SIGKILL");
}

pub(super) async fn nothing_is_left_of_a_node_whose_process_was_interrupted() {
    nothing_is_left_of_a_holder_that_ends_by("SIGINT");
}

pub(super) async fn nothing_is_left_of_a_node_whose_test_panicked() {
    nothing_is_left_of_a_holder_that_ends_by("panic");
}

pub(super) async fn a_node_that_stays_is_ended_by_down() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = |command: &str, more: &[&str]| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_testbed"));
        process.arg(command).arg("--dir").arg(folder.path()).args(more);
        let output = process.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    struct Down<F: Fn()>(F);
    impl<F: Fn()> Drop for Down<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let _down = Down(|| drop(testbed("down", &[])));
    let first = testbed("up", &["--node"]);
    // Up already: the same lines, and the node is still part of it.
    assert_eq!(testbed("up", &[]), first);
    let kubeconfig = kube::config::Kubeconfig::read_from(folder.path().join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    pods::run(&client, "default", pods::idle("web", &["main"])).await;
    let traces = Traces::of(folder.path());
    assert!(!traces.found().is_empty());
    testbed("down", &[]);
    assert_eq!(traces.found(), Vec::<String>::new());
}

/// The part of the process that is ended in a bad moment.
#[expect(clippy::print_stdout, reason = "the test that started this process reads it")]
pub(super) fn hold(ending: &str) {
    super::on_a_runtime(async {
        let testbed = shared().await;
        let client = testbed.client().unwrap();
        pods::run(&client, "default", pods::idle("web", &["main"])).await;
        let traces = Traces::of(testbed.directory());
        println!("\nHELD {} {}", traces.directory, traces.cgroup);
        match ending {
            "panic" => panic!("on purpose"),
            _ => std::thread::sleep(Duration::from_secs(600)),
        }
    });
}

fn nothing_is_left_of_a_holder_that_ends_by(ending: &str) {
    // Whoever runs the tests in the background of a shell has SIGINT ignored, and children inherit that.
    let mut holder = Command::new("env")
        .arg("--default-signal=INT")
        .arg(std::env::current_exe().unwrap())
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let held =
        output.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("HELD ")?.to_owned()));
    let directory = held.expect("the holder has started a node");
    let (directory, cgroup) = directory.split_once(' ').unwrap();
    let traces = Traces { directory: directory.to_owned(), cgroup: cgroup.to_owned() };
    if let Some(signal) = ending.strip_prefix("SIG") {
        assert!(!traces.found().is_empty());
        let kill = Command::new("kill").args(["-s", signal, &holder.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }
    holder.wait().unwrap();
    traces.wait_until_none();
    let deadline = Instant::now() + PATIENCE;
    while Path::new(directory).exists() {
        assert!(Instant::now() < deadline, "{directory} is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What tells of the node in a directory: its processes, its mounts and its cgroups.
struct Traces {
    directory: String,
    cgroup: String,
}

impl Traces {
    fn of(directory: &Path) -> Traces {
        let script = std::fs::read_to_string(directory.join("at-end.sh")).unwrap();
        let cgroup = script.lines().next().unwrap().strip_prefix("name=").unwrap().to_owned();
        Traces { directory: directory.to_str().unwrap().to_owned(), cgroup }
    }

    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
            let (command, cgroups) = (text(read("cmdline")), text(read("cgroup")));
            if command.contains("node") && command.contains(&self.directory) || cgroups.contains(&self.cgroup)
            {
                found.push(format!("process {command}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = mounts.lines().filter(|line| line.contains(&self.directory));
        found.extend(ours.map(|line| format!("mount {line}")));
        let cgroups = Command::new("find").args(["/sys/fs/cgroup", "-name", &self.cgroup]).output().unwrap();
        found.extend(String::from_utf8(cgroups.stdout).unwrap().lines().map(|path| format!("cgroup {path}")));
        found
    }

    fn wait_until_none(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.found().is_empty() {
            assert!(Instant::now() < deadline, "left: {:#?}", self.found());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
