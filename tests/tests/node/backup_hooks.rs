//! Hooks of backups in real pods.

use std::collections::BTreeSet;

use holdfast_policy::velero::{Backup, BackupPhase};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::home::Home;
use super::pods::{self, until};

fn shell(script: &str) -> Value {
    json!(["sh", "-c", script])
}

fn annotated(mut pod: Value, annotations: Value) -> Value {
    pod["metadata"]["annotations"] = annotations;
    pod
}

fn labelled(mut pod: Value, app: &str) -> Value {
    pod["metadata"]["labels"] = json!({ "app": app });
    pod
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// The places of these texts in the log, which must be there.
fn places(log: &str, texts: &[&str]) -> Vec<usize> {
    texts.iter().map(|text| log.find(text).unwrap_or_else(|| panic!("{text} is not in\n{log}"))).collect()
}

pub(super) async fn hooks_run_before_and_after_in_order_and_what_they_write_is_in_the_log() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-order").await;
    pods::run(&home.client, &namespace, pods::idle("db-0", &["main", "side"])).await;
    let note =
        |word: &str| shell(&format!("echo {word} >> /tmp/trace; echo said {word}; echo told {word} >&2"));
    let backed = home
        .back_up(
            &namespace,
            json!([
                {"name": "first", "includedResources": ["po"], "pre": [
                    {"exec": {"command": note("one")}}, {"exec": {"command": note("two"), "container": "main"}},
                ], "post": [{"exec": {"command": note("four")}}]},
                {"name": "second", "pre": [{"exec": {"command": note("three")}}], "post": [
                    {"exec": {"command": shell("seq 200000"), "container": "side"}},
                ]},
                {"name": "elsewhere", "includedNamespaces": ["nowhere"], "pre": [{"exec": {"command": note("x")}}]},
            ]),
        )
        .await;
    assert_eq!(backed.end(), ("Completed", 5, 0, 0), "{}", backed.results());
    let trace = pods::shell(&home.client, &namespace, "db-0", "main", "cat /tmp/trace").await;
    assert_eq!(trace, "one\ntwo\nthree\nfour\n");
    let log = backed.log();
    let found = places(
        &log,
        &[
            "running exec hook",
            "stdout: said one",
            "stderr: told one",
            "said three",
            "said four",
            "more bytes",
        ],
    );
    assert!(found.is_sorted(), "{log}");
    assert!(log.len() < 100_000, "a megabyte of output is not kept: {}", log.len());
    assert!(backed.items().contains("pods db-0"));
}

