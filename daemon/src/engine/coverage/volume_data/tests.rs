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
        class("fast", "disk.example", json!({})),
    ]
}

fn class(name: &str, driver: &str, labels: Value) -> Object {
    let group = "snapshot.storage.k8s.io";
    let value = json!({"metadata": {"name": name, "labels": labels}, "driver": driver});
    object(group, "volumesnapshotclasses", "VolumeSnapshotClass", value)
}

fn location(namespace: &str, name: &str, provider: &str) -> Object {
    let value = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"provider": provider}});
    object("velero.io", "volumesnapshotlocations", "VolumeSnapshotLocation", value)
}

/// What a Backup in namespace `backups` does, whose policies make location `copies`.
fn told(objects: &[Object], spec: Value, rules: &str) -> String {
    let spec: BackupSpec = serde_json::from_value(spec).unwrap();
    let rules = match rules {
        "" => BTreeMap::new(),
        text => BTreeMap::from([("rules".to_owned(), format!("version: v1\nvolumePolicies: [{text}]\n"))]),
    };
    let choice = VolumeChoice {
        namespace: "backups".to_owned(),
        rules,
        locations: BTreeMap::from([("copies".to_owned(), "local".to_owned())]),
        ..VolumeChoice::of(&spec)
    };
    told_of(objects, &choice)
}

fn told_of(objects: &[Object], choice: &VolumeChoice) -> String {
    let discovery = Discovery::without_a_cluster(&[]);
    let surroundings = Surroundings::of(&discovery, objects);
    let of = |place: usize| surroundings.data_of(&objects[place], choice).unwrap().to_string();
    assert_eq!(of(0), of(1));
    assert_eq!(surroundings.data_of(&objects[2], choice), None);
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
    let nfs = cluster(json!({"nfs": {"path": "/srv"}}), json!({}));
    assert_eq!(told(&nfs, json!({}), ""), "not kept: no snapshot location takes such volumes");
}

#[test]
fn the_location_is_the_one_that_a_run_chooses() {
    let mut objects = cluster(json!({"hostPath": {"path": "/srv"}}), json!({}));
    let of = |objects: &[Object], names: Value| told(objects, json!({"volumeSnapshotLocations": names}), "");
    let absent = "not kept: volume snapshot location other does not exist: create it, or leave it out of \
                  volumeSnapshotLocations";
    assert_eq!(of(&objects, json!(["other"])), absent);
    objects.extend([location("elsewhere", "other", "local"), location("backups", "ebs", "velero.io/aws")]);
    assert_eq!(of(&objects, json!(["other"])), absent);
    assert_eq!(of(&objects, json!(["ebs"])), "in a snapshot of location copies");
    objects.push(location("backups", "other", "velero.io/local"));
    assert_eq!(of(&objects, json!(["ebs", "other"])), "in a snapshot of location other");
    let several = of(&objects, json!([]));
    assert!(
        several.starts_with("not kept: provider local has several volume snapshot locations"),
        "{several}"
    );
}

#[test]
fn volumes_of_csi_drivers_have_no_other_snapshots_where_the_cluster_serves_them() {
    let mut objects =
        cluster(json!({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}}), json!({}));
    objects.push(location("backups", "ebs", "aws"));
    let no_class = "not kept: there is no VolumeSnapshotClass of driver ebs.csi.aws.com";
    assert_eq!(told(&objects, json!({}), ""), no_class);
    objects.remove(3);
    assert_eq!(told(&objects, json!({}), ""), "in a snapshot of location ebs");
    // Nobody asks for a volume whose claim is gone.
    objects.push(class("ebs", "ebs.csi.aws.com", json!({})));
    let discovery = Discovery::without_a_cluster(&[]);
    let alone = [&objects[..1], &objects[3..]].concat();
    let data =
        Surroundings::of(&discovery, &alone).data_of(&alone[0], &VolumeChoice::of(&BackupSpec::default()));
    assert_eq!(data, Some(Data::NotKept { reason: "its claim is not there".to_owned() }));
}

#[test]
fn of_several_classes_one_has_to_be_marked() {
    let mut objects = cluster(json!({"csi": {"driver": "disk.example"}}), json!({}));
    objects.push(class("slow", "disk.example", json!({})));
    let several = told(&objects, json!({}), "");
    assert!(
        several.starts_with("not kept: driver disk.example has several VolumeSnapshotClasses (fast, slow)")
    );
    let annotation = "velero.io/csi-volumesnapshot-class_disk.example".to_owned();
    let choice = VolumeChoice {
        annotations: BTreeMap::from([(annotation, "slow".to_owned())]),
        ..VolumeChoice::of(&BackupSpec::default())
    };
    assert_eq!(told_of(&objects, &choice), "in a CSI snapshot of driver disk.example");
    objects.push(class("marked", "disk.example", json!({"velero.io/csi-volumesnapshot-class": "true"})));
    assert_eq!(told(&objects, json!({}), ""), "in a CSI snapshot of driver disk.example");
}
