//! A bucket that Velero 1.18.3 wrote restores to what Velero itself made of it, restore by restore, on a real API
//! server. Where Holdfast departs on purpose, the test names the deviation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use holdfast::cluster::{Cluster, ListScope};
use holdfast::engine::RunOptions;
use holdfast::engine::pod_volumes::PodVolumes;
use holdfast::engine::restore::{Outcome, Progress, RestoreRun, Timeouts};
use holdfast::store::{BackupStore, LocationSettings, RestoreFile};
use holdfast_policy::velero;
use holdfast_tests::Testbed;
use holdfast_tests::fixtures::velero_bucket;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, Secret, ServiceAccount};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Controllers need a moment to make slices for restored services.
const PATIENCE: Duration = Duration::from_secs(30);
const MODIFIERS: &str = "\
version: v1
resourceModifierRules:
- conditions: {groupResource: deployments.apps, resourceNameRegex: ^web$, namespaces: [shop]}
  patches:
  - {operation: replace, path: /spec/replicas, value: '7'}
  - {operation: add, path: /metadata/labels/modified, value: 'yes'}
- conditions: {groupResource: configmaps, labelSelector: {matchLabels: {tier: front}}}
  mergePatches:
  - patchData: '{data: {quote: null, added: by-merge}}'
- conditions: {groupResource: services, resourceNameRegex: ^front$}
  strategicPatches:
  - patchData: '{spec: {ports: [{port: 80, name: renamed, targetPort: 9090}]}}'
- conditions: {groupResource: ingresses.networking.k8s.io}
  patches:
  - {operation: remove, path: /spec/no/such/thing}
";

type Listed = BTreeMap<String, BTreeSet<String>>;

/// One control plane and a copy of the bucket.
struct Stage {
    _testbed: Testbed,
    client: Client,
    cluster: Cluster,
    store: BackupStore,
    _bucket: tempfile::TempDir,
}

/// What a restore left behind.
struct Restored {
    outcome: Outcome,
    list: Listed,
    results: Value,
}

impl Stage {
    async fn start() -> Self {
        let testbed = Testbed::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        velero_bucket::copy_into(&folder.path().join("velero")).unwrap();
        let spec = serde_json::from_value(json!({
            "provider": "local",
            "config": {"path": folder.path()},
            "objectStorage": {"bucket": "velero"},
        }))
        .unwrap();
        let settings = LocationSettings::parse("default", &spec, None, None).unwrap();
        let store = BackupStore::open(&settings).await.unwrap();
        let client = testbed.client().unwrap();
        let cluster = Cluster::new(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": "velero"}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Self { _testbed: testbed, client, cluster, store, _bucket: folder }
    }

    /// The cluster of the backups, as far as it can be had from the backup of all of it.
    async fn with_the_sample_cluster() -> Self {
        let stage = Self::start().await;
        // Its claim is made anew without a volume; with this one in place they find each other as they did before.
        let volume = json!({
            "metadata": {"name": "vol-delete", "labels": {"disk": "vol-delete"}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "slow",
                "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/tmp/vol-delete"},
                "claimRef": {"namespace": "shop", "name": "data-delete"},
            },
        });
        let volumes = Api::<PersistentVolume>::all(stage.client.clone());
        volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
        let staged = stage
            .restore("stage", json!({"backupName": "gold-full-cluster", "preserveNodePorts": true}))
            .await;
        assert!(staged.list["v1/Pod"].contains("shop/web-549478646b-29kbs(created)"), "{:?}", staged.results);
        stage
    }

