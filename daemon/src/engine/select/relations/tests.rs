use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;

fn pod(claims: &[&str], phase: &str) -> Value {
    let volume = |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
    json!({
        "metadata": {},
        "spec": {"nodeName": "n1", "volumes": claims.iter().map(volume).collect::<Vec<_>>()},
        "status": {"phase": phase},
    })
}

fn claim(group: Option<&str>, phase: &str) -> Value {
    let labels: BTreeMap<&str, &str> = group.into_iter().map(|group| ("group", group)).collect();
    json!({"metadata": {"labels": labels}, "spec": {"volumeName": "vol"}, "status": {"phase": phase}})
}

fn relations(pods: &[(&str, Value)], claims: &[(&str, Value)]) -> Relations {
    let mut relations = Relations::default();
    for (name, pod) in pods {
        relations.add_pod(name, pod.to_string().as_bytes()).unwrap();
    }
    for (name, claim) in claims {
        relations.add_claim(name, claim.to_string().as_bytes(), "group").unwrap();
    }
    relations
}

fn block(relations: &Relations, of: Member) -> (Vec<String>, Vec<String>) {
    let Block { pods, claims } = relations.block(of);
    (pods.into_iter().map(|(name, _)| name).collect(), claims)
}

fn names(pods: &[&str], claims: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    (owned(pods), owned(claims))
}

#[test]
fn pods_that_share_a_claim_are_one_block_whichever_comes_first() {
    let relations = relations(
        &[
            ("a", pod(&["one"], "Running")),
            ("b", pod(&["one", "two"], "Running")),
            ("c", pod(&["two"], "Running")),
        ],
        &[("one", claim(None, "Bound")), ("two", claim(None, "Bound")), ("alone", claim(None, "Bound"))],
    );
    let all = names(&["a", "b", "c"], &["one", "two"]);
    for member in [Member::Pod("a".into()), Member::Pod("c".into()), Member::Claim("two".into())] {
        assert_eq!(block(&relations, member), all);
    }
    assert_eq!(block(&relations, Member::Claim("alone".into())), names(&[], &["alone"]));
    assert_eq!(block(&relations, Member::Pod("without".into())), names(&["without"], &[]));
}

#[test]
fn a_claim_brings_pods_that_run_and_only_when_it_is_bound() {
    let mut leaving = pod(&["one"], "Running");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    let mut waiting = pod(&["one"], "Running");
    waiting["spec"]["nodeName"] = json!("");
    let relations = relations(
        &[
            ("done", pod(&["one"], "Succeeded")),
            ("leaving", leaving),
            ("running", pod(&["one"], "Running")),
            ("unbound", pod(&["pending"], "Running")),
            ("waiting", waiting),
        ],
        &[("one", claim(None, "Bound")), ("pending", claim(None, "Pending"))],
    );
    assert_eq!(block(&relations, Member::Claim("one".into())), names(&["running"], &["one"]));
    assert_eq!(block(&relations, Member::Pod("done".into())), names(&["done", "running"], &["one"]));
    assert_eq!(block(&relations, Member::Claim("pending".into())), names(&[], &["pending"]));
}

#[test]
fn claims_of_a_volume_group_bring_each_other() {
    let relations = relations(
        &[("db", pod(&["data"], "Running"))],
        &[
            ("data", claim(Some("db"), "Bound")),
            ("log", claim(Some("db"), "Bound")),
            ("other", claim(Some("web"), "Bound")),
            ("empty", claim(Some(""), "Bound")),
            ("none", claim(None, "Bound")),
        ],
    );
    assert_eq!(block(&relations, Member::Claim("log".into())), names(&["db"], &["data", "log"]));
    assert_eq!(block(&relations, Member::Claim("empty".into())), names(&[], &["empty"]));
}

#[test]
fn annotations_are_noticed_and_pods_without_claims_are_not_read() {
    let mut annotated = pod(&["one"], "Running");
    annotated["metadata"]["annotations"] = json!({"pre.hook.backup.velero.io/command": "true"});
    let relations =
        relations(&[("a", annotated), ("b", pod(&["one"], "Running"))], &[("one", claim(None, "Bound"))]);
    assert_eq!(
        relations.block(Member::Pod("b".into())).pods,
        [("a".to_owned(), true), ("b".to_owned(), false)]
    );
    assert_eq!(claims_of(b"not even json").unwrap(), Vec::<String>::new());
    assert_eq!(claims_of(pod(&["x", "y"], "Running").to_string().as_bytes()).unwrap(), ["x", "y"]);
}
