//! A backup or restore from now to its end, with progress on standard error.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use holdfast_policy::velero::{Backup, BackupPhase, Restore, RestorePhase};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde::Serialize;

use super::flags::Output;
use super::policies;
use crate::controllers::watched::Record;

/// A run of which nothing is heard for so long is asked about again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub phase: String,
    pub verdict: Verdict,
    pub done: i64,
    pub items: i64,
    pub warnings: i64,
    pub errors: i64,
    /// Why it failed.
    pub reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Unfinished,
    Well,
    /// Some of it, or all.
    Failed,
    /// It never ran, and so has no log.
    Refused,
}

/// What runs.
pub trait Followed: Record {
    const WORD: &'static str;
    fn view(&self) -> View;
}

impl Followed for Backup {
    const WORD: &'static str = "backup";

    fn view(&self) -> View {
        let status = &self.status;
        let progress = status.progress.unwrap_or_default();
        let phase = self.status_phase();
        View {
            phase: phase.to_string(),
            verdict: match (phase.has_ended(), phase) {
                (true, BackupPhase::Completed) => Verdict::Well,
                (true, BackupPhase::FailedValidation) => Verdict::Refused,
                (true, _) => Verdict::Failed,
                (false, _) => Verdict::Unfinished,
            },
            done: progress.items_backed_up,
            items: progress.total_items,
            warnings: status.warnings,
            errors: status.errors,
            reasons: reasons(&status.validation_errors, status.failure_reason.as_ref()),
        }
    }
}

impl Followed for Restore {
    const WORD: &'static str = "restore";

    fn view(&self) -> View {
        let status = &self.status;
        let progress = status.progress.unwrap_or_default();
        let phase = self.status_phase();
        View {
            phase: phase.to_string(),
            verdict: match (phase.has_ended(), phase) {
                (true, RestorePhase::Completed) => Verdict::Well,
                (true, RestorePhase::FailedValidation) => Verdict::Refused,
                (true, _) => Verdict::Failed,
                (false, _) => Verdict::Unfinished,
            },
            done: progress.items_restored,
            items: progress.total_items,
            warnings: status.warnings,
            errors: status.errors,
            reasons: reasons(&status.validation_errors, status.failure_reason.as_ref()),
        }
    }
}

fn reasons(validation: &[String], failure: Option<&String>) -> Vec<String> {
    validation.iter().chain(failure).cloned().collect()
}

impl View {
    /// One line.
    pub fn line(&self, what: &str) -> String {
        let View { phase, verdict, done, items, warnings, errors, reasons } = self;
        let counts = match (verdict, items) {
            (Verdict::Refused, _) | (Verdict::Unfinished, 0) => String::new(),
            (Verdict::Unfinished | Verdict::Well | Verdict::Failed, _) => {
                format!(", {done} of {items} items")
            }
        };
        let worries = match (warnings, errors) {
            (0, 0) => String::new(),
            (warnings, errors) => format!(", {warnings} warnings, {errors} errors"),
        };
        let reasons: String = reasons.iter().map(|reason| format!("\n  {reason}")).collect();
        format!("{what}: {phase}{counts}{worries}{reasons}")
    }

    /// Whether it has come so much further that a line is due: another phase, or a tenth more.
    fn is_news_after(&self, told: Option<&View>) -> bool {
        let tenths = |view: &View| if view.items > 0 { view.done * 10 / view.items } else { 0 };
        told.is_none_or(|told| told.phase != self.phase || tenths(told) < tenths(self))
    }

    pub fn exit_code(&self) -> ExitCode {
        match self.verdict {
            Verdict::Well | Verdict::Unfinished => policies::CLEAN,
            Verdict::Failed | Verdict::Refused => ExitCode::from(policies::PROBLEMS),
        }
    }
}

