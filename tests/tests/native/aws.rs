//! Provider `aws`, against a server that has EC2's API and no disks: what is asked for, and what is written down.

use holdfast_policy::velero::{BackupPhase, RestorePhase};
use holdfast_tests::Ec2Server;
use holdfast_tests::ec2::elements;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PersistentVolume, Secret};
use kube::ResourceExt;
use kube::api::{ObjectMeta, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::cluster::Cluster;

const REGION: &str = "eu-central-1";
const ZONE: &str = "eu-central-1a";

struct Cloud {
    server: Ec2Server,
    cluster: Cluster,
    _daemon: holdfast_tests::Daemon,
}

impl Cloud {
    async fn new() -> anyhow::Result<Cloud> {
        let server = Ec2Server::start().await?;
        let cluster = Cluster::new().await?;
        let daemon = cluster.daemon_with(vec![("AWS_ENDPOINT_URL_EC2", server.endpoint())]).await?;
        let keys = "[default]\naws_access_key_id=test\naws_secret_access_key=test\n";
        let secret = Secret {
            metadata: ObjectMeta { name: Some("cloud".to_owned()), ..ObjectMeta::default() },
            data: Some([("keys".to_owned(), ByteString(keys.into()))].into()),
            ..Secret::default()
        };
        cluster.runs.create(&secret).await?;
        let location = json!({
            "metadata": {"name": "ebs"},
            "spec": {
                "provider": "velero.io/aws", "config": {"region": REGION},
                "credential": {"name": "cloud", "key": "keys"},
            },
        });
        let location: holdfast_policy::velero::VolumeSnapshotLocation = serde_json::from_value(location)?;
        cluster.runs.create(&location).await?;
        Ok(Cloud { server, cluster, _daemon: daemon })
    }

    async fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<String> {
        self.server.ask(REGION, action, parameters).await
    }

    async fn new_volume(&self) -> anyhow::Result<String> {
        let tag = [
            ("TagSpecification.1.ResourceType", "volume"),
            ("TagSpecification.1.Tag.1.Key", "team"),
            ("TagSpecification.1.Tag.1.Value", "shop"),
        ];
        let volume = [("Size", "4"), ("AvailabilityZone", ZONE), ("VolumeType", "gp3"), ("Iops", "4000")];
        let made = self.ask("CreateVolume", &[&volume[..], &tag[..]].concat()).await?;
        elements(&made, "volumeId").pop().ok_or_else(|| anyhow::anyhow!("no volume: {made}"))
    }

    /// A claim in a namespace, bound to a volume of EBS.
    async fn volume(&self, namespace: &str) -> anyhow::Result<(String, String)> {
        let id = self.new_volume().await?;
        let source = json!({"awsElasticBlockStore": {"volumeID": format!("aws://{ZONE}/{id}")}});
        let name = self.cluster.volume(namespace, source).await?;
        let labels = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": ZONE}}});
        let volumes = self.cluster.volumes();
        volumes.patch(&name, &PatchParams::default(), &Patch::Merge(labels)).await?;
        Ok((name, id))
    }

    async fn snapshots(&self) -> anyhow::Result<Vec<String>> {
        Ok(elements(&self.ask("DescribeSnapshots", &[("Owner.1", "self")]).await?, "snapshotId"))
    }
}

fn id_of(volume: &PersistentVolume) -> String {
    let source = volume.spec.as_ref().and_then(|spec| spec.aws_elastic_block_store.as_ref());
    source.map(|source| source.volume_id.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ebs_volume_is_snapshotted_tagged_restored_like_it_was_and_deleted() -> anyhow::Result<()> {
    let cloud = Cloud::new().await?;
    let cluster = &cloud.cluster;
    let shop = cluster.testbed.namespace("shop").await?;
    let (name, id) = cloud.volume(&shop).await?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let snapshots = cloud.snapshots().await?;
    let [snapshot] = snapshots.as_slice() else { panic!("{snapshots:?}") };
    assert_eq!(
        cluster.stored("one", "volumesnapshots")?,
        json!([{
            "spec": {
                "backupName": "one", "backupUID": backup.uid(), "location": "ebs",
                "persistentVolumeName": name, "providerVolumeID": id, "volumeType": "gp3",
                "volumeAZ": ZONE, "volumeIOPS": 4000,
            },
            "status": {"providerSnapshotID": snapshot, "phase": "Completed"},
        }])
    );
    let info = cluster.stored("one", "volumeinfo")?;
    assert_eq!(
        info[0]["nativeSnapshotInfo"],
        json!({"snapshotHandle": snapshot, "volumeType": "gp3", "volumeAZ": ZONE, "iops": "4000", "Phase": "Completed"})
    );
    let tags = cloud.ask("DescribeSnapshots", &[("SnapshotId.1", snapshot)]).await?;
    let tags: Vec<(String, String)> =
        elements(&tags, "key").into_iter().zip(elements(&tags, "value")).collect();
    for (key, value) in [
        ("velero.io/backup", "one"),
        ("velero.io/pv", name.as_str()),
        ("velero.io/storage-location", "default"),
        ("team", "shop"),
    ] {
        assert!(tags.contains(&(key.to_owned(), value.to_owned())), "{key}={value} in {tags:?}");
    }

    cluster.lose(&shop, &name).await?;
    let restore = cluster.restore("back", json!({"backupName": "one"})).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    let volume = cluster.bound(&shop).await?;
    assert_eq!(volume.name_any(), name);
    let restored = id_of(&volume);
    let restored = restored.strip_prefix(&format!("aws://{ZONE}/")).unwrap_or_default();
    assert!(restored != id && restored.starts_with("vol-"), "{restored}");
    let made = cloud.ask("DescribeVolumes", &[("VolumeId.1", restored)]).await?;
    for (element, value) in [
        ("snapshotId", snapshot.as_str()),
        ("volumeType", "gp3"),
        ("availabilityZone", ZONE),
        ("iops", "4000"),
    ] {
        assert_eq!(elements(&made, element), [value], "{element} in {made}");
    }
    assert!(elements(&made, "key").contains(&"team".to_owned()), "{made}");
    assert!(!elements(&made, "key").contains(&"velero.io/backup".to_owned()), "{made}");

    cluster.delete_backup("one").await?;
    assert_eq!(cloud.snapshots().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_volume_is_neither_restored_nor_deleted() -> anyhow::Result<()> {
    let cloud = Cloud::new().await?;
    let cluster = &cloud.cluster;
    let shop = cluster.testbed.namespace("shop").await?;
    let (name, _) = cloud.volume(&shop).await?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let own = cloud.snapshots().await?;
    let foreign = cloud.new_volume().await?;
    let made = cloud.ask("CreateSnapshot", &[("VolumeId", &foreign)]).await?;
    let foreign = elements(&made, "snapshotId").pop().unwrap_or_default();
    let mut mixed = cluster.stored("one", "volumesnapshots")?;
    mixed[0]["status"]["providerSnapshotID"] = json!(foreign);
    cluster.store("one", "volumesnapshots", &mixed)?;
    cluster.lose(&shop, &name).await?;

    let restore = cluster.restore("mixed", json!({"backupName": "one"})).await?;
    assert_eq!(restore.status_phase(), RestorePhase::PartiallyFailed, "{:?}", restore.status);
    let errors = cluster.errors("restores/mixed", "restore-mixed-results.gz")?;
    assert!(errors.contains("is not of this backup and volume"), "{errors}");
    assert!(cluster.volumes().get_opt(&name).await?.is_none());
    let errors = cluster.deletion_fails("one").await?;
    assert!(errors.contains("is not of this backup and volume"), "{errors}");
    let mut left = cloud.snapshots().await?;
    left.sort();
    let mut expected = [own, vec![foreign]].concat();
    expected.sort();
    assert_eq!(left, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_ec2_does_not_know_fails_alone() -> anyhow::Result<()> {
    let cloud = Cloud::new().await?;
    let cluster = &cloud.cluster;
    let shop = cluster.testbed.namespace("shop").await?;
    let source = json!({"awsElasticBlockStore": {"volumeID": "vol-00000000000000000"}});
    cluster.volume(&shop, source).await?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    let errors = cluster.errors("backups/one", "one-results.gz")?;
    assert!(errors.contains("InvalidVolume.NotFound"), "{errors}");
    assert_eq!(cloud.snapshots().await?, Vec::<String>::new());
    Ok(())
}
