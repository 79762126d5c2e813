use holdfast_policy::velero::BackupSpec;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::super::fixtures::{discovery, namespaces};
use super::*;

fn object(kind: &str, namespace: &str, name: &str, more: Value) -> Object {
    let discovery = discovery();
    let resource = discovery.resources.iter().find(|resource| resource.kind == kind).unwrap();
    let mut value = json!({"apiVersion": resource.api_version(), "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = json!(namespace);
    }
    for (key, field) in more.as_object().unwrap() {
        match value.get_mut(key).and_then(Value::as_object_mut) {
            Some(there) => there.extend(field.as_object().unwrap().clone()),
            None => value[key] = field.clone(),
        }
    }
    Object::parse(&value, &discovery).unwrap()
}

fn cluster() -> Vec<Object> {
    let claim = json!({"spec": {"volumeName": "vol-1"}, "status": {"phase": "Bound"}});
    let pod = json!({
        "metadata": {"labels": {"tier": "front"}},
        "spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]},
    });
    let labelled =
        json!({"metadata": {"labels": {"velero.io/exclude-from-backup": "true", "tier": "front"}}});
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    vec![
        object("Namespace", "", "shop", json!({})),
        object("Namespace", "", "quiet", json!({})),
        object("Pod", "shop", "web", pod),
        object("PersistentVolumeClaim", "shop", "data", claim),
        object("PersistentVolume", "", "vol-1", json!({})),
        object("PersistentVolume", "", "vol-2", json!({})),
        object("ConfigMap", "blog", "posts", json!({})),
        object("ConfigMap", "quiet", "hidden", labelled),
        object("Secret", "shop", "going", leaving),
        object("Gizmo", "shop", "alpha", json!({})),
        object("CustomResourceDefinition", "", "gizmos.example.org", json!({})),
        object("VolumeSnapshot", "shop", "snap", json!({})),
    ]
}

fn verdicts(spec: &str) -> Vec<String> {
    let spec: BackupSpec = serde_yaml::from_str(spec).unwrap();
    let (discovery, namespaces, objects) = (discovery(), namespaces(), cluster());
    let verdicts = Judge::new(&spec, &discovery, &namespaces).unwrap().all(&objects);
    objects.iter().zip(verdicts).map(|(object, verdict)| format!("{object} {verdict}")).collect()
}

#[test]
fn some_namespaces_with_what_their_objects_need() {
    assert_eq!(
        verdicts("{includedNamespaces: [shop, 'qui*']}"),
        [
            "Namespace/shop included: the filters choose it",
            "Namespace/quiet included: the filters choose it",
            "Pod/shop/web included: the filters choose it",
            "PersistentVolumeClaim/shop/data included: the filters choose it",
            "PersistentVolume/vol-1 included: PersistentVolumeClaim/shop/data needs it",
            "PersistentVolume/vol-2 left out: the backup is of some namespaces, and no object there that is part of it needs this one",
            "ConfigMap/blog/posts left out: namespaces.include does not have namespace blog",
            "ConfigMap/quiet/hidden left out: it has the label velero.io/exclude-from-backup=true",
            "Secret/shop/going left out: it is being deleted",
            "Gizmo/shop/alpha included: the filters choose it",
            "CustomResourceDefinition/gizmos.example.org included: gizmos.example.org are part of the backup",
            "VolumeSnapshot/shop/snap left out: snapshot objects of other makers are never backed up",
        ]
    );
}

#[test]
fn a_selector_takes_what_its_objects_bring_and_namespaces_in_which_something_is_listed() {
    assert_eq!(
        verdicts("{labelSelector: {matchLabels: {tier: front}}, includeClusterResources: true}"),
        [
            "Namespace/shop included: objects in it are part of the backup",
            "Namespace/quiet included: objects in it are part of the backup",
            "Pod/shop/web included: the filters choose it",
            "PersistentVolumeClaim/shop/data included: Pod/shop/web needs it",
            "PersistentVolume/vol-1 included: PersistentVolumeClaim/shop/data needs it",
            "PersistentVolume/vol-2 left out: its labels do not match the label selector",
            "ConfigMap/blog/posts left out: its labels do not match the label selector",
            "ConfigMap/quiet/hidden left out: it has the label velero.io/exclude-from-backup=true",
            "Secret/shop/going left out: its labels do not match the label selector",
            "Gizmo/shop/alpha left out: its labels do not match the label selector",
            "CustomResourceDefinition/gizmos.example.org left out: its labels do not match the label selector",
            "VolumeSnapshot/shop/snap left out: snapshot objects of other makers are never backed up",
        ]
    );
}

#[test]
fn entries_are_named_as_the_user_wrote_them() {
    let told = |spec: &str, object: &str| {
        let line = verdicts(spec).into_iter().find(|line| line.starts_with(object)).unwrap();
        line[object.len()..].to_owned()
    };
    for (spec, object, expected) in [
        (
            "{excludedNamespaces: [quiet, 'sh*']}",
            "Pod/shop/web",
            r#" left out: namespaces.exclude has "sh*", which means namespace shop"#,
        ),
        (
            "{excludedNamespaces: ['sh*']}",
            "Namespace/shop",
            r#" left out: namespaces.exclude has "sh*", which means namespace shop"#,
        ),
        (
            "{excludedResources: [secrets, po]}",
            "Pod/shop/web",
            r#" left out: resources.exclude has "po", which means this kind"#,
        ),
        (
            "{excludedClusterScopedResources: ['*']}",
            "PersistentVolume/vol-1",
            r#" left out: clusterResources.exclude has "*", which means this kind"#,
        ),
        (
            "{includedNamespaceScopedResources: [cm]}",
            "Pod/shop/web",
            " left out: namespacedResources.include does not have this kind",
        ),
        (
            "{includedNamespaceScopedResources: [cm]}",
            "PersistentVolume/vol-2",
            " left out: the backup is of some namespacedResources, and no object that is part of it needs this one",
        ),
        (
            "{includedClusterScopedResources: [sc]}",
            "PersistentVolume/vol-2",
            " left out: clusterResources.include does not have this kind",
        ),
        (
            "{includeClusterResources: false}",
            "PersistentVolume/vol-1",
            " left out: includeClusterResources is Never",
        ),
        ("{}", "PersistentVolume/vol-2", " included: it comes with the whole cluster"),
    ] {
        assert_eq!(told(spec, object), expected, "{spec} {object}");
    }
}

#[test]
fn an_object_that_two_types_show_is_taken_once() {
    let spec = BackupSpec::default();
    let (discovery, namespaces) = (discovery(), namespaces());
    let judge = Judge::new(&spec, &discovery, &namespaces).unwrap();
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"namespace": "shop", "name": "e"}});
    let event = Object::parse(&event, &discovery).unwrap();
    assert_eq!(judge.direct(&event), Verdict::LeftOut(Rule::Twin { taken_as: "events".into() }));
}

#[test]
fn a_namespace_that_asks_to_be_left_out_is_left_out() {
    let spec = BackupSpec::default();
    let discovery = discovery();
    let mut namespaces = namespaces();
    namespaces[2].labels.insert("velero.io/exclude-from-backup".into(), "true".into());
    let judge = Judge::new(&spec, &discovery, &namespaces).unwrap();
    let rule = |object: &Object| judge.direct(object).to_string();
    let left_out = "left out: namespace shop has the label velero.io/exclude-from-backup=true";
    assert_eq!(rule(&object("Pod", "shop", "web", json!({}))), left_out);
    assert_eq!(rule(&object("Namespace", "", "shop", json!({}))), left_out);
}

#[test]
fn an_object_that_an_action_cannot_read_fails() {
    let spec = BackupSpec::default();
    let (discovery, namespaces) = (discovery(), namespaces());
    let judge = Judge::new(&spec, &discovery, &namespaces).unwrap();
    let pod = object("Pod", "shop", "odd", json!({"spec": {"volumes": {"not": "a list"}}}));
    assert_eq!(
        judge.all(&[pod])[0].to_string(),
        "left out: it is not what its kind says: velero.io/pod cannot read it"
    );
}