/// What a command that makes a run does after that.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Afterwards {
    /// Don't wait for the end of what was made.
    #[arg(long)]
    no_wait: bool,
    /// What is printed: the name of what was made at once, or the object at the end.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Afterwards {
    /// Makes the object, and gives it as it is when it was made or has ended.
    pub async fn make<K>(self, api: &Api<K>, object: &K) -> anyhow::Result<K>
    where
        K: Followed + Serialize,
    {
        let what = name_of(object);
        let made = api.create(&PostParams::default(), object).await;
        let made = made.with_context(|| format!("cannot create {what}"))?;
        if self.output == Output::Text {
            policies::print(&format!("{what}\n"))?;
        }
        if self.no_wait { Ok(made) } else { to_its_end(api, &made.name_any()).await }
    }

    /// Prints what [`Afterwards::make`] gave, or why it gave nothing.
    pub fn tell<K>(self, made: anyhow::Result<K>) -> anyhow::Result<ExitCode>
    where
        K: Followed + Serialize,
    {
        let object = match made {
            Ok(object) => object,
            Err(error) => return Ok(policies::could_not_run(error)),
        };
        if self.output != Output::Text {
            policies::print(&self.output.value(&object)?)?;
        }
        Ok(object.view().exit_code())
    }
}

/// Returns once it has ended. Where it goes on when nobody watches, an end of ours is no end of its.
pub async fn to_its_end<K: Followed>(api: &Api<K>, name: &str) -> anyhow::Result<K> {
    let what = format!("{}/{name}", K::WORD);
    let mut told: Option<View> = None;
    let mut seen = std::pin::pin!(watcher::watch_object(api.clone(), name).default_backoff());
    loop {
        let found = match tokio::time::timeout(LOOK_AGAIN, seen.next()).await {
            Ok(Some(Ok(found))) => found,
            // The watch tries again by itself; a look of our own says whether that is worth while.
            Ok(Some(Err(_)) | None) | Err(_) => {
                api.get_opt(name).await.with_context(|| format!("cannot read {what}"))?
            }
        };
        let Some(object) = found else { bail!("{what} is gone") };
        let view = object.view();
        if view.is_news_after(told.as_ref()) {
            eprintln!("{}", view.line(&what));
            told = Some(view.clone());
        }
        if view.verdict != Verdict::Unfinished {
            return Ok(object);
        }
    }
}

/// `backup/nightly`.
pub fn name_of<K: Followed>(object: &K) -> String {
    format!("{}/{}", K::WORD, object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn backup(status: serde_json::Value) -> View {
        let value = json!({"metadata": {"name": "b"}, "spec": {}, "status": status});
        serde_json::from_value::<Backup>(value).unwrap().view()
    }

    #[test]
    fn a_run_is_told_in_one_line_and_its_reasons_below() {
        let lines = [
            json!({}),
            json!({"phase": "InProgress", "progress": {"totalItems": 40, "itemsBackedUp": 10}}),
            json!({"phase": "Completed", "warnings": 2, "progress": {"totalItems": 40, "itemsBackedUp": 40}}),
            json!({"phase": "FailedValidation", "validationErrors": ["no such location"]}),
        ]
        .map(|status| backup(status).line("backup/b"));
        assert_eq!(
            lines,
            [
                "backup/b: New",
                "backup/b: InProgress, 10 of 40 items",
                "backup/b: Completed, 40 of 40 items, 2 warnings, 0 errors",
                "backup/b: FailedValidation\n  no such location",
            ]
        );
    }

    #[test]
    fn progress_is_told_by_tenths() {
        let at = |done| {
            backup(json!({"phase": "InProgress", "progress": {"totalItems": 100, "itemsBackedUp": done}}))
        };
        assert!(at(0).is_news_after(None));
        assert!(!at(9).is_news_after(Some(&at(0))));
        assert!(at(10).is_news_after(Some(&at(9))));
        assert!(backup(json!({"phase": "Finalizing"})).is_news_after(Some(&at(10))));
    }
}
