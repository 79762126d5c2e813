//! What to do so that the cluster holds what a policy set asks for: a pure difference with its reasons.
//!
//! In: what is desired, what is live, what is remembered, the time. Out: one [`Action`] per object that is desired or
//! carries the source's label, in the order in which to act. Nothing is read or written here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::compile::{RestoreFrom, RestoreGate};
use holdfast_policy::model::restore::Approval;
use sha2::{Digest as _, Sha256};

use super::conflict::FieldConflict;
use super::memory::Memory;
use super::object::{Desired, Key, Kind, Lifecycle, Live};
use super::ownership;

/// Fewer objects than this are pruned without asking, however many of all they are.
const PRUNED_WITHOUT_ASKING: usize = 3;

#[derive(Debug)]
pub struct Situation<'a> {
    pub source: &'a str,
    pub desired: &'a [Desired],
    pub live: &'a BTreeMap<Key, Arc<Live>>,
    /// The newest completed Backup of each Schedule that a Restore asks about.
    pub newest_completed: &'a BTreeMap<String, String>,
    pub memory: &'a Memory,
    pub drift: Drift,
    /// What a person said about a large removal: its word, or `true` for whatever it is.
    pub prune_word: Option<&'a str>,
    pub cluster_name: Option<&'a str>,
    /// Restores that a person let through, by name.
    pub approved: &'a BTreeSet<String>,
    /// The ConfigMaps that anything refers to; none while nobody has looked.
    pub referred: Option<&'a BTreeSet<String>>,
}

/// What happens to fields that somebody changed on an object of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    Revert,
    Report,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub key: Key,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Apply(ApplyReason),
    CreateOnce,
    /// Like `CreateOnce`, with the backup that was looked up.
    CreateRestore {
        backup: String,
    },
    Prune {
        uid: String,
    },
    Leave(LeaveReason),
}

