//! The custom resources of the demo: creates Restores, and waits until Backups and Restores have ended.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use holdfast_policy::velero::{Backup, BackupPhase, Restore, RestorePhase, RestoreSpec, labels};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};

const LOOK: Duration = Duration::from_millis(200);

pub(super) struct CustomResources {
    pub(super) client: kube::Client,
    pub(super) namespace: String,
}

/// A run that has reached a phase in which it stays.
pub(super) struct Ended<Phase> {
    pub(super) name: String,
    pub(super) phase: Phase,
    items: i64,
    /// What went wrong, where something did.
    pub(super) detail: String,
}

impl<Phase: std::fmt::Debug> std::fmt::Display for Ended<Phase> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {:?}, {} objects", self.name, self.phase, self.items)
    }
}

/// Told how many objects are done, and of how many.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(u64, u64);

impl CustomResources {
    /// Waits for the Backup called `name`.
    pub(super) async fn backup_ended(
        &self,
        name: &str,
        patience: Duration,
        on_progress: OnProgress<'_>,
    ) -> anyhow::Result<Ended<BackupPhase>> {
        let backups: Api<Backup> = Api::namespaced(self.client.clone(), &self.namespace);
        let deadline = Instant::now() + patience;
        loop {
            let backup = backups.get_opt(name).await.with_context(|| format!("reading Backup {name}"))?;
            if let Some(ended) = backup.as_ref().and_then(|backup| ended_backup(backup, on_progress)) {
                return Ok(ended);
            }
            if Instant::now() > deadline {
                bail!(
                    "Backup {name} has not ended in {patience:?}: {:?}",
                    backup.map(|backup| backup.status)
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the first Backup that the Schedule called `schedule` made.
    pub(super) async fn scheduled_backup_ended(
        &self,
        schedule: &str,
        patience: Duration,
    ) -> anyhow::Result<Ended<BackupPhase>> {
        let backups: Api<Backup> = Api::namespaced(self.client.clone(), &self.namespace);
        let of_schedule = ListParams::default().labels(&format!("{}={schedule}", labels::SCHEDULE_NAME));
        let deadline = Instant::now() + patience;
        loop {
            let list = backups.list(&of_schedule).await.context("listing Backups")?;
            if let Some(ended) = list.iter().find_map(|backup| ended_backup(backup, &mut |_, _| {})) {
                return Ok(ended);
            }
            if Instant::now() > deadline {
                bail!("schedule {schedule} has made no backup in {patience:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Creates a Restore of these namespaces; gives its name back.
    pub(super) async fn restore(
        &self,
        name: &str,
        backup: &str,
        namespaces: &[&str],
        mapping: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let restores: Api<Restore> = Api::namespaced(self.client.clone(), &self.namespace);
        let restore = Restore {
            metadata: ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() },
            spec: RestoreSpec {
                backup_name: Some(backup.to_owned()),
                included_namespaces: namespaces.iter().map(ToString::to_string).collect(),
                namespace_mapping: mapping
                    .iter()
                    .map(|(from, to)| (from.to_string(), to.to_string()))
                    .collect(),
                ..RestoreSpec::default()
            },
            ..Restore::default()
        };
        let created = restores.create(&PostParams::default(), &restore).await;
        let created = created.with_context(|| format!("creating a Restore of {backup}"))?;
        created.metadata.name.context("the created Restore has no name")
    }

    /// Waits for the Restore called `name`.
    pub(super) async fn restore_ended(
        &self,
        name: &str,
        patience: Duration,
        on_progress: OnProgress<'_>,
    ) -> anyhow::Result<Ended<RestorePhase>> {
        let restores: Api<Restore> = Api::namespaced(self.client.clone(), &self.namespace);
        let deadline = Instant::now() + patience;
        loop {
            let restore = restores.get(name).await.with_context(|| format!("reading Restore {name}"))?;
            let status = restore.status.clone();
            let progress = status.progress.unwrap_or_default();
            on_progress(
                progress.items_restored.max(0).cast_unsigned(),
                progress.total_items.max(0).cast_unsigned(),
            );
            let phase = status.phase.unwrap_or_default();
            match phase {
                RestorePhase::Completed
                | RestorePhase::PartiallyFailed
                | RestorePhase::Failed
                | RestorePhase::FailedValidation => {
                    let detail = format!(
                        "{} errors, {} warnings {} {:?}",
                        status.errors,
                        status.warnings,
                        status.failure_reason.unwrap_or_default(),
                        status.validation_errors
                    );
                    return Ok(Ended {
                        name: name.to_owned(),
                        phase,
                        items: progress.items_restored,
                        detail,
                    });
                }
                RestorePhase::New
                | RestorePhase::InProgress
                | RestorePhase::WaitingForPluginOperations
                | RestorePhase::WaitingForPluginOperationsPartiallyFailed
                | RestorePhase::Finalizing
                | RestorePhase::FinalizingPartiallyFailed => {}
            }
            if Instant::now() > deadline {
                bail!("Restore {name} has not ended in {patience:?}: it is {phase:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn ended_backup(backup: &Backup, on_progress: OnProgress<'_>) -> Option<Ended<BackupPhase>> {
    let status = backup.status.clone();
    let progress = status.progress.unwrap_or_default();
    on_progress(progress.items_backed_up.max(0).cast_unsigned(), progress.total_items.max(0).cast_unsigned());
    let phase = status.phase.unwrap_or_default();
    match phase {
        BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::FailedValidation => {
            let name = backup.metadata.name.clone().unwrap_or_default();
            let detail = format!(
                "{} errors, {} warnings {} {:?}",
                status.errors,
                status.warnings,
                status.failure_reason.unwrap_or_default(),
                status.validation_errors
            );
            Some(Ended { name, phase, items: progress.items_backed_up, detail })
        }
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed
        | BackupPhase::Deleting => None,
    }
}

/// Creates the namespace where it is missing.
pub(super) async fn ensure_namespace(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await.with_context(|| format!("reading namespace {name}"))?.is_some() {
        return Ok(());
    }
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("creating namespace {name}"))?;
    Ok(())
}
