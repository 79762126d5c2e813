//! What a restore promises beyond Velero's sample: nothing is created from a damaged archive or without its data,
//! bad entries are told and left out, and what deviates from Velero does so as documented.

use holdfast::engine::restore::Error;
use holdfast_tests::restores::{Bench, archive, archive_of_texts, config_map, namespace};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

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
async fn an_archive_without_objects_is_restored_with_one_warning() {
    let bench = Bench::start().await;
    bench.put_backup("nothing", &archive(&[]));
    let restored = bench.restore("rs-nothing", json!({"backupName": "nothing"})).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (1, 0), "{}", restored.results);
    assert!(restored.results["warnings"]["velero"].to_string().contains("zero items to be restored"));
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