    async fn restore(&self, name: &str, spec: Value) -> Restored {
        let mut restore: velero::Restore = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "velero", "uid": format!("uid-of-{name}")},
            "spec": spec,
        }))
        .unwrap();
        let backup_name = restore.spec.backup_name.clone().unwrap();
        let backup = self.store.read_backup(&backup_name).await.unwrap().unwrap();
        restore
            .spec
            .excluded_resources
            .extend(holdfast::engine::restore::NON_RESTORABLE.iter().map(|name| (*name).to_owned()));
        let (progress, seen) = watch::channel(Progress::default());
        let outcome = holdfast::engine::restore::run(RestoreRun {
            restore,
            backup,
            cluster: self.cluster.clone(),
            store: self.store.clone(),
            clock: holdfast::clock::system(),
            progress,
            cancel: CancellationToken::new(),
            timeouts: Timeouts::default(),
            options: RunOptions::default(),
            pod_volumes: PodVolumes::usual(self.cluster.client(), "velero", &holdfast::clock::system()),
        })
        .await
        .unwrap();
        let list: Listed = self.file(name, RestoreFile::ResourceList).await;
        let listed = list.values().map(BTreeSet::len).sum::<usize>() as u64;
        assert_eq!(outcome.items, listed, "{name}");
        assert_eq!(*seen.borrow(), Progress { total: listed, done: listed, moves: None }, "{name}");
        Restored { outcome, list, results: self.file(name, RestoreFile::Results).await }
    }

    async fn file<T: serde::de::DeserializeOwned>(&self, restore: &str, file: RestoreFile) -> T {
        let packed = self.store.get_restore_file(restore, file).await.unwrap().unwrap();
        holdfast::archive::gunzip_json(&packed, 1 << 26).unwrap()
    }

    /// The objects in the cluster that a restore labelled are those that Velero's did; controllers need a moment.
    async fn compare_labelled(&self, restore: &str) {
        let expected = expected_objects(restore);
        let skip = |object: &String| object.ends_with("/default") || object.ends_with("/kube-root-ca.crt");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: BTreeSet<String> = comparable_objects(&self.labelled(restore).await)
                .into_iter()
                .filter(|it| !skip(it))
                .collect();
            let expected: BTreeSet<String> = expected.iter().filter(|it| !skip(it)).cloned().collect();
            if found == expected {
                return;
            }
            if Instant::now() >= deadline {
                assert_eq!(found, expected, "{restore}");
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Contents of some objects that a restore changed or had to leave alone.
    async fn look_at_details(&self) {
        let get = async |group: &str, kind: &str, plural: &str, namespace: &str, name: &str| {
            let resource =
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
            serde_json::to_value(api.get(name).await.unwrap()).unwrap()
        };
        let web = get("apps", "Deployment", "deployments", "shop-m", "web").await;
        assert_eq!(
            (&web["spec"]["replicas"], &web["metadata"]["labels"]["modified"]),
            (&json!(7), &json!("yes"))
        );
        let front = get("", "Service", "services", "shop-m", "front").await;
        assert_eq!(front["spec"]["ports"][0]["name"], "renamed");
        let gizmo = get("things.example.com", "Gizmo", "gizmos", "shop-s", "alpha").await;
        assert!(gizmo["status"].is_object(), "{gizmo}");
        let config = get("", "ConfigMap", "configmaps", "shop", "app-config").await;
        assert_eq!((config["data"].get("extra"), config["metadata"]["labels"].get("live")), (None, None));
        let robot = get("", "ServiceAccount", "serviceaccounts", "shop", "robot").await;
        assert_eq!(robot["metadata"]["labels"]["live"], "yes");
        let claim = get("", "PersistentVolumeClaim", "persistentvolumeclaims", "shop-p", "data-retain").await;
        assert_eq!(claim["spec"]["volumeName"], "vol-retain");
        let namespace = Api::<Namespace>::all(self.client.clone()).get("shop-p").await.unwrap();
        let labels = namespace.metadata.labels.unwrap();
        assert_eq!(
            (labels["team"].as_str(), labels["velero.io/restore-name"].as_str()),
            ("red", "rs-remap-plain")
        );
    }

    /// What was done to the sample between `rs-same` and `rs-none`.
    async fn change_shop(&self) {
        let patch = PatchParams::default();
        let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), "shop");
        let change =
            json!({"metadata": {"labels": {"live": "yes"}}, "data": {"greeting": "changed", "extra": "x"}});
        config_maps.patch("app-config", &patch, &Patch::Merge(change)).await.unwrap();
        config_maps.delete("empty", &DeleteParams::default()).await.unwrap();
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), "shop");
        deployments.patch("web", &patch, &Patch::Merge(json!({"spec": {"replicas": 5}}))).await.unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), "shop");
        let change = json!({"metadata": {"labels": {"live": "yes"}}});
        accounts.patch("robot", &patch, &Patch::Merge(change)).await.unwrap();
        let secrets = Api::<Secret>::namespaced(self.client.clone(), "shop");
        secrets.patch("db", &patch, &Patch::Merge(json!({"stringData": {"user": "changed"}}))).await.unwrap();
        let gizmo = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("things.example.com", "v1", "Gizmo"),
            "gizmos",
        );
        let gizmos = Api::<DynamicObject>::namespaced_with(self.client.clone(), "shop", &gizmo);
        gizmos.patch("alpha", &patch, &Patch::Merge(json!({"spec": {"size": 99}}))).await.unwrap();
    }

    async fn delete_namespace(&self, name: &str) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while namespaces.get_opt(name).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "namespace {name} does not go away");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The objects that carry the label of a restore: group resource and place.
    async fn labelled(&self, restore: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for resource in
            self.cluster.discover().await.unwrap().resources.iter().filter(|it| it.supports("list"))
        {
            let scope = ListScope {
                label_selector: Some(format!("velero.io/restore-name={restore}")),
                ..ListScope::everything()
            };
            let mut pages = self.cluster.list(resource, scope);
            while let Some(items) = pages.next().await.unwrap() {
                found.extend(items.into_iter().map(|item| match item.namespace {
                    Some(namespace) => format!("{} {namespace}/{}", resource.group_resource(), item.name),
                    None => format!("{} {}", resource.group_resource(), item.name),
                }));
            }
        }
        found
    }
}

