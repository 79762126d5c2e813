//! Hooks of restores in real pods. There is no scheduler on the testbed: the tests place restored pods themselves.

use holdfast_policy::velero::{RestorePhase, RestoreSpec};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::home::{Home, Restored};
use super::pods::{self, Scheduler};

fn shell(script: &str) -> Value {
    json!(["sh", "-c", script])
}

fn exec(script: &str) -> Value {
    json!({"exec": {"command": shell(script)}})
}

fn init(name: &str, script: &str) -> Value {
    json!({"name": name, "image": holdfast_tests::node::IMAGE, "imagePullPolicy": "Never", "command": shell(script)})
}

/// Backs pods up in a namespace of their own; gives its name and that of the one to restore into.
async fn backed_up(home: &Home, prefix: &str, stored: Vec<Value>) -> (String, String) {
    let namespace = home.namespace(prefix).await;
    for pod in stored {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        pods::create(&home.client, &namespace, pod).await;
        pods::wait_for(&home.client, &namespace, &name, |pod| pod.status.is_some()).await;
    }
    let backed = home.back_up(&namespace, json!([])).await;
    assert_eq!(backed.end().0, "Completed", "{}", backed.results());
    let target = format!("{namespace}-2");
    (namespace, target)
}

fn errors(restored: &Restored, namespace: &str) -> Vec<String> {
    let results = restored.results();
    let mut errors: Vec<String> = results["errors"]["namespaces"][namespace]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| error.as_str().unwrap().to_owned())
        .collect();
    errors.sort();
    errors
}

fn named(mut pod: Value, app: &str) -> Value {
    pod["metadata"]["labels"] = json!({ "app": app });
    pod
}

pub(super) async fn init_containers_come_first_and_commands_run_in_order_container_by_container() {
    let home = Home::get().await;
    let mut pod = pods::idle("db", &["main", "side"]);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    for container in ["/spec/containers/0", "/spec/containers/1"] {
        pod.pointer_mut(container).unwrap()["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    }
    let (backup, target) = backed_up(&home, "rh-order", vec![pod]).await;
    let _scheduler = Scheduler::start(&home.client, &target);
    let mut warm = init("warm", "echo init >> /data/trace");
    warm["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let hooks = json!([{"name": "after", "includedNamespaces": [target], "postHooks": [
        {"init": {"initContainers": [warm]}},
        exec("echo one >> /data/trace; echo said one"),
        {"exec": {"command": shell("echo three >> /data/trace"), "container": "side"}},
        exec("echo two >> /data/trace"),
    ]}, {"name": "of-the-source", "includedNamespaces": [backup], "postHooks": [exec("echo no >> /data/trace")]}]);
    let restored = home.restore(&backup, &target, hooks).await;
    assert_eq!(restored.end(), ("Completed", 3, 0, 0), "{}", restored.results());
    let trace = pods::shell(&home.client, &target, "db", "main", "cat /data/trace").await;
    let (first, rest) = trace.split_once('\n').unwrap();
    assert_eq!(first, "init");
    assert!(rest.find("one").unwrap() < rest.find("two").unwrap(), "{trace}");
    assert!(rest.contains("three") && !rest.contains("no"), "{trace}");
    assert!(restored.log().contains("stdout: said one"), "{}", restored.log());
}

/// Not as Velero, which cancels the waiting hooks of all other pods.
pub(super) async fn a_failing_hook_makes_the_restore_partially_failed_and_holds_no_other_pod_up() {
    let home = Home::get().await;
    let stored = vec![
        named(pods::idle("stops", &["main"]), "stops"),
        named(pods::idle("goes-on", &["main"]), "goes-on"),
    ];
    let (backup, target) = backed_up(&home, "rh-fail", stored).await;
    let _scheduler = Scheduler::start(&home.client, &target);
    let hooks = json!([
        {"name": "strict", "labelSelector": {"matchLabels": {"app": "stops"}}, "postHooks": [
            {"exec": {"command": shell("exit 4"), "onError": "Fail"}},
            exec("echo never >> /tmp/trace"),
        ]},
        {"name": "lenient", "labelSelector": {"matchLabels": {"app": "goes-on"}}, "postHooks": [
            {"exec": {"command": shell("sleep 600"), "execTimeout": "2s"}},
            {"exec": {"command": shell("exit 5"), "onError": "Continue"}},
            exec("echo last >> /tmp/trace"),
        ]},
    ]);
    let restored = home.restore(&backup, &target, hooks).await;
    assert_eq!(restored.end(), ("PartiallyFailed", 5, 4, 4), "{}", restored.results());
    assert_eq!(
        errors(&restored, &target),
        [
            "hook lenient in container main failed to execute, err: command terminated with exit code 5"
                .to_owned(),
            "hook lenient in container main failed to execute, err: timed out after 2s".to_owned(),
            "hook strict in container main failed to execute, err: command terminated with exit code 4"
                .to_owned(),
            format!(
                "hook strict in container main in pod {target}/stops not executed: an earlier hook of the pod failed"
            ),
        ]
    );
    let trace = async |pod: &str| {
        pods::shell(&home.client, &target, pod, "main", "cat /tmp/trace 2>/dev/null || true").await
    };
    assert_eq!((trace("stops").await.as_str(), trace("goes-on").await.as_str()), ("", "last\n"));
}