pub(super) async fn a_failing_hook_makes_the_backup_partially_failed_and_fail_leaves_the_pod_out() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-fail").await;
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    });
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    Api::namespaced(home.client.clone(), &namespace).create(&PostParams::default(), &claim).await.unwrap();
    pods::run(&home.client, &namespace, labelled(pods::idle("runner", &["main", "side"]), "runner")).await;
    pods::run(&home.client, &namespace, labelled(pods::idle("web", &["main"]), "web")).await;
    let backed = home
        .back_up(
            &namespace,
            json!([
                {"name": "flush", "labelSelector": {"matchLabels": {"app": "runner"}}, "pre": [
                    {"exec": {"command": shell("echo begun >> /tmp/trace; exit 7"), "onError": "Fail"}},
                    {"exec": {"command": shell("echo never >> /tmp/trace"), "onError": "Fail"}},
                ], "post": [{"exec": {"command": shell("echo after >> /tmp/trace")}}]},
                {"name": "soft", "labelSelector": {"matchLabels": {"app": "web"}}, "pre": [
                    {"exec": {"command": ["/bin/no-such-program"]}},
                    {"exec": {"command": shell("exit 3"), "onError": "Continue"}},
                ], "post": [{"exec": {"command": shell("echo after >> /tmp/trace")}}]},
            ]),
        )
        .await;
    // As with Velero, the hook behind a Fail counts as attempted; those after the pod are not due any more.
    assert_eq!(backed.end(), ("PartiallyFailed", 5, 3, 4), "{}", backed.results());
    assert_eq!(backed.items(), set(&["pods web", "persistentvolumeclaims data"]));
    let listed = backed.resource_list();
    assert_eq!(listed["v1/Pod"], json!([format!("{namespace}/runner"), format!("{namespace}/web")]));
    let trace = async |pod: &str| pods::shell(&home.client, &namespace, pod, "main", "cat /tmp/trace").await;
    assert_eq!((trace("runner").await.as_str(), trace("web").await.as_str()), ("begun\n", "after\n"));

    let results = backed.results();
    assert_eq!(results["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["velero"]);
    let mut errors: Vec<&str> =
        results["errors"]["velero"].as_array().unwrap().iter().map(|error| error.as_str().unwrap()).collect();
    errors.sort();
    let exit = "error: /command terminated with exit code";
    assert_eq!(errors[0], format!(" message: /Error executing hook {exit} 3"));
    assert_eq!(errors[1], format!(" message: /Error executing hook {exit} 7"));
    assert!(
        errors[2].starts_with(" message: /Error executing hook error: /error executing remote"),
        "{results}"
    );
    assert!(errors[2].contains("no-such-program"), "{results}");
    assert_eq!(errors[3], format!(" name: /runner message: /Error running pre hooks for pod {exit} 7"));
}

pub(super) async fn a_hook_that_names_a_missing_container_or_a_sidecar_fails() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-where").await;
    let mut pod = pods::idle("web", &["main"]);
    let mut sidecar = pod["spec"]["containers"][0].clone();
    sidecar["name"] = json!("proxy");
    sidecar["restartPolicy"] = json!("Always");
    pod["spec"]["initContainers"] = json!([sidecar]);
    pods::run(&home.client, &namespace, pod).await;
    let hook = |container: &str| json!({"exec": {"command": ["true"], "container": container}});
    let backed = home
        .back_up(&namespace, json!([{"name": "a", "pre": [hook("none"), hook("proxy"), hook("main")]}]))
        .await;
    assert_eq!(backed.end(), ("PartiallyFailed", 3, 2, 2));
    let error =
        |container: &str| format!(" message: /Error executing hook error: /no such container: {container:?}");
    assert_eq!(backed.results()["errors"], json!({"velero": [error("none"), error("proxy")]}));
    assert_eq!(backed.items(), set(&["pods web"]));
}

pub(super) async fn a_hook_that_outlasts_its_timeout_fails_and_the_backup_goes_on() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-slow").await;
    pods::run(&home.client, &namespace, pods::idle("web", &["main"])).await;
    let slow =
        json!({"exec": {"command": shell("echo begun; sleep 600"), "timeout": "1500ms", "onError": "Fail"}});
    let backed = home.back_up(&namespace, json!([{"name": "a", "pre": [slow]}])).await;
    assert_eq!(backed.end(), ("PartiallyFailed", 1, 1, 2));
    assert_eq!(
        backed.results()["errors"]["velero"][0],
        " message: /Error executing hook error: /timed out after 1.5s"
    );
    // What it wrote until then is there.
    places(&backed.log(), &["stdout: begun"]);
}

pub(super) async fn a_pods_annotations_come_before_the_spec() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-own").await;
    let own = json!({
        "hook.backup.velero.io/command": r#"["sh", "-c", "echo own pre >> /tmp/trace"]"#,
        "hook.backup.velero.io/container": "side",
        "post.hook.backup.velero.io/command": "no-such program",
        "post.hook.backup.velero.io/on-error": "Continue",
        "post.hook.backup.velero.io/timeout": "soon",
    });
    pods::run(&home.client, &namespace, annotated(pods::idle("web", &["main", "side"]), own)).await;
    let from_spec = json!({"exec": {"command": shell("echo spec >> /tmp/trace"), "container": "side"}});
    let backed =
        home.back_up(&namespace, json!([{"name": "a", "pre": [from_spec], "post": [from_spec]}])).await;
    assert_eq!(backed.end(), ("PartiallyFailed", 2, 1, 1));
    let trace = pods::shell(&home.client, &namespace, "web", "side", "cat /tmp/trace").await;
    assert_eq!(trace, "own pre\n");
    let results = backed.results();
    // One word, not split by a shell.
    assert!(results["errors"]["velero"][0].as_str().unwrap().contains("no-such program"), "{results}");
    assert!(results["warnings"]["velero"][0].as_str().unwrap().contains("timeout is not used"), "{results}");
}