/// Velero's list of the restore, with what Holdfast does otherwise: an object that exists and differs is listed as
/// skipped; one whose modifier can't be applied is not created, and so failed.
fn expected_list(restore: &str) -> Listed {
    let results = velero_bucket::results(restore).unwrap().to_string();
    let list: Listed = serde_json::from_value(velero_bucket::resource_list(restore).unwrap()).unwrap();
    list.into_iter()
        .map(|(kind, lines)| {
            let lines = lines.into_iter().map(|line| {
                if restore == "rs-modifier" && kind.ends_with("/Ingress") {
                    return line.replace("(created)", "(failed)");
                }
                let Some(place) = line.strip_suffix("(failed)") else { return line };
                let name = place.rsplit('/').next().unwrap();
                let differed = results.contains(&format!(":{name} already exists"))
                    || results.contains(&format!("\\\"{name}\\\" already exists"));
                if differed { format!("{place}(skipped)") } else { line }
            });
            (kind.clone(), lines.collect())
        })
        .collect()
}

/// Why a line of a list is not compared.
enum Why {
    /// Depends on what controllers had done by then.
    Race,
    /// This API server admits service accounts, which the one that Velero ran on did not: pods carry tokens, and
    /// are refused where their account is not restored.
    ServiceAccountAdmission,
    /// Deviation: managed fields are not restored, and so never a difference; nor is a status of zero values.
    ManagedFields,
}

/// Lines that are not compared, as `KIND NAMESPACE/NAME` or the beginning of that.
fn not_compared(restore: &str) -> Vec<(&'static str, Why)> {
    let mut lines = Vec::new();
    match restore {
        // What the control plane owns in namespaces that are not mapped comes and goes by its own rules.
        "rs-remap-full" => lines.extend([
            ("coordination.k8s.io/v1/Lease kube-system/", Why::Race),
            ("discovery.k8s.io/v1/EndpointSlice default/", Why::Race),
            ("networking.k8s.io/v1/IPAddress ", Why::Race),
            ("v1/Pod velero/", Why::Race),
        ]),
        "rs-same" | "rs-update" => lines.extend([
            ("discovery.k8s.io/v1/EndpointSlice shop/", Why::Race),
            ("v1/Pod shop/agent-", Why::Race),
            ("v1/Pod shop/db-0", Why::Race),
            ("v1/Pod shop/open-", Why::Race),
            ("v1/Pod shop/web-", Why::Race),
        ]),
        "rs-novol" => lines.extend([
            ("v1/Pod shop-v/runner", Why::ServiceAccountAdmission),
            ("v1/Pod shop-v/web-", Why::ServiceAccountAdmission),
        ]),
        "rs-partial" => lines.extend([("v1/Pod shop-h/web-", Why::ServiceAccountAdmission)]),
        _ => {}
    }
    if restore == "rs-update" {
        lines.extend([
            ("v1/Pod shop/", Why::ServiceAccountAdmission),
            ("policy/v1/PodDisruptionBudget shop/web", Why::ManagedFields),
            ("v1/ConfigMap shop/empty", Why::ManagedFields),
            ("v1/PersistentVolumeClaim shop/waiting", Why::ManagedFields),
            ("v1/ResourceQuota shop/quota", Why::ManagedFields),
            ("v1/Service shop/db", Why::ManagedFields),
            ("v1/Service shop/ext", Why::ManagedFields),
        ]);
    }
    lines
}

