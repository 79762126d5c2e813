//! Which backups of a schedule to keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::duration::GoDuration;

/// Which backups of a schedule stay. Works inside the ttl: it deletes earlier, never later. A backup stays while
/// at least one rule keeps it; periods are those of the schedule's time zone, and only those with a good backup
/// count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Retention {
    /// The newest good backups, this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub keep_last: Option<u32>,
    /// The newest good backup of each of this many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub hourly: Option<u32>,
    /// The newest good backup of each of this many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub daily: Option<u32>,
    /// The newest good backup of each of this many weeks (Monday to Sunday).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub weekly: Option<u32>,
    /// The newest good backup of each of this many months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000))]
    pub monthly: Option<u32>,
    /// The newest good backup of each of this many years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub yearly: Option<u32>,
    /// This many of the newest good backups stay whatever happens, beyond the ttl as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub minimum_good: Option<u32>,
    /// How long backups stay that failed wholly or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration", example = &"24h")]
    pub keep_failed: Option<GoDuration>,
}