pub(super) async fn no_hook_runs_in_a_pod_that_has_ended_or_has_no_place_yet() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-ended").await;
    let hook = json!({"pre.hook.backup.velero.io/command": "/bin/true"});
    let mut finished = annotated(pods::idle("finished", &["main"]), hook.clone());
    finished["spec"]["containers"][0]["command"] = json!(["true"]);
    finished["spec"]["restartPolicy"] = json!("Never");
    pods::create(&home.client, &namespace, finished).await;
    let mut waiting = annotated(pods::idle("waiting", &["main"]), hook);
    waiting["spec"].as_object_mut().unwrap().remove("nodeName");
    pods::create(&home.client, &namespace, waiting).await;
    let succeeded =
        |pod: &Pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Succeeded"));
    pods::wait_for(&home.client, &namespace, "finished", succeeded).await;
    let backed = home.back_up(&namespace, json!([])).await;
    assert_eq!(backed.end(), ("PartiallyFailed", 2, 1, 1));
    let error = " message: /Error executing hook error: /pod waiting does not have a host assigned";
    assert_eq!(backed.results()["errors"], json!({"velero": [error]}));
    places(&backed.log(), &["Pod entered phase Succeeded before some post-backup exec hooks ran"]);
    assert_eq!(backed.items(), set(&["pods finished", "pods waiting"]));
}

/// Not with Velero, which cannot be cancelled: what a pre hook froze is thawed.
pub(super) async fn a_backup_that_is_cancelled_in_a_pre_hook_runs_the_post_hooks() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-cancel").await;
    pods::run(&home.client, &namespace, pods::idle("db", &["main"])).await;
    let spec = json!({
        "includedNamespaces": [namespace],
        "hooks": {"resources": [{
            "name": "freeze",
            "pre": [{"exec": {"command": shell("echo frozen >> /tmp/trace; sleep 600"), "timeout": "10m"}}],
            "post": [{"exec": {"command": shell("echo thawed >> /tmp/trace")}}],
        }]},
    });
    let backup = Backup::new(&namespace, serde_json::from_value(spec).unwrap());
    home.runs.create(&backup).await.unwrap();
    let trace = async || {
        pods::shell(&home.client, &namespace, "db", "main", "cat /tmp/trace 2>/dev/null || true").await
    };
    until(async || trace().await == "frozen\n").await;
    home.runs.api::<Backup>().delete(&namespace, &DeleteParams::default()).await.unwrap();
    until(async || trace().await == "frozen\nthawed\n").await;
}

pub(super) async fn backups_that_overlap_wait_only_where_both_have_hooks() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-overlap").await;
    pods::run(&home.client, &namespace, pods::idle("db", &["main"])).await;
    let script = "echo in >> /tmp/trace; while [ ! -f /tmp/go ]; do sleep 0.1; done";
    let hooks = json!({"resources": [{
        "name": "freeze",
        "pre": [{"exec": {"command": shell(script), "timeout": "10m"}}],
        "post": [{"exec": {"command": shell("echo out >> /tmp/trace")}}],
    }]});
    let create = async |name: &str, hooks: &Value| {
        let spec = json!({"includedNamespaces": [namespace], "hooks": hooks});
        let backup = Backup::new(name, serde_json::from_value(spec).unwrap());
        home.runs.create(&backup).await.unwrap();
    };
    let phase = async |name: &str| home.runs.api::<Backup>().get(name).await.unwrap().status_phase();
    let names = ["one", "two", "without"].map(|name| format!("{namespace}-{name}"));
    create(&names[0], &hooks).await;
    until(async || phase(&names[0]).await == BackupPhase::InProgress).await;
    create(&names[1], &hooks).await;
    until(async || phase(&names[1]).await == BackupPhase::Queued).await;
    create(&names[2], &json!({})).await;
    until(async || phase(&names[2]).await == BackupPhase::Completed).await;
    assert_eq!(phase(&names[0]).await, BackupPhase::InProgress);
    assert_eq!(phase(&names[1]).await, BackupPhase::Queued);
    pods::shell(&home.client, &namespace, "db", "main", "touch /tmp/go").await;
    until(async || phase(&names[1]).await == BackupPhase::Completed).await;
    let trace = pods::shell(&home.client, &namespace, "db", "main", "cat /tmp/trace").await;
    assert_eq!(trace, "in\nout\nin\nout\n");
}