fn compared(restore: &str, list: &Listed) -> BTreeSet<String> {
    let left_out: Vec<&str> = not_compared(restore)
        .into_iter()
        .map(|(line, why)| match why {
            Why::Race | Why::ServiceAccountAdmission | Why::ManagedFields => line,
        })
        .collect();
    list.iter()
        .flat_map(|(kind, lines)| lines.iter().map(move |line| format!("{kind} {line}")))
        .filter(|line| !left_out.iter().any(|left_out| line.starts_with(left_out)))
        // Made by controllers in every namespace, before or after the restore comes to it.
        .filter(|line| !line.contains("/kube-root-ca.crt(") && !line.contains("/default("))
        .collect()
}

/// Labelled objects without the part of their names that a controller makes up, and without what controllers take
/// away again: pods of a DaemonSet whose nodes have no kubelet.
fn comparable_objects(objects: &BTreeSet<String>) -> BTreeSet<String> {
    objects
        .iter()
        .filter(|object| !object.contains("/agent-") || !object.starts_with("pods "))
        .map(|object| match object.strip_prefix("endpointslices.discovery.k8s.io ") {
            Some(name) => format!("endpointslices {}", name.rsplit_once('-').unwrap().0),
            None => object.clone(),
        })
        .collect()
}

/// What Velero labelled, changed by what Holdfast does otherwise.
fn expected_objects(restore: &str) -> BTreeSet<String> {
    let mut objects = comparable_objects(&velero_bucket::labelled_objects(restore).unwrap());
    // Deviation: restored Namespace objects are labelled like all others.
    objects.extend(
        expected_list(restore)
            .get("v1/Namespace")
            .into_iter()
            .flatten()
            .map(|line| format!("namespaces {}", line.strip_suffix("(created)").unwrap())),
    );
    // Deviation: an object whose modifier can't be applied is not created.
    if restore == "rs-modifier" {
        objects.remove("ingresses.networking.k8s.io shop-m/front");
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn every_restore_of_the_sample_bucket_does_what_velero_did() {
    let stage = Stage::with_the_sample_cluster().await;
    let mods: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "mods"}, "data": {"rules.yaml": MODIFIERS},
    }))
    .unwrap();
    Api::<ConfigMap>::namespaced(stage.client.clone(), "velero")
        .create(&PostParams::default(), &mods)
        .await
        .unwrap();
    for (name, spec) in cases() {
        match name {
            "rs-none" => stage.change_shop().await,
            "rs-disaster" => stage.delete_namespace("blog").await,
            _ => {}
        }
        let restored = stage.restore(name, spec).await;
        assert_eq!(
            compared(name, &restored.list),
            compared(name, &expected_list(name)),
            "{name}: {:#}",
            restored.results
        );
        let errors =
            restored.list.values().flatten().filter(|line| line.ends_with("(failed)")).count() as u64;
        // A refused update of an existing object is a warning, and its object is listed as failed all the same.
        if name != "rs-update" {
            assert_eq!(restored.outcome.errors, errors, "{name}: {:#}", restored.results);
        }
        if matches!(name, "rs-remap-full" | "rs-remap-plain") {
            stage.compare_labelled(name).await;
        }
    }
    for name in ["rs-filter", "rs-or", "rs-modifier", "rs-status", "rs-nodeports", "rs-disaster", "rs-sched"]
    {
        stage.compare_labelled(name).await;
    }
    stage.look_at_details().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backup_of_the_sample_bucket_restores_into_an_empty_cluster() {
    let stage = Stage::start().await;
    for (number, backup) in stage.store.list_backups().await.unwrap().into_iter().enumerate() {
        let items = velero_bucket::items(&backup).unwrap();
        let sources: BTreeSet<&str> = items
            .iter()
            .map(|item| item.split_once(' ').unwrap())
            .filter_map(|(kind, place)| match kind {
                "namespaces" => Some(place),
                _ => place.split_once('/').map(|(namespace, _)| namespace),
            })
            .collect();
        let target = |source: &str| format!("{source}-{number}");
        let mapping: BTreeMap<&str, String> =
            sources.iter().map(|source| (*source, target(source))).collect();
        let restored = stage
            .restore(&format!("all-{number}"), json!({"backupName": backup, "namespaceMapping": mapping}))
            .await;
        let expected: BTreeSet<String> = items
            .iter()
            .map(|item| item.split_once(' ').unwrap())
            .filter(|(kind, place)| {
                let never = holdfast::engine::restore::NON_RESTORABLE.contains(kind);
                // The pods have succeeded, the job is complete.
                let completed = matches!(
                    (*kind, *place),
                    ("pods", "shop/finished" | "shop/done-qbzzw") | ("jobs.batch", "shop/done")
                );
                !never && !completed
            })
            .map(|(kind, place)| match (kind, place.split_once('/')) {
                ("namespaces", _) => target(place),
                (_, Some((namespace, name))) => format!("{}/{name}", target(namespace)),
                (_, None) => place.to_owned(),
            })
            .collect();
        let bare = restored.list.get("v1/Namespace").cloned().unwrap_or_default();
        let listed: BTreeSet<String> = restored
            .list
            .values()
            .flatten()
            .map(|line| line.rsplit_once('(').unwrap().0.to_owned())
            .filter(|place| expected.contains(place) || !bare.contains(&format!("{place}(created)")))
            .collect();
        assert_eq!(listed, expected, "{backup}: {:#}", restored.results);
    }
}

