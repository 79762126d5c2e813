//! Schedules.

use serde_json::json;

use super::object::{Object, Objects};
use super::{PublishMode, backup};
use crate::annotations::POLICY;
use crate::validate::ValidSchedule;
use crate::velero;

pub(super) fn compile(schedule: &ValidSchedule, objects: &mut Objects<'_>) {
    let ValidSchedule { origin, name, cron, zone_given, suspend, skip_immediately, rules, content } =
        schedule;
    let mut template = backup::spec(&origin.policy, content, objects);
    // Without labels of its own the template would hand the Schedule's to the Backups, marks and all.
    template.metadata.labels = content.labels.clone();
    template.metadata.labels.insert(POLICY.to_owned(), velero::short_name(&origin.policy));
    let text =
        if *zone_given { format!("CRON_TZ={} {}", cron.zone(), cron.text()) } else { cron.text().to_owned() };
    let spec = velero::ScheduleSpec {
        template,
        schedule: text,
        use_owner_references_in_backup: None,
        // Not written while false, so that a person may pause the schedule.
        paused: *suspend,
        skip_immediately: None,
    };
    let mut value = velero::Schedule::new(name, spec);
    value.metadata = objects.metadata(name, &origin.policy, &content.labels, rules.to_annotations());
    objects.add(Object {
        api_version: "velero.io/v1",
        kind: "Schedule",
        policy: origin.policy.clone(),
        value,
        at_creation: Some(json!({ "spec": { "skipImmediately": skip_immediately } })),
        publish: PublishMode::Apply,
    });
}
