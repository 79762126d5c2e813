use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::engine::LogFormat;
use crate::engine::run_log::{Owner, RunKind};

fn item(namespace: Option<&str>, name: &str, json: Value) -> Item {
    Item {
        name: name.into(),
        namespace: namespace.map(str::to_owned),
        excluded: false,
        deleting: false,
        json: json.to_string().into(),
    }
}

fn info(spec: Value) -> VolumeInfo {
    VolumeInfo::new(&serde_json::from_value(spec).unwrap())
}

fn pod(name: &str, annotations: Value) -> Item {
    let volumes = json!([
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-retain"}},
        {"name": "token", "projected": {"sources": []}},
        {"name": "cache", "emptyDir": {}},
    ]);
    item(Some("shop"), name, json!({"metadata": {"annotations": annotations}, "spec": {"volumes": volumes}}))
}

fn volume(claim: Value) -> Item {
    let spec = json!({"claimRef": claim, "persistentVolumeReclaimPolicy": "Retain"});
    item(None, "vol-retain", json!({"metadata": {"labels": {"disk": "vol-retain"}}, "spec": spec}))
}

#[test]
fn a_volume_that_a_pod_mounts_names_the_first_pod() {
    let info = info(json!({}));
    info.meet_pod(&pod("runner", json!({})), &PodVerdicts::new()).unwrap();
    info.meet_pod(&pod("web", json!({})), &PodVerdicts::new()).unwrap();
    info.meet_volume(&volume(json!({"namespace": "shop", "name": "data-retain"})), None).unwrap();
    assert_eq!(
        serde_json::to_value(info.entries(&Ledger::default())).unwrap(),
        json!([{
            "pvcName": "data-retain",
            "pvcNamespace": "shop",
            "pvName": "vol-retain",
            "snapshotDataMoved": false,
            "preserveLocalSnapshot": false,
            "skipped": true,
            "skippedReason": "podvolume: opted out due to annotation in pod runner;volumeSnapshot: no applicable volumesnapshotter found;",
            "pvInfo": {"reclaimPolicy": "Retain", "labels": {"disk": "vol-retain"}},
        }])
    );
}

#[test]
fn a_volume_without_claim_or_snapshots_says_so() {
    let info = info(json!({"snapshotVolumes": false}));
    info.meet_volume(&volume(Value::Null), None).unwrap();
    let entry = serde_json::to_value(&info.entries(&Ledger::default())[0]).unwrap();
    assert_eq!(entry.get("pvcName"), None);
    assert_eq!(
        entry["skippedReason"],
        "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;"
    );
}

#[test]
fn volumes_to_be_read_file_by_file_are_told() {
    let wanted =
        |spec, annotations| info(spec).meet_pod(&pod("web", annotations), &PodVerdicts::new()).unwrap();
    let none: Vec<String> = vec![];
    assert_eq!(wanted(json!({}), json!({})), none);
    assert_eq!(wanted(json!({}), json!({"backup.velero.io/backup-volumes": "data,other"})), ["data"]);
    let opt_out = json!({"defaultVolumesToFsBackup": true});
    assert_eq!(wanted(opt_out.clone(), json!({})), ["data", "cache"]);
    assert_eq!(wanted(opt_out, json!({"backup.velero.io/backup-volumes-excludes": "cache"})), ["data"]);
}
#[test]
fn the_verdict_of_a_policy_is_the_reason() {
    let claim = json!({"namespace": "shop", "name": "data-retain"});
    let reason = |verdict, taken_up: &[&str]| {
        let info = info(json!({}));
        let ledger = Ledger::default();
        for claim in taken_up {
            ledger.begin(CLAIM_KIND, Some("shop"), claim);
        }
        let verdicts = PodVerdicts::from([("data".to_owned(), verdict)]);
        info.meet_pod(&pod("web", json!({})), &verdicts).unwrap();
        info.meet_volume(&volume(claim.clone()), Some(verdict)).unwrap();
        info.entries(&ledger)[0].skipped_reason.clone().unwrap_or_default()
    };
    let opted_out = "podvolume: opted out due to annotation in pod web;";
    assert_eq!(
        reason(VolumeActionType::Skip, &["data-retain"]),
        format!("any: skipped due to resource policy ;{opted_out}{NOT_CHOSEN}")
    );
    assert_eq!(reason(VolumeActionType::Skip, &[]), format!("{opted_out}{NOT_CHOSEN}"));
    assert_eq!(reason(VolumeActionType::Custom, &["data-retain"]), format!("{opted_out}{NOT_CHOSEN}"));
    assert_eq!(reason(VolumeActionType::FsBackup, &["data-retain"]), NOT_CHOSEN);
    assert_eq!(
        reason(VolumeActionType::Snapshot, &[]),
        format!("{opted_out}volumeSnapshot: no applicable volumesnapshotter found;")
    );
}

#[test]
fn a_policy_overrules_annotations_and_defaults() {
    let wanted = |spec, action, annotations| {
        let verdicts = PodVerdicts::from([("data".to_owned(), action)]);
        info(spec).meet_pod(&pod("web", annotations), &verdicts).unwrap()
    };
    let opted_in = json!({"backup.velero.io/backup-volumes": "data"});
    assert_eq!(wanted(json!({}), VolumeActionType::Skip, opted_in), Vec::<String>::new());
    assert_eq!(wanted(json!({}), VolumeActionType::FsBackup, json!({})), ["data"]);
}

#[test]
fn what_a_policy_asks_for_in_vain_is_reported() {
    let owner = Owner { kind: RunKind::Backup, namespace: "velero", name: "b1" };
    let log = RunLog::start(owner, LogFormat::Text, crate::clock::system()).unwrap();
    let claim = json!({"namespace": "shop", "name": "data-retain"});
    for (verdict, pods, expected) in [
        (VolumeActionType::Snapshot, false, (0, 1)),
        (VolumeActionType::FsBackup, false, (1, 1)),
        (VolumeActionType::FsBackup, true, (1, 1)),
        (VolumeActionType::Skip, false, (1, 1)),
    ] {
        let info = info(json!({}));
        if pods {
            let verdicts = PodVerdicts::from([("data".to_owned(), verdict)]);
            info.meet_pod(&pod("web", json!({})), &verdicts).unwrap();
        }
        info.meet_volume(&volume(claim.clone()), Some(verdict)).unwrap();
        info.report_uncopied(&log);
        let counts = log.counts();
        assert_eq!((counts.warnings, counts.errors), expected, "{verdict:?}");
    }
}