/// Not with Velero, where backups that share a namespace never run together.
pub(super) async fn hooks_of_annotations_run_in_a_pod_for_one_backup_at_a_time() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-turns").await;
    let script = "echo in >> /tmp/trace; while [ ! -f /tmp/go ]; do sleep 0.1; done";
    let hooks = json!({
        "pre.hook.backup.velero.io/command": json!(["sh", "-c", script]).to_string(),
        "pre.hook.backup.velero.io/timeout": "10m",
        "post.hook.backup.velero.io/command": json!(["sh", "-c", "echo out >> /tmp/trace"]).to_string(),
    });
    pods::run(&home.client, &namespace, annotated(pods::idle("db", &["main"]), hooks)).await;
    let names = ["one", "two"].map(|name| format!("{namespace}-{name}"));
    let phase = async |name: &str| home.runs.api::<Backup>().get(name).await.unwrap().status_phase();
    for name in &names {
        let spec = json!({"includedNamespaces": [namespace], "includedResources": ["pods"]});
        home.runs.create(&Backup::new(name, serde_json::from_value(spec).unwrap())).await.unwrap();
    }
    until(async || home.daemon_log_has(&["waits for the hooks of another backup", &namespace])).await;
    for name in &names {
        assert_eq!(phase(name).await, BackupPhase::InProgress);
    }
    let trace = async || pods::shell(&home.client, &namespace, "db", "main", "cat /tmp/trace").await;
    until(async || trace().await == "in\n").await;
    pods::shell(&home.client, &namespace, "db", "main", "touch /tmp/go").await;
    for name in &names {
        until(async || phase(name).await == BackupPhase::Completed).await;
    }
    assert_eq!(trace().await, "in\nout\nin\nout\n");
}

/// Pods that share a volume are one block.
pub(super) async fn hooks_before_run_in_all_pods_of_a_block_before_any_of_it_is_stored() {
    let home = Home::get().await;
    let namespace = home.namespace("hooks-block").await;
    let folder = tempfile::tempdir().unwrap();
    pods::shared_volume(&home.client, &namespace, "data", folder.path()).await;
    for name in ["one", "two", "three"] {
        let mut pod = pods::idle(name, &["main"]);
        pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        let note = |word: &str| json!(["sh", "-c", format!("echo {word} {name} >> /data/trace")]).to_string();
        let hooks = json!({
            "pre.hook.backup.velero.io/command": note("pre"),
            "post.hook.backup.velero.io/command": note("post"),
        });
        let pod = if name == "three" { pod } else { annotated(pod, hooks) };
        pods::run(&home.client, &namespace, pod).await;
    }
    let backed = home.back_up(&namespace, json!([])).await;
    assert_eq!(backed.end(), ("Completed", 4, 0, 0), "{}", backed.results());
    let trace = std::fs::read_to_string(folder.path().join("trace")).unwrap();
    assert_eq!(trace, "pre one\npre two\npost one\npost two\n");
    assert_eq!(backed.items(), set(&["persistentvolumeclaims data", "pods one", "pods three", "pods two"]));
}
