//! Whether a ServerStatusRequest is to be answered or has been read by now.

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{ServerStatusRequest, ServerStatusRequestPhase as Phase};

/// How long an answer stays to be read.
const KEPT: Duration = Duration::minutes(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Answer,
    Sleep { until: DateTime<Utc> },
    Delete,
}

pub fn decide(request: &ServerStatusRequest, now: DateTime<Utc>) -> Decision {
    match request.status_phase() {
        Phase::New => Decision::Answer,
        Phase::Processed => match &request.status.processed_timestamp {
            Some(processed) if to_chrono(processed) + KEPT > now => {
                Decision::Sleep { until: to_chrono(processed) + KEPT }
            }
            Some(_) | None => Decision::Delete,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_request_is_answered_once_and_goes_after_a_minute() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let processed = json!({"phase": "Processed", "processedTimestamp": "2026-11-23T10:00:00Z"});
        let cases: [(Value, &str, Decision); 6] = [
            (json!({}), "2026-11-23T10:00:00Z", Decision::Answer),
            (json!({"phase": ""}), "2026-11-23T10:00:00Z", Decision::Answer),
            (json!({"phase": "New"}), "2026-11-23T10:00:00Z", Decision::Answer),
            (
                processed.clone(),
                "2026-11-23T10:00:59Z",
                Decision::Sleep { until: at("2026-11-23T10:01:00Z") },
            ),
            (processed, "2026-11-23T10:01:00Z", Decision::Delete),
            (json!({"phase": "Processed"}), "2026-11-23T10:00:00Z", Decision::Delete),
        ];
        for (status, now, expected) in cases {
            let request: ServerStatusRequest =
                serde_json::from_value(json!({"metadata": {"name": "cli"}, "status": status})).unwrap();
            assert_eq!(decide(&request, at(now)), expected, "{status} at {now}");
        }
    }
}
