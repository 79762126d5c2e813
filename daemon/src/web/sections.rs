//! The parts of pages. Pure; every text goes through the escaping of `html!`.

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::policy_set::RecoveryPoint;
use holdfast_policy::velero::{BackupPhase, LocationPhase, RestorePhase};
use maud::{Markup, html};

use super::figures::{ago, ahead, between};
use crate::overview::words::bytes;
use crate::overview::{
    Attention, BackupLine, Day, Location, Problem, RestoreLine, Run, Schedule, Source, State,
};

mod coverage;

pub(super) use coverage::{coverage, coverage_line};

/// How many rows a table has at most, and how many entries a list.
const ROWS: usize = 200;
const ENTRIES: usize = 50;
/// How many schedules are named on a day.
const A_DAY: usize = 15;

fn more(count: usize, shown: usize) -> Markup {
    html! { @if count > shown { p.note { "and " (count - shown) " more" } } }
}

pub(super) fn attention(all: &[Attention]) -> Markup {
    html! {
        @if all.is_empty() { p.well { "Nothing needs attention." } }
        @else {
            ul.attention {
                @for Attention { about, what, help } in all.iter().take(ENTRIES) {
                    li { code { (about) } " " (what) @if let Some(help) = help { " " span.note { (help) } } }
                }
            }
            (more(all.len(), ENTRIES))
        }
    }
}

pub(super) fn running(running: &[Run], now: DateTime<Utc>) -> Markup {
    html! {
        @if !running.is_empty() {
            h2 { "In progress" }
            div.scroll { table {
                tr { th { "Run" } th { "Phase" } th { "Progress" } th { "Started" } }
                @for run in running.iter().take(ROWS) {
                    tr {
                        td.name { (run.kind.word()) "/" (run.name) }
                        td { (run.phase) }
                        td {
                            @if run.items > 0 { progress max=(run.items) value=(run.items_done) {} " " }
                            (run.items_done) " of " (run.items) " items"
                        }
                        td { (ago(run.started, now)) }
                    }
                }
            } }
            (more(running.len(), ROWS))
        }
    }
}

pub(super) fn sources(sources: &[Source], now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Policies" }
        @if sources.is_empty() { p.note { "No source of policies is known." } }
        @else {
            div.scroll { table {
                tr {
                    th { "Source" } th { "Ready" } th { "In force since" } th { "Revision" } th.number { "Objects" }
                    th.number { "Schedules" } th.number { "Missed" } th.number { "Problems" }
                }
                @for source in sources.iter().take(ROWS) {
                    tr {
                        td.name { (source.name) br; span.note { (source.source) } }
                        td class=(if source.ready == "True" { "good" } else { "bad" }) title=(source.message) {
                            (source.ready) " " (source.reason)
                        }
                        td { (ago(source.since, now)) }
                        td { code { (short(source.git_revision.as_ref().or(source.revision.as_ref()))) } }
                        td.number { (source.objects) }
                        td.number { (source.schedule_count) }
                        td.number { (worry(source.missed_count, "bad")) }
                        td.number { (worry(source.problem_count, "doubtful")) }
                    }
                }
            } }
            @for source in sources.iter().take(ROWS) { (problems(source)) }
        }
    }
}

fn problems(source: &Source) -> Markup {
    let all: Vec<&Problem> = source.problems.iter().chain(&source.notices).chain(&source.waiting).collect();
    html! {
        @if !all.is_empty() {
            details id={ "problems-" (source.name) } {
                summary { "Problems of " (source.name) " (" (all.len()) ")" }
                ul.list {
                    @for Problem { about, what, help, is_urgent } in all.iter().take(ENTRIES) {
                        li {
                            code { (about) } " "
                            span class=(if *is_urgent { "bad" } else { "doubtful" }) { (what) }
                            @if let Some(help) = help { " " span.note { (help) } }
                        }
                    }
                }
                (more(all.len(), ENTRIES))
            }
        }
    }
}

fn short(revision: Option<&String>) -> &str {
    let hash = revision.map_or("–", |revision| revision.strip_prefix("sha256:").unwrap_or(revision));
    hash.get(..12).unwrap_or(hash)
}

fn worry(count: i64, class: &str) -> Markup {
    html! { @if count > 0 { span class=(class) { (count) } } @else { "0" } }
}

pub(super) fn schedules(schedules: &[Schedule], now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Schedules" }
        @if schedules.is_empty() { p.note { "There are none." } }
        @else {
            div.scroll { table {
                tr {
                    th { "Schedule" } th { "Policy" } th { "State" } th { "Cron" } th { "Last" } th { "Last good" }
                    th { "Next run" } th { "Recovery point" }
                }
                @for schedule in schedules.iter().take(ROWS) {
                    tr {
                        td.name { (schedule.name) }
                        td { (schedule.policy.as_deref().unwrap_or("–")) }
                        td { (state(schedule.state)) }
                        td { code { (schedule.cron) } }
                        td { @match schedule.last_phase { Some(phase) => { (backup_phase(phase)) } None => { "–" } } }
                        td title=(schedule.last_good_backup.as_deref().unwrap_or_default()) {
                            (ago(schedule.last_good_time, now))
                        }
                        td { (ahead(schedule.next_run, now)) }
                        td { (recovery_point(schedule.recovery_point)) }
                    }
                }
            } }
            (more(schedules.len(), ROWS))
        }
    }
}