/// The restores of the bucket in the order in which they ran, on the same cluster.
fn cases() -> Vec<(&'static str, Value)> {
    let to = |suffix: &str| {
        json!({
            "shop": format!("shop-{suffix}"), "shop-eu": format!("shop-eu-{suffix}"),
            "blog": format!("blog-{suffix}"), "tmp-1": format!("tmp-1-{suffix}"),
        })
    };
    vec![
        ("rs-remap-full", json!({"backupName": "gold-full-cluster", "namespaceMapping": to("r")})),
        (
            "rs-remap-plain",
            json!({
                "backupName": "gold-full", "namespaceMapping": to("p"),
                "excludedNamespaces": ["velero", "kube-system", "kube-public", "kube-node-lease", "default"],
            }),
        ),
        (
            "rs-filter",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop"], "namespaceMapping": {"shop": "shop-f"},
                "includedResources": ["configmaps", "secrets", "services", "serviceaccounts"],
                "labelSelector": {"matchLabels": {"tier": "front"}},
            }),
        ),
        (
            "rs-or",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop", "blog"],
                "namespaceMapping": {"shop": "shop-o", "blog": "blog-o"},
                "orLabelSelectors": [{"matchLabels": {"app": "gallery"}}, {"matchLabels": {"tier": "back"}}],
            }),
        ),
        ("rs-same", json!({"backupName": "gold-ns", "includedNamespaces": ["shop"]})),
        (
            "rs-none",
            json!({
                "backupName": "gold-ns", "includedNamespaces": ["shop"], "existingResourcePolicy": "none",
                "includedResources": ["configmaps", "secrets", "serviceaccounts", "deployments", "gizmos.things.example.com"],
            }),
        ),
        (
            "rs-update",
            json!({"backupName": "gold-ns", "includedNamespaces": ["shop"], "existingResourcePolicy": "update"}),
        ),
        (
            "rs-modifier",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop"], "namespaceMapping": {"shop": "shop-m"},
                "includedResources": ["deployments", "configmaps", "services", "ingresses"],
                "resourceModifier": {"kind": "ConfigMap", "name": "mods"},
            }),
        ),
        (
            "rs-status",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop", "shop-eu"],
                "namespaceMapping": {"shop": "shop-s", "shop-eu": "shop-eu-s"},
                "includedResources": ["gizmos.things.example.com", "services", "deployments"],
                "restoreStatus": {"includedResources": ["gizmos.things.example.com", "services"]},
            }),
        ),
        (
            "rs-nodeports",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop"], "namespaceMapping": {"shop": "shop-n"},
                "includedResources": ["services"], "preserveNodePorts": true,
            }),
        ),
        (
            "rs-novol",
            json!({
                "backupName": "gold-full", "includedNamespaces": ["shop"], "namespaceMapping": {"shop": "shop-v"},
                "includedResources": ["persistentvolumeclaims", "persistentvolumes", "pods"], "restorePVs": false,
            }),
        ),
        ("rs-partial", json!({"backupName": "gold-partial", "namespaceMapping": {"shop": "shop-h"}})),
        ("rs-disaster", json!({"backupName": "gold-full", "includedNamespaces": ["blog"]})),
        (
            "rs-sched",
            json!({"backupName": "gold-sched-20261123134202", "namespaceMapping": {"blog": "blog-s"}}),
        ),
    ]
}
