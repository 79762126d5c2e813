//! The status as people read it. Pure.

use chrono::{DateTime, Utc};

use super::tables::{of_locations, of_running, of_schedules, of_sources};
use super::{Daemon, Status};
use crate::cli::table::{Cell, Paint, Table, Tone, ago};
use crate::overview::Overview;

pub(super) fn text(status: &Status, now: DateTime<Utc>, paint: Paint) -> String {
    let Status { namespace, daemon, overview, attention } = status;
    let mut text = head(daemon, namespace, now);
    let Overview { sources, locations, schedules, running, backups: _, backup_count, restores: _, deletions } =
        overview;
    let sections = [
        of_sources(sources),
        of_locations(locations, now),
        of_schedules(schedules, now),
        of_running(running, now),
    ];
    for section in sections.iter().filter(|section| !section.is_empty()) {
        text.push('\n');
        text += &section.text(paint);
    }
    text += &format!("\n{backup_count} backups");
    if deletions.waiting > 0 {
        text += &format!(", {} being deleted", deletions.waiting);
    }
    text.push('\n');
    if attention.is_empty() {
        return text + "\nnothing needs attention\n";
    }
    let mut list = Table::new(&["ATTENTION", ""]);
    for attention in attention {
        list.row([Cell::toned(&attention.about, Tone::Bad), attention.what.as_str().into()]);
        if let Some(help) = &attention.help {
            list.row(["".into(), help.as_str().into()]);
        }
    }
    text.push('\n');
    text + &list.text(paint)
}

fn head(daemon: &Daemon, namespace: &str, now: DateTime<Utc>) -> String {
    let Daemon { leader, mode, version, heard_of, is_silent: _ } = daemon;
    match leader {
        None => format!("namespace {namespace}: no Holdfast leads\n"),
        Some(leader) => format!(
            "namespace {namespace}: Holdfast {} with --mode {}, led by {leader}, heard of {} ago\n",
            version.as_deref().unwrap_or("of unknown version"),
            mode.as_deref().unwrap_or("unknown"),
            ago(*heard_of, now),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::{Facts, attention, fixtures, overview};

    fn status(facts: &Facts) -> Status {
        let overview = overview(facts, fixtures::now());
        Status {
            namespace: "velero".to_owned(),
            daemon: Daemon {
                leader: Some("holdfast-0".to_owned()),
                mode: Some("full".to_owned()),
                version: Some("0.1.0".to_owned()),
                heard_of: Some("2026-11-23T09:59:58Z".parse().unwrap()),
                is_silent: false,
            },
            attention: attention(&overview),
            overview,
        }
    }

    #[test]
    fn everything_is_told_on_one_screen() {
        insta::assert_snapshot!(text(&status(&fixtures::facts()), fixtures::now(), Paint::Plain));
    }

    #[test]
    fn a_quiet_cluster_is_told_in_few_lines() {
        insta::assert_snapshot!(text(&status(&Facts::default()), fixtures::now(), Paint::Plain));
    }
}