fn state(state: State) -> Markup {
    let (class, word) = match state {
        State::New => ("", "New"),
        State::Enabled => ("good", "Enabled"),
        State::Paused => ("doubtful", "Paused"),
        State::FailedValidation => ("bad", "FailedValidation"),
    };
    html! { span class=(class) { (word) } }
}

fn recovery_point(point: RecoveryPoint) -> Markup {
    let (class, word) = match point {
        RecoveryPoint::Met => ("good", "Met"),
        RecoveryPoint::Missed => ("bad", "Missed"),
        RecoveryPoint::Suspended => ("doubtful", "Suspended"),
        RecoveryPoint::Unknown => ("", "Unknown"),
    };
    html! { span class=(class) { (word) } }
}

pub(super) fn calendar(days: &[Day], left_out: usize) -> Markup {
    html! {
        h2 { "Next runs " small { "times are UTC" } }
        div.days {
            @for day in days {
                div.day {
                    h3 { (day.date.format("%a %-d %b")) }
                    @if day.schedules.is_empty() { span.note { "–" } }
                    ul {
                        @for runs in day.schedules.iter().take(A_DAY) {
                            li {
                                time datetime=(runs.first.format("%FT%TZ")) { (runs.first.format("%H:%M")) } " "
                                (runs.schedule)
                                @if runs.count > 1 || runs.or_more {
                                    span.note { " ×\u{a0}" (runs.count) @if runs.or_more { "+" } }
                                }
                            }
                        }
                    }
                    (more(day.schedules.len(), A_DAY))
                }
            }
        }
        @if left_out > 0 { p.note { (left_out) " more schedules are not in the calendar." } }
    }
}

pub(super) fn backups(backups: &[BackupLine], count: usize, now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Last backups " small { "of " (count) } }
        @if backups.is_empty() { p.note { "None has ended yet." } }
        @else {
            div.scroll { table {
                tr {
                    th { "Backup" } th { "Phase" } th { "Started" } th.number { "Took" } th.number { "Size" }
                    th.number { "Items" } th.number { "Warnings" } th.number { "Errors" } th { "Expires" }
                }
                @for backup in backups {
                    tr {
                        td.name { (backup.name) }
                        td { (backup_phase(backup.phase)) }
                        td { (ago(backup.started, now)) }
                        td.number { (between(backup.started, backup.completed)) }
                        td.number { (bytes(backup.archive_bytes)) }
                        td.number { (backup.items) }
                        td.number { (worry(backup.warnings, "doubtful")) }
                        td.number { (worry(backup.errors, "bad")) }
                        td { (ahead(backup.expires, now)) }
                    }
                }
            } }
        }
    }
}

fn backup_phase(phase: BackupPhase) -> Markup {
    let class = match phase {
        BackupPhase::Completed => "good",
        BackupPhase::PartiallyFailed
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::FinalizingPartiallyFailed => "doubtful",
        BackupPhase::Failed | BackupPhase::FailedValidation => "bad",
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::Finalizing
        | BackupPhase::Deleting => "",
    };
    html! { span class=(class) { (phase) } }
}

pub(super) fn restores(restores: &[RestoreLine], now: DateTime<Utc>) -> Markup {
    html! {
        @if !restores.is_empty() {
            h2 { "Last restores" }
            div.scroll { table {
                tr {
                    th { "Restore" } th { "Phase" } th { "From" } th { "Started" } th.number { "Took" }
                    th.number { "Items" } th.number { "Warnings" } th.number { "Errors" }
                }
                @for restore in restores {
                    tr {
                        td.name { (restore.name) }
                        td { (restore_phase(restore.phase)) }
                        td { (restore.backup.as_deref().unwrap_or("–")) }
                        td { (ago(restore.started, now)) }
                        td.number { (between(restore.started, restore.completed)) }
                        td.number { (restore.items) }
                        td.number { (worry(restore.warnings, "doubtful")) }
                        td.number { (worry(restore.errors, "bad")) }
                    }
                }
            } }
        }
    }
}

fn restore_phase(phase: RestorePhase) -> Markup {
    let class = match phase {
        RestorePhase::Completed => "good",
        RestorePhase::PartiallyFailed
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed
        | RestorePhase::FinalizingPartiallyFailed => "doubtful",
        RestorePhase::Failed | RestorePhase::FailedValidation => "bad",
        RestorePhase::New
        | RestorePhase::InProgress
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::Finalizing => "",
    };
    html! { span class=(class) { (phase) } }
}

pub(super) fn locations(locations: &[Location], now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Locations" }
        @if locations.is_empty() { p.note { "There are none." } }
        @else {
            div.scroll { table {
                tr {
                    th { "Location" } th { "Phase" } th { "Access" } th { "Bucket" } th { "Validated" }
                    th.number { "Backups" }
                }
                @for location in locations.iter().take(ROWS) {
                    tr {
                        td.name { (location.name) @if location.is_default { span.note { " default" } } }
                        td {
                            @match location.phase {
                                Some(phase @ LocationPhase::Available) => { span.good { (phase) } }
                                Some(phase @ LocationPhase::Unavailable) => { span.bad { (phase) } }
                                None => { "–" }
                            }
                        }
                        td { (location.access_mode) }
                        td { (location.provider) ": " (location.bucket) }
                        td { (ago(location.last_validated, now)) }
                        td.number { (location.backups) }
                    }
                }
            } }
            (more(locations.len(), ROWS))
        }
    }
}