/// What a step would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Create,
    Change,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyReason {
    Missing,
    Changed,
    /// Somebody else's object that carries the annotation `holdfast.dev/adopt`.
    Adopted,
    Drifted {
        fields: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaveReason {
    InStep,
    /// Made by another source, or by none.
    NotOurs {
        source: Option<String>,
    },
    Conflict(Vec<FieldConflict>),
    DriftReported {
        fields: Vec<String>,
    },
    BeingDeleted,
    RanBefore,
    /// A bucket is being asked whether it ran before.
    BucketAsked,
    /// The bucket that would know whether it ran before can't be read.
    BucketUnread {
        why: String,
    },
    AwaitsApproval {
        content_hash: String,
    },
    OtherCluster {
        clusters: Vec<String>,
    },
    ClusterHasNoName,
    TooLate {
        not_after: DateTime<Utc>,
    },
    NoCompletedBackup {
        schedule: String,
    },
    /// No policy asks for it any more, and too many others went at the same time.
    PruneHeld {
        gone: usize,
        of: usize,
        word: String,
    },
    /// No document asks for it any more; only Schedules are ever removed.
    NotPruned,
    /// A ConfigMap of inline rules: runs that need it may still exist.
    MayBeReferredTo,
    /// It would be dealt with, but this daemon only looks.
    OnlyObserved(Deed),
}

pub fn decide(situation: &Situation<'_>, now: DateTime<Utc>) -> Vec<Action> {
    let mut actions: Vec<Action> = situation
        .desired
        .iter()
        .map(|desired| Action { key: desired.key.clone(), step: step(situation, desired, now) })
        .collect();
    actions.sort_by(|left, right| left.key.cmp(&right.key));
    actions.extend(leftovers(situation));
    actions
}

fn step(situation: &Situation<'_>, desired: &Desired, now: DateTime<Utc>) -> Step {
    let live = situation.live.get(&desired.key).map(Arc::as_ref);
    match (desired.key.kind.lifecycle(), live) {
        (Lifecycle::KeptInStep, None) => Step::Apply(ApplyReason::Missing),
        (Lifecycle::KeptInStep, Some(live)) => keep_in_step(situation, desired, live, now),
        (Lifecycle::CreatedWhenMissing, None) => Step::CreateOnce,
        (Lifecycle::CreatedWhenMissing, Some(live))
            if live.made_by() != Some(situation.source)
                && live.adopt.as_deref() == Some(situation.source) =>
        {
            Step::Apply(ApplyReason::Adopted)
        }
        (Lifecycle::CreatedWhenMissing, Some(live)) => {
            Step::Leave(existing(situation, live, LeaveReason::InStep))
        }
        (Lifecycle::CreatedOnce, None) => create_once(situation, desired, now),
        (Lifecycle::CreatedOnce, Some(live)) => {
            Step::Leave(existing(situation, live, LeaveReason::RanBefore))
        }
    }
}

fn existing(situation: &Situation<'_>, live: &Live, ours: LeaveReason) -> LeaveReason {
    match live.made_by() {
        Some(source) if source == situation.source => ours,
        source => LeaveReason::NotOurs { source: source.map(str::to_owned) },
    }
}

fn keep_in_step(situation: &Situation<'_>, desired: &Desired, live: &Live, now: DateTime<Utc>) -> Step {
    let Situation { source, memory, drift, .. } = *situation;
    let ours = live.made_by() == Some(source);
    if live.deleting {
        return Step::Leave(LeaveReason::BeingDeleted);
    }
    if !ours && live.adopt.as_deref() != Some(source) {
        return Step::Leave(LeaveReason::NotOurs { source: live.made_by().map(str::to_owned) });
    }
    if let Some(conflicts) = memory.standing_conflicts(&desired.key, &desired.content_hash, now) {
        return Step::Leave(LeaveReason::Conflict(conflicts.to_vec()));
    }
    if !ours {
        return Step::Apply(ApplyReason::Adopted);
    }
    let unowned = ownership::unowned(&desired.value, live.owned.get(source));
    let drifted = memory.drifted(&desired.key, &desired.content_hash, unowned);
    let changed = live.content_hash.as_deref() != Some(desired.content_hash.as_str());
    // A hash that somebody else wrote says nothing about the policy: then it is part of the drift.
    let hash_is_ours = !drifted.iter().any(|field| field.ends_with(super::object::CONTENT_HASH));
    match (changed && hash_is_ours, drifted.is_empty(), drift) {
        (true, _, _) => Step::Apply(ApplyReason::Changed),
        (false, true, _) => Step::Leave(LeaveReason::InStep),
        (false, false, Drift::Revert) => Step::Apply(ApplyReason::Drifted { fields: drifted }),
        (false, false, Drift::Report) => Step::Leave(LeaveReason::DriftReported { fields: drifted }),
    }
}

fn create_once(situation: &Situation<'_>, desired: &Desired, now: DateTime<Utc>) -> Step {
    match &desired.gate {
        _ if situation.memory.ran().contains(&desired.key) => Step::Leave(LeaveReason::RanBefore),
        None => Step::CreateOnce,
        Some(gate) => restore(situation, desired, gate, now),
    }
}

fn restore(situation: &Situation<'_>, desired: &Desired, gate: &RestoreGate, now: DateTime<Utc>) -> Step {
    let RestoreGate { approval, clusters, not_after, from } = gate;
    let Some(cluster_name) = situation.cluster_name else {
        return Step::Leave(LeaveReason::ClusterHasNoName);
    };
    if !clusters.iter().any(|cluster| cluster == cluster_name) {
        return Step::Leave(LeaveReason::OtherCluster { clusters: clusters.clone() });
    }
    if let Some(not_after) = not_after.filter(|not_after| now > *not_after) {
        return Step::Leave(LeaveReason::TooLate { not_after });
    }
    if *approval == Approval::Manual && !situation.approved.contains(&desired.key.name) {
        let content_hash = desired.content_hash.clone();
        return Step::Leave(LeaveReason::AwaitsApproval { content_hash });
    }
    match from {
        RestoreFrom::Backup(_) => Step::CreateOnce,
        RestoreFrom::LatestOf { schedule } => match situation.newest_completed.get(schedule) {
            Some(backup) => Step::CreateRestore { backup: backup.clone() },
            None => Step::Leave(LeaveReason::NoCompletedBackup { schedule: schedule.clone() }),
        },
    }
}

/// What carries the source's label and is not asked for any more.
fn leftovers(situation: &Situation<'_>) -> Vec<Action> {
    let desired: BTreeSet<&Key> = situation.desired.iter().map(|desired| &desired.key).collect();
    let ours = |live: &Live| is_ours(situation.source, live);
    let schedules = situation.live.iter().filter(|(key, live)| key.kind == Kind::Schedule && ours(live));
    let of = schedules.clone().count();
    let gone: Vec<&Key> = schedules.map(|(key, _)| key).filter(|key| !desired.contains(key)).collect();
    let held = Some(removal_word(&gone))
        .filter(|_| gone.len() > PRUNED_WITHOUT_ASKING && gone.len() * 2 > of)
        .filter(|word| !situation.prune_word.is_some_and(|given| given == "true" || given == word));
    situation
        .live
        .iter()
        .filter(|(key, live)| ours(live) && !desired.contains(key))
        .map(|(key, live)| {
            let step = match key.kind {
                Kind::Schedule if live.deleting => Step::Leave(LeaveReason::BeingDeleted),
                Kind::Schedule => match &held {
                    Some(word) => {
                        let (gone, word) = (gone.len(), word.clone());
                        Step::Leave(LeaveReason::PruneHeld { gone, of, word })
                    }
                    None => Step::Prune { uid: live.uid.clone() },
                },
                Kind::ConfigMap if live.deleting => Step::Leave(LeaveReason::BeingDeleted),
                Kind::ConfigMap => match situation.referred {
                    Some(referred) if !referred.contains(&key.name) => Step::Prune { uid: live.uid.clone() },
                    Some(_) | None => Step::Leave(LeaveReason::MayBeReferredTo),
                },
                Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation | Kind::Backup | Kind::Restore => {
                    Step::Leave(LeaveReason::NotPruned)
                }
            };
            Action { key: key.clone(), step }
        })
        .collect()
}

/// Label and manager must both say so: a copy of one of our objects that somebody made by hand has the label alone.
fn is_ours(source: &str, live: &Live) -> bool {
    live.made_by() == Some(source) && (live.owned.contains_key(source) || live.created_by.contains(source))
}

/// ConfigMaps of inline rules that nobody asks for any more: whether anything refers to them is to be looked up.
pub fn config_maps_left(
    source: &str,
    desired: &[Desired],
    live: &BTreeMap<Key, Arc<Live>>,
) -> BTreeSet<String> {
    let desired: BTreeSet<&Key> = desired.iter().map(|desired| &desired.key).collect();
    let maps = live.iter().filter(|(key, live)| key.kind == Kind::ConfigMap && is_ours(source, live));
    maps.filter(|(key, _)| !desired.contains(key)).map(|(key, _)| key.name.clone()).collect()
}

/// Stands for removing exactly these.
fn removal_word(gone: &[&Key]) -> String {
    let mut digest = Sha256::new();
    for key in gone {
        digest.update(&key.name);
        digest.update([0]);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::super::conflict::Operation;
    use super::super::object::CONTENT_HASH;
    use super::*;

    const SOURCE: &str = "policies";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn key(kind: Kind, name: &str) -> Key {
        Key { kind, name: name.to_owned() }
    }

    fn desired(kind: Kind, name: &str) -> Desired {
        Desired {
            key: key(kind, name),
            policy: "shop".to_owned(),
            content_hash: "h1".to_owned(),
            value: json!({
                "apiVersion": kind.api_version(),
                "kind": kind.name(),
                "metadata": {"name": name, "labels": {CONTENT_HASH: "h1"}},
                "spec": {"schedule": "0 1 * * *"},
            }),
            at_creation: None,
            gate: None,
        }
    }

    fn fields() -> Value {
        json!({
            "f:metadata": {"f:labels": {format!("f:{CONTENT_HASH}"): {}}},
            "f:spec": {"f:schedule": {}},
        })
    }

    /// An object as this source left it.
    fn ours() -> Live {
        Live {
            uid: "uid".to_owned(),
            resource_version: "7".to_owned(),
            source: Some(SOURCE.to_owned()),
            content_hash: Some("h1".to_owned()),
            owned: BTreeMap::from([(SOURCE.to_owned(), fields())]),
            ..Live::default()
        }
    }

    fn foreign() -> Live {
        Live { uid: "uid".to_owned(), ..Live::default() }
    }

    /// A round with one desired object, changed by each test where it matters.
    struct Round {
        desired: Vec<Desired>,
        live: BTreeMap<Key, Arc<Live>>,
        newest_completed: BTreeMap<String, String>,
        memory: Memory,
        drift: Drift,
        prune_word: Option<String>,
        cluster_name: Option<&'static str>,
        approved: BTreeSet<String>,
        referred: Option<BTreeSet<String>>,
    }

    fn round(desired: impl IntoIterator<Item = Desired>) -> Round {
        Round {
            desired: desired.into_iter().collect(),
            live: BTreeMap::new(),
            newest_completed: BTreeMap::new(),
            memory: Memory::default(),
            drift: Drift::Revert,
            prune_word: None,
            cluster_name: Some("prod"),
            approved: BTreeSet::new(),
            referred: None,
        }
    }

    impl Round {
        fn with(mut self, kind: Kind, name: &str, live: Live) -> Round {
            self.live.insert(key(kind, name), Arc::new(live));
            self
        }

        fn actions(&self) -> Vec<Action> {
            let situation = Situation {
                source: SOURCE,
                desired: &self.desired,
                live: &self.live,
                newest_completed: &self.newest_completed,
                memory: &self.memory,
                drift: self.drift,
                prune_word: self.prune_word.as_deref(),
                cluster_name: self.cluster_name,
                approved: &self.approved,
                referred: self.referred.as_ref(),
            };
            decide(&situation, now())
        }

        fn step(&self) -> Step {
            let mut actions = self.actions();
            assert_eq!(actions.len(), 1, "{actions:?}");
            actions.remove(0).step
        }
    }

    fn schedule_that_is(live: Live) -> Round {
        round([desired(Kind::Schedule, "shop-nightly")]).with(Kind::Schedule, "shop-nightly", live)
    }

    #[test]
    fn a_missing_schedule_is_applied_and_one_in_step_is_left() {
        let missing = round([desired(Kind::Schedule, "shop-nightly")]);
        assert_eq!(missing.step(), Step::Apply(ApplyReason::Missing));
        assert_eq!(schedule_that_is(ours()).step(), Step::Leave(LeaveReason::InStep));
    }

    #[test]
    fn only_objects_whose_content_changed_are_applied() {
        let mut changed = desired(Kind::Schedule, "b");
        changed.content_hash = "h2".to_owned();
        let round = round([desired(Kind::Schedule, "a"), changed, desired(Kind::Schedule, "c")])
            .with(Kind::Schedule, "a", ours())
            .with(Kind::Schedule, "b", ours())
            .with(Kind::Schedule, "c", ours());
        let steps: Vec<Step> = round.actions().into_iter().map(|action| action.step).collect();
        assert_eq!(
            steps,
            [
                Step::Leave(LeaveReason::InStep),
                Step::Apply(ApplyReason::Changed),
                Step::Leave(LeaveReason::InStep)
            ]
        );
    }

    #[test]
    fn objects_of_others_are_left_alone_until_they_are_given_to_this_source() {
        let not_ours =
            |source: Option<&str>| Step::Leave(LeaveReason::NotOurs { source: source.map(str::to_owned) });
        assert_eq!(schedule_that_is(foreign()).step(), not_ours(None));

        let another = Live { source: Some("another".to_owned()), ..ours() };
        assert_eq!(schedule_that_is(another.clone()).step(), not_ours(Some("another")));

        let given_to_another = Live { adopt: Some("another".to_owned()), ..foreign() };
        assert_eq!(schedule_that_is(given_to_another).step(), not_ours(None));

        for live in [foreign(), another] {
            let given = Live { adopt: Some(SOURCE.to_owned()), ..live };
            assert_eq!(schedule_that_is(given).step(), Step::Apply(ApplyReason::Adopted));
        }
    }

    #[test]
    fn a_field_that_somebody_changed_is_put_back_or_only_reported() {
        let mut live = ours();
        live.owned.insert(SOURCE.to_owned(), json!({"f:metadata": fields()["f:metadata"]}));
        let drifted = vec![".spec.schedule".to_owned()];
        let mut round = schedule_that_is(live);
        assert_eq!(round.step(), Step::Apply(ApplyReason::Drifted { fields: drifted.clone() }));
        round.drift = Drift::Report;
        assert_eq!(round.step(), Step::Leave(LeaveReason::DriftReported { fields: drifted }));
    }

    #[test]
    fn labels_that_somebody_changed_are_drift_and_not_another_owner_or_content() {
        let mut live = ours();
        live.owned.insert(SOURCE.to_owned(), json!({"f:spec": {"f:schedule": {}}}));
        let hash_field = format!(".metadata.labels.{CONTENT_HASH}");
        for live in [
            Live { source: None, content_hash: None, ..live.clone() },
            Live { content_hash: Some("forged".to_owned()), ..live },
        ] {
            assert_eq!(
                schedule_that_is(live).step(),
                Step::Apply(ApplyReason::Drifted { fields: vec![hash_field.clone()] })
            );
        }
    }

    #[test]
    fn a_field_that_the_api_server_never_kept_is_no_drift_for_the_same_content() {
        let mut live = ours();
        live.owned.insert(SOURCE.to_owned(), json!({"f:metadata": fields()["f:metadata"]}));
        let mut round = schedule_that_is(live);
        let key = key(Kind::Schedule, "shop-nightly");
        round.memory.note_applied(&key, "h1", vec![".spec.schedule".to_owned()]);
        assert_eq!(round.step(), Step::Leave(LeaveReason::InStep));
        round.memory.note_applied(&key, "h0", vec![".spec.schedule".to_owned()]);
        assert!(matches!(round.step(), Step::Apply(ApplyReason::Drifted { .. })));
    }

    #[test]
    fn a_conflict_stands_for_a_minute_and_for_this_content_only() {
        let conflict = FieldConflict {
            field: ".spec.schedule".to_owned(),
            manager: "argocd".to_owned(),
            operation: Operation::Apply,
        };
        let key = key(Kind::Schedule, "shop-nightly");
        let mut round = schedule_that_is(Live { content_hash: Some("h0".to_owned()), ..ours() });
        round.memory.note_refused(&key, "h1", vec![conflict.clone()], now() - TimeDelta::seconds(59));
        assert_eq!(round.step(), Step::Leave(LeaveReason::Conflict(vec![conflict.clone()])));
        round.memory.note_refused(&key, "h1", vec![conflict.clone()], now() - TimeDelta::seconds(60));
        assert_eq!(round.step(), Step::Apply(ApplyReason::Changed));
        round.memory.note_refused(&key, "other", vec![conflict], now());
        assert_eq!(round.step(), Step::Apply(ApplyReason::Changed));
    }

    #[test]
    fn an_object_that_is_being_deleted_is_waited_for() {
        let live = Live { deleting: true, content_hash: Some("h0".to_owned()), ..ours() };
        assert_eq!(schedule_that_is(live).step(), Step::Leave(LeaveReason::BeingDeleted));
    }

    #[test]
    fn a_backup_is_created_once_and_not_again_when_it_is_gone() {
        let mut round = round([desired(Kind::Backup, "shop-before")]);
        assert_eq!(round.step(), Step::CreateOnce);
        round.memory.note_ran(key(Kind::Backup, "shop-before"));
        assert_eq!(round.step(), Step::Leave(LeaveReason::RanBefore));

        // An existing one is never touched, whatever its content.
        let existing = Live { content_hash: Some("h0".to_owned()), owned: BTreeMap::new(), ..ours() };
        let round = super::tests::round([desired(Kind::Backup, "shop-before")]).with(
            Kind::Backup,
            "shop-before",
            existing,
        );
        assert_eq!(round.step(), Step::Leave(LeaveReason::RanBefore));
        let round = super::tests::round([desired(Kind::Backup, "shop-before")]).with(
            Kind::Backup,
            "shop-before",
            foreign(),
        );
        assert_eq!(round.step(), Step::Leave(LeaveReason::NotOurs { source: None }));
    }

    #[test]
    fn a_config_map_of_rules_is_created_whenever_it_is_missing_and_removed_when_nothing_refers_to_it() {
        let mut round = round([desired(Kind::ConfigMap, "shop-1234")]);
        round.memory.note_ran(key(Kind::ConfigMap, "shop-1234"));
        assert_eq!(round.step(), Step::CreateOnce);
        let created =
            Live { owned: BTreeMap::new(), created_by: BTreeSet::from([SOURCE.to_owned()]), ..ours() };
        let mut left = super::tests::round([]).with(Kind::ConfigMap, "shop-1234", created.clone());
        assert_eq!(left.step(), Step::Leave(LeaveReason::MayBeReferredTo));
        left.referred = Some(BTreeSet::from(["shop-1234".to_owned()]));
        assert_eq!(left.step(), Step::Leave(LeaveReason::MayBeReferredTo));
        left.referred = Some(BTreeSet::new());
        assert_eq!(left.step(), Step::Prune { uid: "uid".to_owned() });
        let live = &left.live;
        assert_eq!(config_maps_left(SOURCE, &[], live), BTreeSet::from(["shop-1234".to_owned()]));
        assert_eq!(config_maps_left(SOURCE, &[desired(Kind::ConfigMap, "shop-1234")], live), BTreeSet::new());
        // Somebody's copy, and another source's.
        for other in [
            Live { created_by: BTreeSet::new(), ..created.clone() },
            Live { source: Some("another".to_owned()), ..created.clone() },
        ] {
            let mut left = super::tests::round([]).with(Kind::ConfigMap, "shop-1234", other);
            left.referred = Some(BTreeSet::new());
            assert_eq!(left.actions(), []);
        }
        let given = Live { source: Some("another".to_owned()), adopt: Some(SOURCE.to_owned()), ..created };
        let taken = super::tests::round([desired(Kind::ConfigMap, "shop-1234")]);
        assert_eq!(taken.with(Kind::ConfigMap, "shop-1234", given).step(), Step::Apply(ApplyReason::Adopted));
    }

    fn restore() -> Desired {
        Desired {
            gate: Some(RestoreGate {
                approval: Approval::Automatic,
                clusters: vec!["staging".to_owned(), "prod".to_owned()],
                not_after: Some(now()),
                from: RestoreFrom::Backup("shop-nightly-20261123000000".to_owned()),
            }),
            ..desired(Kind::Restore, "drill-12345678")
        }
    }

    fn restore_with(change: impl FnOnce(&mut RestoreGate)) -> Round {
        let mut restore = restore();
        change(restore.gate.as_mut().unwrap());
        round([restore])
    }

    #[test]
    fn a_restore_is_created_when_all_its_conditions_hold() {
        assert_eq!(round([restore()]).step(), Step::CreateOnce);
    }

    #[test]
    fn a_restore_waits_for_its_cluster_its_time_and_its_approval() {
        let elsewhere = restore_with(|gate| gate.clusters = vec!["staging".to_owned()]);
        let clusters = vec!["staging".to_owned()];
        assert_eq!(elsewhere.step(), Step::Leave(LeaveReason::OtherCluster { clusters }));

        let mut nameless = round([restore()]);
        nameless.cluster_name = None;
        assert_eq!(nameless.step(), Step::Leave(LeaveReason::ClusterHasNoName));

        let not_after = now() - TimeDelta::seconds(1);
        let late = restore_with(|gate| gate.not_after = Some(not_after));
        assert_eq!(late.step(), Step::Leave(LeaveReason::TooLate { not_after }));

        let mut manual = restore_with(|gate| gate.approval = Approval::Manual);
        let waits = Step::Leave(LeaveReason::AwaitsApproval { content_hash: "h1".to_owned() });
        assert_eq!(manual.step(), waits);
        manual.approved.insert("another-00000000".to_owned());
        assert_eq!(manual.step(), waits);
        manual.approved.insert("drill-12345678".to_owned());
        assert_eq!(manual.step(), Step::CreateOnce);
    }

    #[test]
    fn a_restore_of_the_latest_backup_waits_for_one_and_pins_it() {
        let schedule = "shop-nightly".to_owned();
        let mut latest = restore_with(|gate| {
            gate.from = RestoreFrom::LatestOf { schedule: "shop-nightly".to_owned() };
        });
        assert_eq!(latest.step(), Step::Leave(LeaveReason::NoCompletedBackup { schedule: schedule.clone() }));
        let backup = "shop-nightly-20261123000000".to_owned();
        latest.newest_completed.insert(schedule, backup.clone());
        assert_eq!(latest.step(), Step::CreateRestore { backup });
    }

    fn gone(count: usize, kept: usize) -> Round {
        let kept = (0..kept).map(|number| format!("kept-{number}"));
        let mut round = round(kept.clone().map(|name| desired(Kind::Schedule, &name)));
        for name in kept.chain((0..count).map(|number| format!("gone-{number}"))) {
            round.live.insert(key(Kind::Schedule, &name), Arc::new(ours()));
        }
        round
    }

    fn pruned(round: &Round) -> usize {
        round.actions().iter().filter(|action| matches!(action.step, Step::Prune { .. })).count()
    }

    #[test]
    fn schedules_that_no_policy_asks_for_are_removed_with_brakes() {
        for (count, kept, expected) in
            [(1, 0, 1), (3, 0, 3), (4, 0, 0), (4, 3, 0), (4, 4, 4), (5, 4, 0), (5, 5, 5), (51, 50, 0)]
        {
            assert_eq!(pruned(&gone(count, kept)), expected, "{count} gone, {kept} kept");
        }
        let mut asked = gone(4, 0);
        let Step::Leave(LeaveReason::PruneHeld { gone: 4, of: 4, word }) = asked.actions().remove(0).step
        else {
            panic!("not held: {:?}", asked.actions());
        };
        asked.prune_word = Some(word.clone());
        assert_eq!(pruned(&asked), 4);
        let mut another = gone(5, 0);
        another.prune_word = Some(word);
        assert_eq!(pruned(&another), 0, "a word for other removals");
        another.prune_word = Some("true".to_owned());
        assert_eq!(pruned(&another), 5);
    }

    #[test]
    fn nothing_but_schedules_of_this_source_is_removed() {
        let copy = Live { owned: BTreeMap::new(), ..ours() };
        let another = Live { source: Some("another".to_owned()), ..ours() };
        let round = round([])
            .with(Kind::Schedule, "copy", copy)
            .with(Kind::Schedule, "another", another)
            .with(Kind::Schedule, "foreign", foreign())
            .with(Kind::BackupStorageLocation, "default", ours());
        let left = Action {
            key: key(Kind::BackupStorageLocation, "default"),
            step: Step::Leave(LeaveReason::NotPruned),
        };
        assert_eq!(round.actions(), [left]);
    }

    #[test]
    fn what_is_referred_to_is_published_before_what_refers_to_it() {
        let round = round([
            desired(Kind::Restore, "a"),
            desired(Kind::Backup, "b"),
            desired(Kind::Schedule, "c"),
            desired(Kind::BackupStorageLocation, "d"),
            desired(Kind::ConfigMap, "e"),
        ]);
        let kinds: Vec<Kind> = round.actions().into_iter().map(|action| action.key.kind).collect();
        assert_eq!(
            kinds,
            [Kind::ConfigMap, Kind::BackupStorageLocation, Kind::Schedule, Kind::Backup, Kind::Restore]
        );
    }
}
