use holdfast_policy::compile::Target;
use holdfast_policy::parse::SourceFile;
use holdfast_policy::policy_test;
use holdfast_policy::problem::Format;
use pretty_assertions::assert_eq;

use super::*;

const POLICIES: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: shop}
spec:
  select: {namespaces: {include: [shop]}, resources: {exclude: [secrets]}}
  ttl: 96h
  schedules:
  - {name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, retention: {daily: 2, minimumGood: 1, keepFailed: 1h}}
  - {name: plain, cron: '@daily'}
  - {name: paused, cron: '@daily', suspend: true, select: {namespaces: {include: [other]}}}
";

/// How many expectations, and what is said of those that don't hold, each with its path.
fn carried_out(spec: &str) -> (usize, Vec<String>) {
    let policies = [SourceFile::new("a.yaml", POLICIES)];
    let set = holdfast_policy::load(&policies).unwrap();
    let header = "apiVersion: holdfast.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: a}\nspec:\n";
    let files = [SourceFile::new("a_test.yaml", format!("{header}{spec}"))];
    let tests = policy_test::load(&files, &set).unwrap_or_else(|problems| panic!("{problems}"));
    let target = Target { namespace: "velero".into(), source: "a".into(), cluster_name: None };
    let outcome = Trial::new(&set, &target).unwrap().carry_out(&tests[0]);
    let told = policy_test::located(&files, &tests[0], outcome.remarks);
    assert_eq!(told.render(Format::Text).is_empty(), told.is_empty());
    (
        outcome.expectations,
        told.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect(),
    )
}

#[test]
fn objects_are_judged_as_backups_judge_them() {
    let (count, unmet) = carried_out(
        "  objects: [{kind: Pod, namespace: shop, name: web}, {kind: Secret, namespace: shop, name: db}]
  selection:
  - {schedule: shop-nightly, expect: Included, because: Chosen, objects: [pod/shop/web]}
  - {schedule: shop-nightly, expect: Included, objects: [secret/shop/db]}
  - {schedule: shop-plain, expect: LeftOut, because: LabelSelector, objects: [secret/shop/db]}
  - {policy: shop, expect: Included, objects: [po/shop/web, po/shop/gone]}
",
    );
    assert_eq!(count, 5);
    assert_eq!(
        unmet,
        [
            "spec.selection[1].objects[0]: secret/shop/db should be Included: Schedule shop-nightly has it left \
             out: resources.exclude has \"secrets\", which means this kind (TypeExcluded)",
            "spec.selection[2].objects[0]: secret/shop/db is LeftOut as expected, not because of LabelSelector: \
             Schedule shop-plain has it left out: resources.exclude has \"secrets\", which means this kind \
             (TypeExcluded)",
            "spec.selection[3].objects[0]: po/shop/web should be Included: Schedule shop-paused has it left out: \
             namespaces.include does not have namespace shop (NamespaceNotIncluded)",
            "spec.selection[3].objects[1]: Pod/shop/gone is not among the objects of this test",
        ]
    );
}

#[test]
fn objects_that_can_not_be_are_told_before_anything_is_judged() {
    let (_, unmet) = carried_out(
        "  objects:
  - {kind: Pod, name: web}
  - {kind: Widget, name: web}
  - {kind: StorageClass, namespace: shop, name: a}
  - {kind: Node, name: a}
  - {manifest: {apiVersion: v1, kind: Node, metadata: {name: a}}}
  - {manifest: {kind: Node}}
  selection: [{policy: shop, expect: Included, objects: [pod/web]}]
",
    );
    assert_eq!(
        unmet,
        [
            "spec.objects[0]: Pod lives in a namespace",
            "spec.objects[1]: there is no kind \"Widget\" in Kubernetes: custom resources need `apiVersion`",
            "spec.objects[2]: StorageClass lives outside namespaces",
            "spec.objects[4]: Node/a stands twice in the list",
            "spec.objects[5]: an object without apiVersion and kind",
        ]
    );
}

#[test]
fn runs_are_those_of_next() {
    let (count, unmet) = carried_out(
        "  runs:
  - {schedule: shop-nightly, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T00:00:00Z', '2026-11-25T01:00:00Z']}
  - {schedule: shop-plain, after: '2026-11-23T12:00:00Z', backups: [shop-plain-20261124000000, shop-plain-1]}
  - {schedule: shop-plain, after: '2026-11-23T12:00:00Z', due: []}
  - {schedule: shop-paused, after: '2026-11-23T12:00:00Z', due: []}
  - {schedule: shop-paused, after: '2026-11-23T12:00:00Z', due: ['2026-11-24T00:00:00Z']}
",
    );
    assert_eq!(count, 7);
    assert_eq!(
        unmet,
        [
            "spec.runs[0].due[1]: run 2 of shop-nightly should be due at 2026-11-25T01:00:00Z: it is due at \
             2026-11-25T00:00:00Z, which is Wed 01:00:00 CET",
            "spec.runs[1].backups[1]: backup 2 should be called shop-plain-1: it is called \
             shop-plain-20261125000000",
            "spec.runs[2].due: shop-plain should make no runs: it is not suspended, and the next is due at \
             2026-11-24T00:00:00Z",
            "spec.runs[4].schedule: shop-paused is suspended: it makes no runs",
        ]
    );
}

#[test]
fn retention_and_ttl_decide_as_for_real_backups() {
    let (count, unmet) = carried_out(
        "  retention:
  - schedule: shop-nightly
    now: '2026-11-23T12:00:00Z'
    backups:
    - {started: '2026-11-23T00:00:00Z', phase: Failed, expect: Kept, because: KeepFailed}
    - {started: '2026-11-22T00:00:00Z', expect: Kept, because: MinimumGood}
    - {started: '2026-11-21T00:00:00Z', expect: Kept, because: KeepLast}
    - {started: '2026-11-20T00:00:00Z', expect: Deleted, because: NoRule}
  - schedule: shop-nightly
    now: '2026-11-23T12:00:00Z'
    backups: [{started: '2026-11-01T00:00:00Z', expect: Kept, because: MinimumGood}]
  - schedule: shop-plain
    now: '2026-11-23T12:00:00Z'
    backups:
    - {started: '2026-11-22T00:00:00Z', expect: Kept, because: UntilTtl}
    - {started: '2026-11-19T12:00:00Z', expect: Deleted, because: Ttl}
    - {started: '2026-11-19T12:00:01Z', expect: Deleted}
    - {started: '2026-11-01T12:00:01Z', phase: InProgress, expect: Kept, because: InProgress}
",
    );
    assert_eq!(count, 9);
    assert_eq!(
        unmet,
        [
            "spec.retention[0].backups[0].expect: shop-nightly-20261123000000 should be Kept: it is Deleted \
             (KeepFailed)",
            "spec.retention[0].backups[2].expect: shop-nightly-20261121000000 is Kept as expected, not because of \
             KeepLast: Daily",
            "spec.retention[2].backups[2].expect: shop-plain-20261119120001 should be Deleted: it is Kept (UntilTtl)",
        ]
    );
}