pub(super) async fn a_hook_on_a_missing_container_is_an_error_and_no_hang() {
    let home = Home::get().await;
    let (backup, target) = backed_up(&home, "rh-missing", vec![pods::idle("web", &["main"])]).await;
    let _scheduler = Scheduler::start(&home.client, &target);
    let hooks = json!([{"name": "a", "postHooks": [
        {"exec": {"command": ["true"], "container": "none"}}, exec("echo here >> /tmp/trace"),
    ]}]);
    let restored = home.restore(&backup, &target, hooks).await;
    assert_eq!(restored.end(), ("PartiallyFailed", 2, 1, 1), "{}", restored.results());
    let error = "hook a in container none failed to execute, err: no such container: \"none\"";
    assert_eq!(errors(&restored, &target), [error]);
    let trace = pods::shell(&home.client, &target, "web", "main", "cat /tmp/trace").await;
    assert_eq!(trace, "here\n");
}

pub(super) async fn a_container_that_does_not_come_is_waited_for_as_long_as_the_hook_says() {
    let home = Home::get().await;
    let (backup, target) = backed_up(&home, "rh-wait", vec![pods::idle("web", &["main"])]).await;
    // Nobody places the pod.
    let hook = json!({"exec": {"command": ["true"], "waitTimeout": "2s"}});
    let restored = home.restore(&backup, &target, json!([{"name": "a", "postHooks": [hook]}])).await;
    assert_eq!(restored.end(), ("PartiallyFailed", 1, 1, 1), "{}", restored.results());
    let reason = "its container was not there in time";
    let error = format!("hook a in container main in pod {target}/web not executed: {reason}");
    assert_eq!(errors(&restored, &target), [error]);
}

pub(super) async fn a_hook_waits_until_its_container_is_ready_where_it_says_so() {
    let home = Home::get().await;
    let mut pod = pods::idle("slow", &["main"]);
    pod["spec"]["containers"][0]["command"] =
        shell("(sleep 3; touch /tmp/ready) & trap exit TERM; sleep 100000 & wait");
    pod["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1});
    let (backup, target) = backed_up(&home, "rh-ready", vec![pod]).await;
    let _scheduler = Scheduler::start(&home.client, &target);
    let hook = json!({"exec": {"command": ["test", "-f", "/tmp/ready"], "waitForReady": true}});
    let restored = home.restore(&backup, &target, json!([{"name": "a", "postHooks": [hook]}])).await;
    assert_eq!(restored.end(), ("Completed", 1, 0, 0), "{}", restored.results());
}

pub(super) async fn a_restored_pods_annotations_come_before_the_spec() {
    let home = Home::get().await;
    let mut pod = pods::idle("web", &["main", "side"]);
    pod["spec"]["volumes"] = json!([]);
    pod["metadata"]["annotations"] = json!({
        "post.hook.restore.velero.io/command": r#"["sh", "-c", "echo own >> /tmp/trace"]"#,
        "post.hook.restore.velero.io/container": "side",
        "post.hook.restore.velero.io/wait-timeout": "1m",
        "init.hook.restore.velero.io/container-image": holdfast_tests::node::IMAGE,
        "init.hook.restore.velero.io/container-name": "own-init",
        "init.hook.restore.velero.io/command": r#"["sh", "-c", "true"]"#,
    });
    let (backup, target) = backed_up(&home, "rh-own", vec![pod]).await;
    let _scheduler = Scheduler::start(&home.client, &target);
    let hooks = json!([{"name": "a", "postHooks": [
        {"exec": {"command": shell("echo spec >> /tmp/trace"), "container": "side"}},
        {"init": {"initContainers": [init("of-the-spec", "true")]}},
    ]}]);
    let restored = home.restore(&backup, &target, hooks).await;
    assert_eq!(restored.end(), ("Completed", 1, 0, 0), "{}", restored.results());
    assert_eq!(pods::shell(&home.client, &target, "web", "side", "cat /tmp/trace").await, "own\n");
    let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(home.client.clone(), &target);
    let spec = pods.get("web").await.unwrap().spec.unwrap();
    let names: Vec<String> = spec.init_containers.into_iter().flatten().map(|it| it.name).collect();
    assert_eq!(names, ["own-init"]);
}

pub(super) async fn an_init_hook_without_a_command_fails_validation() {
    let home = Home::get().await;
    let (backup, target) = backed_up(&home, "rh-invalid", vec![]).await;
    let spec: RestoreSpec = serde_json::from_value(json!({
        "backupName": backup,
        "namespaceMapping": {backup: target},
        "hooks": {"resources": [{"name": "warm", "postHooks": [
            {"init": {"initContainers": [{"name": "x", "image": "y"}]}},
        ]}]},
    }))
    .unwrap();
    let restore = home.runs.restore(&target, spec, pods::PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::FailedValidation);
    let problem = "invalid init container in restore hook \"warm\": command is required";
    assert_eq!(restore.status.validation_errors, [problem]);
}
