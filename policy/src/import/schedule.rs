//! Schedules: their names, times and labels.

use std::collections::BTreeMap;

use super::{Draft, Remark, What, spec};
use crate::cron;
use crate::model::{BackupPolicySpec, ScheduleEntry};
use crate::velero;

/// One policy for all Schedules whose names begin alike, as policies name theirs.
pub(super) fn policies(schedules: &[velero::Schedule], remarks: &mut Vec<Remark>) -> Vec<Draft> {
    let mut policies: BTreeMap<String, Vec<(ScheduleEntry, String)>> = BTreeMap::new();
    let mut timeouts = BTreeMap::new();
    for schedule in schedules {
        let name = schedule.metadata.name.clone().unwrap_or_default();
        match entry(&name, schedule) {
            Ok((policy, entry)) => {
                let timeout = spec::set(schedule.spec.template.item_operation_timeout);
                if let Some(timeout) = timeout {
                    timeouts.entry(policy.clone()).or_insert(timeout);
                }
                policies.entry(policy).or_default().push((entry, name));
            }
            Err(reason) => {
                remarks.push(Remark { kind: "Schedule", name, what: What::NotExpressed { reason } });
            }
        }
    }
    let draft = |(policy, entries): (String, Vec<(ScheduleEntry, String)>)| {
        let (schedules, names): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let item_operation_timeout = timeouts.get(&policy).copied();
        let document = BackupPolicySpec { schedules, item_operation_timeout, ..BackupPolicySpec::default() };
        let asks = names.into_iter().map(|name| ("Schedule", name)).collect();
        Draft::new("BackupPolicy", &policy, &document, asks)
    };
    policies.into_iter().map(draft).collect()
}

/// The name of the policy, and its entry; or why there can't be one.
fn entry(name: &str, schedule: &velero::Schedule) -> Result<(String, ScheduleEntry), String> {
    let velero::ScheduleSpec {
        template,
        schedule: text,
        use_owner_references_in_backup: _,
        paused,
        skip_immediately,
    } = &schedule.spec;
    let times = cron::Schedule::parse(text, None).map_err(|error| format!("cron {text:?}: {error}"))?;
    let (policy, entry, schedule_name) = match name.rsplit_once('-') {
        Some((policy, entry)) if !policy.is_empty() && !entry.is_empty() => {
            (policy.trim_end_matches('-'), entry, None)
        }
        Some(_) | None => (name, "main", Some(name.to_owned())),
    };
    let schedule_name =
        schedule_name.or_else(|| Some(name.to_owned()).filter(|_| name != format!("{policy}-{entry}")));
    let labels = match template.metadata.labels.is_empty() {
        false => template.metadata.labels.clone(),
        // Then Velero gives the backups those of the Schedule.
        true => schedule.metadata.labels.clone().unwrap_or_default(),
    };
    let entry = ScheduleEntry {
        name: entry.to_owned(),
        schedule_name,
        cron: expression(text).to_owned(),
        time_zone: times.names_zone().then(|| times.zone().name().to_owned()),
        starting_deadline: None,
        catch_up: None,
        concurrency_policy: None,
        max_runtime: None,
        jitter: None,
        skip_immediately: skip_immediately.filter(|skip| *skip),
        suspend: paused.then_some(true),
        location: template.storage_location.clone(),
        select: Some(spec::select(template)?).filter(|select| *select != Default::default()),
        volumes: Some(spec::volumes(template)?).filter(|volumes| *volumes != Default::default()),
        hooks: Some(spec::hooks(template)?).filter(|hooks| !hooks.is_empty()),
        ttl: spec::set(template.ttl),
        retention: None,
        labels: Some(spec::labels(&labels)).filter(|labels| !labels.is_empty()),
    };
    Ok((policy.to_owned(), entry))
}

/// The expression without its time zone.
fn expression(text: &str) -> &str {
    let text = text.trim();
    let zoned = text.starts_with("CRON_TZ=") || text.starts_with("TZ=");
    text.split_once(char::is_whitespace).filter(|_| zoned).map_or(text, |(_, rest)| rest.trim())
}
