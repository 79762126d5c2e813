use bytes::Bytes;
use pretty_assertions::assert_eq;
use serde_json::json;

use super::*;
use crate::cluster::{Item, Resource};

fn object(group: &str, plural: &str, kind: &str, value: Value) -> Object {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let resource = Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: value.pointer("/metadata/namespace").is_some(),
        singular: String::new(),
        short_names: Vec::new(),
        verbs: Vec::new(),
    };
    let item = Item {
        name: text("/metadata/name").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        json: Bytes::from(value.to_string()),
        excluded: false,
        deleting: false,
    };
    Object::new(&resource, item).unwrap()
}

fn cluster(source: Value, annotations: Value) -> Vec<Object> {
    let mut spec = json!({"claimRef": {"namespace": "shop", "name": "data"}, "capacity": {"storage": "1Gi"}});
    spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    vec![
        object("", VOLUMES, "PersistentVolume", json!({"metadata": {"name": "pv"}, "spec": spec})),
        object(
            "",
            CLAIMS,
            "PersistentVolumeClaim",
            json!({
                "metadata": {"name": "data", "namespace": "shop"}, "spec": {"volumeName": "pv"},
            }),
        ),
        object(
            "",
            "pods",
            "Pod",
            json!({
                "metadata": {"name": "db", "namespace": "shop", "annotations": annotations},
                "spec": {"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]},
            }),
        ),
        object(
            "snapshot.storage.k8s.io",
            "volumesnapshotclasses",
            "VolumeSnapshotClass",
            json!({
                "metadata": {"name": "fast"}, "driver": "disk.example",
            }),
        ),
    ]
}

fn told(objects: &[Object], spec: Value, rules: &str) -> String {
    let spec: BackupSpec = serde_json::from_value(spec).unwrap();
    let rules = match rules {
        "" => BTreeMap::new(),
        text => BTreeMap::from([("rules".to_owned(), format!("version: v1\nvolumePolicies: [{text}]\n"))]),
    };
    let locations = BTreeMap::from([("copies".to_owned(), "local".to_owned())]);
    let choice = VolumeChoice::new(&spec, rules, locations);
    let surroundings = Surroundings::of(objects);
    let of = |place: usize| surroundings.data_of(&objects[place], &choice).unwrap().to_string();
    assert_eq!(of(0), of(1));
    assert_eq!(surroundings.data_of(&objects[2], &choice), None);
    of(0)
}

#[test]
fn a_volume_s_data_is_told_as_a_run_would_decide() {
    let csi = |driver: &str| json!({"csi": {"driver": driver}});
    let plain = cluster(csi("disk.example"), json!({}));
    assert_eq!(told(&plain, json!({}), ""), "in a CSI snapshot of driver disk.example");
    assert_eq!(told(&plain, json!({"snapshotVolumes": false}), ""), "not kept: snapshotVolumes is false");
    assert_eq!(told(&plain, json!({"defaultVolumesToFsBackup": true}), ""), "read file by file from pod db");
    let rule = |action: &str| format!("{{conditions: {{}}, action: {{type: {action}}}}}");
    assert_eq!(told(&plain, json!({}), &rule("skip")), "not kept: a volume policy says skip");
    assert_eq!(told(&plain, json!({}), &rule("fs-backup")), "read file by file from pod db");
    let never = json!({"snapshotVolumes": false});
    assert_eq!(told(&plain, never, &rule("snapshot")), "in a CSI snapshot of driver disk.example");

    let asks = cluster(csi("disk.example"), json!({"backup.velero.io/backup-volumes": "other,disk"}));
    assert_eq!(told(&asks, json!({}), ""), "read file by file from pod db");
    let other = cluster(csi("other.example"), json!({}));
    assert_eq!(
        told(&other, json!({}), ""),
        "not kept: there is no VolumeSnapshotClass of driver other.example"
    );
    let folder = cluster(json!({"hostPath": {"path": "/srv"}}), json!({}));
    assert_eq!(told(&folder, json!({}), ""), "in a snapshot of location copies");
    let elsewhere = json!({"volumeSnapshotLocations": ["other"]});
    assert_eq!(told(&folder, elsewhere, ""), "not kept: no snapshot location takes such volumes");
}
