//! Retention and ttl beside the times of a schedule.

use std::collections::HashSet;

use chrono::TimeDelta;

use crate::cron::{Gaps, Schedule};
use crate::duration::GoDuration;
use crate::model::Retention;
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;

/// A duration as people write it, without the zeros at its end.
pub(super) fn short(duration: GoDuration) -> String {
    let text = duration.to_string();
    let minutes = text.strip_suffix("m0s").map(|start| format!("{start}m"));
    let hours = text.strip_suffix("h0m0s").map(|start| format!("{start}h"));
    hours.or(minutes).unwrap_or(text)
}

/// Where a value comes from, and the document.
pub(super) struct Place<'a> {
    pub(super) raw: &'a RawDocument,
    pub(super) retention: Path,
    pub(super) ttl: Path,
}

/// What was reported for a policy, as its schedules may share settings.
#[derive(Default)]
pub(super) struct Reported(HashSet<String>);

impl Reported {
    fn first(&mut self, path: &Path, what: &str) -> bool {
        self.0.insert(format!("{path} {what}"))
    }
}

pub(super) fn keeps_something(
    retention: &Retention,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let Retention { keep_last, hourly, daily, weekly, monthly, yearly, minimum_good, keep_failed: _ } =
        retention;
    let keeps = [keep_last, hourly, daily, weekly, monthly, yearly, minimum_good]
        .into_iter()
        .any(|count| count.is_some_and(|count| count > 0));
    if !keeps {
        let problem =
            findings.add(raw, path, Rule::RetentionEmpty, "this retention keeps no good backup at all");
        problem.help = Some(
            "without `retention`, backups stay until their ttl; keepLast: 1 keeps the newest".to_owned(),
        );
    }
}

/// Reports keep rules that reach back further than backups live.
pub(super) fn within_ttl(
    retention: &Retention,
    ttl: GoDuration,
    cron: &Schedule,
    place: &Place<'_>,
    reported: &mut Reported,
    findings: &mut Findings<'_>,
) {
    let Retention { keep_last, hourly, daily, weekly, monthly, yearly, minimum_good: _, keep_failed } =
        retention;
    let Gaps { average, .. } = cron.gaps();
    let rules = [
        ("keepLast", keep_last, average),
        ("hourly", hourly, TimeDelta::hours(1)),
        ("daily", daily, TimeDelta::hours(24)),
        ("weekly", weekly, TimeDelta::days(7)),
        // The longest month and year.
        ("monthly", monthly, TimeDelta::days(31)),
        ("yearly", yearly, TimeDelta::days(366)),
    ];
    let ttl_delta = ttl.to_chrono();
    for (key, count, unit) in rules {
        let Some(count) = count.filter(|count| *count > 0) else { continue };
        let Some(needed) = unit.checked_mul(i32::try_from(count).unwrap_or(i32::MAX)) else { continue };
        let at = place.retention.key(key);
        if needed > ttl_delta && reported.first(&at, key) {
            let hours = (needed.num_seconds() + 3599) / 3600;
            let message = format!("`{key}: {count}` reaches back {hours}h, and backups live {}", short(ttl));
            findings.add(place.raw, &at, Rule::RetentionBeyondTtl, message).help = Some(format!(
                "a ttl of {hours}h is needed: retention deletes earlier than the ttl, never later"
            ));
        }
    }
    let at = place.retention.key("keepFailed");
    if let Some(keep_failed) = keep_failed
        && *keep_failed > ttl
        && reported.first(&at, "keepFailed")
    {
        let message =
            format!("`keepFailed: {}` is longer than backups live, {}", short(*keep_failed), short(ttl));
        findings.add(place.raw, &at, Rule::RetentionBeyondTtl, message).help =
            Some(format!("a ttl of {} is needed", short(*keep_failed)));
    }
}

/// Warns where backups are gone before the next one is made.
pub(super) fn outlives_period(
    ttl: GoDuration,
    retention: Option<&Retention>,
    cron: &Schedule,
    place: &Place<'_>,
    reported: &mut Reported,
    findings: &mut Findings<'_>,
) {
    let stays_beyond_ttl =
        retention.and_then(|retention| retention.minimum_good).is_some_and(|count| count > 0);
    let longest = cron.gaps().longest;
    if stays_beyond_ttl || ttl.to_chrono() >= longest || !reported.first(&place.ttl, "ttl") {
        return;
    }
    let hours = (longest.num_seconds() + 3599) / 3600;
    let message = format!(
        "backups live {}, and up to {hours}h pass between two runs: for a while there would be none",
        short(ttl)
    );
    findings.add(place.raw, &place.ttl, Rule::TtlShort, message).help =
        Some(format!("a ttl of more than {hours}h, or retention with minimumGood: 1"));
}
