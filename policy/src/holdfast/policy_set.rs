//! PolicySet: what became of one source of policies. Made and written by the daemon, read by people and tools.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One source of policies: which revision of it is in force, what is wrong with a newer one, and how its policies
/// fare.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "PolicySet",
    namespaced,
    status = "PolicySetStatus",
    doc = "What became of one source of policies: made and written by the daemon, read by people and tools.",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Objects", "type": "integer", "jsonPath": ".status.inForce.objects"}"#,
    printcolumn = r#"{"name": "Problems", "type": "integer", "jsonPath": ".status.problemCount"}"#,
    printcolumn = r#"{"name": "Missed", "type": "integer", "jsonPath": ".status.missedCount"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Revision", "type": "string", "priority": 1, "jsonPath": ".status.inForce.revision"}"#,
    printcolumn = r#"{"name": "Git", "type": "string", "priority": 1, "jsonPath": ".status.inForce.gitRevision"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PolicySetSpec {
    /// Where the policies come from, in words: a directory, or ConfigMaps.
    #[serde(default)]
    pub source: String,
}

/// What is known of the source and its policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySetStatus {
    /// The generation that the rest of the status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them; RecoveryPointsMet, for the objectives of `schedules`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The set that is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// Content hash of what the source gives now, in force or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<String>,
    /// How many problems the latest revision has.
    pub problem_count: i64,
    /// The first of its problems.
    pub problems: Vec<PolicyProblem>,
    /// How many objects are not as their policies want them.
    pub notice_count: i64,
    /// The first of these objects, and why.
    pub notices: Vec<ObjectNotice>,
    /// What waits for a person's word.
    pub waiting: Vec<Waiting>,
    /// How many Schedules the set in force asks for.
    pub schedule_count: i64,
    /// How many of them have no good backup as new as their policies promise.
    pub missed_count: i64,
    /// The first of the Schedules, those that miss their objective before the others, and how they fare.
    pub schedules: Vec<ScheduleHealth>,
    /// Backups and Restores that policies asked for and that were made once, whether or not they still exist.
    pub made_once: Vec<MadeOnce>,
}

/// A set of policies in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// Content hash of the files.
    pub revision: String,
    /// The Git commit that the files are from, where the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// Since when.
    pub since: Time,
    /// How many objects it asks for.
    pub objects: i64,
}

/// Something wrong with the policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyProblem {
    /// Error, warning or note.
    pub severity: String,
    /// Name of the rule that is broken.
    pub rule: String,
    /// The file it stands in.
    pub file: String,
    /// The line, from 1; 0 for the whole file.
    pub line: i64,
    /// The column, from 1; 0 for the whole file.
    pub column: i64,
    /// The field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// An object that is not as its policy wants it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectNotice {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub note: String,
}

/// Something that waits for an annotation on the PolicySet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The annotation.
    pub annotation: String,
    /// The value to set it to.
    pub value: String,
    /// What it lets happen.
    pub lets: String,
}

/// How the backups of one schedule fare.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleHealth {
    /// Name of the Schedule.
    pub name: String,
    /// Name of the policy that asks for it.
    pub policy: String,
    /// The newest Completed backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_backup: Option<String>,
    /// When that backup was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_time: Option<Time>,
    /// When the next run is due, jitter included; absent while the schedule is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Time>,
    /// The zone in which the schedule's times of day are meant.
    #[serde(default)]
    pub time_zone: String,
    /// By how much every run is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// Whether the recovery-point objective is met.
    pub recovery_point: RecoveryPoint,
    /// Until when the last good backup meets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met_until: Option<Time>,
}

/// Whether a schedule's newest good backup is as new as its policy promises.
///
/// A run is owed once it is due. It may start late by `startingDeadline` and take `maxRuntime`; where the policy sets no
/// `maxRuntime` it has until the next run is due. Met while no run that was due after the start of the newest good
/// backup has used up its time, Missed from then on; a pause by hand changes nothing about it. Unknown before the
/// first run has used up its time. Suspended while the policy itself suspends the schedule, which then promises nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecoveryPoint {
    Met,
    Missed,
    Suspended,
    #[default]
    Unknown,
}

/// An object that is made once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeOnce {
    /// Backup or Restore.
    pub kind: String,
    /// Its name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;

    #[test]
    fn the_kind_has_a_status_subresource_and_conditions_that_merge() {
        let crd = serde_json::to_value(PolicySet::crd()).unwrap();
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["subresources"], serde_json::json!({"status": {}}));
        let conditions =
            &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }

    #[test]
    fn a_status_written_by_a_later_version_is_read() {
        let status: PolicySetStatus = serde_json::from_value(serde_json::json!({
            "problemCount": 3, "somethingNew": {"x": 1}
        }))
        .unwrap();
        assert_eq!(status.problem_count, 3);
    }
}
