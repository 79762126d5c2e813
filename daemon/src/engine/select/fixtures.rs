//! A small cluster for the tests of selection.

use super::{NamespaceFacts, Selection};
use crate::cluster::{Discovery, Resource};

const RESOURCES: &str = "
    core           Namespace                namespaces                cluster    ns
    core           ConfigMap                configmaps                namespaced cm
    core           Event                    events                    namespaced ev
    core           PersistentVolumeClaim    persistentvolumeclaims    namespaced pvc
    core           PersistentVolume         persistentvolumes         cluster    pv
    core           Node                     nodes                     cluster    no
    core           Pod                      pods                      namespaced po
    core           Secret                   secrets                   namespaced -
    extensions     Deployment               deployments               namespaced deploy
    extensions     Ingress                  ingresses                 namespaced ing
    apps           Deployment               deployments               namespaced deploy
    events.k8s.io  Event                    events                    namespaced ev
    storage.k8s.io StorageClass             storageclasses            cluster    sc
    apiextensions.k8s.io CustomResourceDefinition customresourcedefinitions cluster crd
    snapshot.storage.k8s.io VolumeSnapshot  volumesnapshots           namespaced vs
    snapshot.storage.k8s.io VolumeSnapshotContent volumesnapshotcontents cluster vsc
    example.org    Gizmo                    gizmos                    namespaced -
";

pub(super) fn discovery() -> Discovery {
    let lines = RESOURCES.lines().filter(|line| !line.trim().is_empty());
    let resource = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [group, kind, plural, scope, short] = fields[..] else { panic!("{line}") };
        Resource {
            group: if group == "core" { String::new() } else { group.into() },
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: vec![short.into()],
            namespaced: scope == "namespaced",
            verbs: ["list", "create", "get", "delete"].map(String::from).to_vec(),
        }
    };
    Discovery::from_served(lines.map(resource).collect())
}

/// `blog` has the label that the tests select by; `leaving` is being deleted.
pub(super) fn namespaces() -> Vec<NamespaceFacts> {
    let namespace =
        |name: &str| NamespaceFacts { name: name.into(), active: true, ..NamespaceFacts::default() };
    vec![
        NamespaceFacts { labels: [("tier".into(), "front".into())].into(), ..namespace("blog") },
        namespace("quiet"),
        namespace("shop"),
        namespace("shop-eu"),
        NamespaceFacts { active: false, ..namespace("leaving") },
    ]
}

/// Takes the spec as YAML's flow style, which is what people write.
pub(super) fn selection(spec: &str) -> Selection {
    let spec = serde_yaml::from_str(spec).unwrap();
    Selection::new(&spec, &discovery(), &namespaces()).unwrap()
}
