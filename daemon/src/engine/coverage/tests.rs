use holdfast_policy::compile::{self, Target};
use holdfast_policy::parse::SourceFile;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::engine::select::Patterns;

/// Policies, each as its name and its `spec` in flow style.
fn compiled(policies: &[(&str, &str)]) -> Vec<Choice> {
    let document = |(name, spec): &(&str, &str)| {
        format!(
            "---\napiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let text: String = policies.iter().map(document).collect();
    let set = holdfast_policy::load(&[SourceFile::new("a.yaml", text.as_str())]).unwrap();
    let target = Target { namespace: "velero".into(), source: "policies".into(), cluster_name: None };
    choices(&compile::compile(&set, &target)).unwrap()
}

fn objects(lines: &[&str], labels: Value) -> Vec<Object> {
    let discovery = Discovery::without_a_cluster(&[]);
    let object = |line: &&str| {
        let parts: Vec<&str> = line.split('/').collect();
        let resource = discovery.resolve(parts[0]).unwrap();
        let mut metadata = json!({"name": parts[parts.len() - 1]});
        if let [_, namespace, _] = parts[..] {
            metadata["namespace"] = json!(namespace);
        }
        if let Some(labels) = labels.get(*line) {
            metadata["labels"] = labels.clone();
        }
        let value =
            json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata});
        Object::parse(&value, &discovery).unwrap()
    };
    lines.iter().map(object).collect()
}

fn found(policies: &[(&str, &str)], lines: &[&str], labels: Value) -> Gaps {
    gaps(&compiled(policies), &Discovery::without_a_cluster(&[]), &objects(lines, labels)).unwrap()
}

const SHOP: &str = "{select: {namespaces: {include: [shop]}}, schedules: [{name: nightly, cron: '@daily'}]}";
const CLUSTER: &[&str] = &[
    "Namespace/shop",
    "Pod/shop/web",
    "PersistentVolumeClaim/shop/data",
    "Namespace/blog",
    "ConfigMap/blog/posts",
    "PersistentVolumeClaim/blog/media",
    "PersistentVolume/vol-1",
    "StorageClass/fast",
];

#[test]
fn namespaces_and_volumes_that_no_policy_covers_are_told_with_the_reason() {
    let gaps = found(&[("shop", SHOP)], CLUSTER, json!({}));
    let rule = || Rule::NamespaceNotIncluded { namespace: "blog".into() };
    let reasons = |rule| vec![Reason { choice: 0, rule }];
    let blog = NamespaceGap {
        objects: 2,
        left_out: [("ConfigMap".into(), 1), ("PersistentVolumeClaim".into(), 1)].into(),
        coverage: NamespaceCoverage::Not(reasons(rule())),
    };
    let volume =
        |object: &str, rule| VolumeGap { object: object.into(), as_it_asks: false, reasons: reasons(rule) };
    assert_eq!(
        gaps,
        Gaps {
            objects: 8,
            covered: 3,
            held: vec![3],
            namespaces: [("blog".into(), blog)].into(),
            volumes: vec![
                volume("PersistentVolumeClaim/blog/media", rule()),
                volume("PersistentVolume/vol-1", Rule::SomeNamespaces),
            ],
            cluster_scoped: [("PersistentVolume".into(), 1), ("StorageClass".into(), 1)].into(),
        }
    );
    assert!(!gaps.is_covered());
    let ignoring = gaps.ignoring(&Patterns::new(["bl*"]));
    assert_eq!((ignoring.namespaces.len(), ignoring.volumes.len()), (0, 1));
}

#[test]
fn a_suspended_schedule_covers_nothing_and_a_backup_made_once_does() {
    let everything = |makes: &str| found(&[("all", &format!("{{{makes}}}"))], CLUSTER, json!({}));
    let suspended = everything("schedules: [{name: a, cron: '@daily', suspend: true}]");
    assert_eq!((suspended.covered, suspended.held.as_slice()), (0, &[8][..]));
    assert!(!suspended.is_covered());
    assert!(everything("backups: [{name: a}]").is_covered());
    let other_is_not = "schedules: [{name: a, cron: '@daily', suspend: true}, {name: b, cron: '@hourly'}]";
    assert!(everything(other_is_not).is_covered());
}

#[test]
fn without_any_policy_nothing_is_covered() {
    let gaps = found(&[("none", "{suspend: true, backups: []}")], CLUSTER, json!({}));
    assert_eq!((gaps.namespaces.len(), gaps.volumes.len()), (2, 3));
    assert!(!gaps.is_covered());
}

#[test]
fn what_asks_to_be_left_out_is_no_gap() {
    let label = json!({"velero.io/exclude-from-backup": "true"});
    let labels = json!({"Namespace/blog": label, "PersistentVolume/vol-1": label});
    let gaps = found(&[("all", "{schedules: [{name: a, cron: '@daily'}]}")], CLUSTER, labels);
    assert_eq!(gaps.namespaces["blog"].coverage, NamespaceCoverage::AsItAsks);
    assert!(gaps.volumes.iter().all(|volume| volume.as_it_asks), "{:?}", gaps.volumes);
    assert!(gaps.is_covered());
}

#[test]
fn a_namespace_covered_in_part_tells_what_stays_out() {
    let spec = "{select: {resources: {exclude: [configmaps]}}, schedules: [{name: a, cron: '@daily'}]}";
    let gaps = found(&[("all", spec)], CLUSTER, json!({}));
    let blog = &gaps.namespaces["blog"];
    assert_eq!((&blog.coverage, blog.objects), (&NamespaceCoverage::InPart, 2));
    assert_eq!(blog.left_out, [("ConfigMap".to_owned(), 1)].into());
    assert!(gaps.is_covered());
}

#[test]
fn an_empty_namespace_is_covered_by_its_own_object() {
    let empty = ["Namespace/shop", "Namespace/empty"];
    let gaps = found(&[("shop", SHOP)], &empty, json!({}));
    assert_eq!(gaps.namespaces.keys().collect::<Vec<_>>(), ["empty"]);
}

#[test]
fn schedules_of_a_policy_that_choose_alike_are_one_choice() {
    let spec = "{select: {namespaces: {include: [shop]}}, schedules: [{name: a, cron: '@daily'}, {name: b, cron: '@hourly', ttl: 2h}, \
                {name: c, cron: '@hourly', select: {namespaces: {include: [blog]}}}]}";
    let choices = compiled(&[("shop", spec)]);
    let names: Vec<Vec<&str>> =
        choices.iter().map(|choice| choice.makes.iter().map(|made| made.name.as_str()).collect()).collect();
    assert_eq!(names, [vec!["shop-a", "shop-b"], vec!["shop-c"]]);
}
