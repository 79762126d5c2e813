//! Carrying out what was decided about the end of a backup.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use holdfast_policy::annotations::SUSPECT;
use holdfast_policy::retention::Rule;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero::{
    Amendment, Backup, BackupStorageLocation, DeleteBackupRequest, DeleteBackupRequestSpec, Summarized,
    labels, short_name,
};
use kube::ResourceExt;
use kube::core::ObjectMeta;

use super::Controller;
use super::decide::{Decision, Failure, Step};
use crate::controllers::delete_backup_request::progress;
use crate::controllers::events::{Notice, Severity};
use crate::controllers::{stores, watched};
use crate::engine::amend;

/// A generated name that is taken is worth another try.
const NAMES_TRIED: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Write(#[from] watched::Error),
    #[error("cannot open its location")]
    Open(#[from] stores::Error),
    #[error(transparent)]
    Amend(#[from] amend::Error),
}

pub(super) async fn act(controller: &Controller, step: Step) -> Result<(), Error> {
    let Step { backup, location, decision } = step;
    let location = location.as_deref();
    let whole = controller.backups.get(backup.name());
    let Some(backup) = whole.filter(|whole| whole.metadata.uid.as_deref() == backup.uid()) else {
        // It was decided about a Backup that is gone.
        return Ok(());
    };
    match decision {
        Decision::MarkSuspect { why } => mark_suspect(controller, &backup, location, why).await,
        Decision::MoveExpiration { to } => {
            let amendment = Amendment { expiration: Some(from_chrono(to)), ..Amendment::default() };
            // The bucket first: a rule deletes nothing whose record has a later expiration.
            amend_record(controller, &backup, location, &amendment).await?;
            let mut after = backup.as_ref().clone();
            after.status.expiration = amendment.expiration;
            controller.backups.patch(&backup, &after).await?;
            let until = to.to_rfc3339_opts(SecondsFormat::Secs, true);
            let note = format!("kept by minimumGood until {until}, beyond its ttl");
            tell(controller, &backup, Severity::Normal, "KeptBeyondTtl", note).await;
            Ok(())
        }
        Decision::Label { failure } => {
            set_label(controller, &backup, Some(failure)).await?;
            Ok(())
        }
        Decision::Request { rule } => {
            let backup = set_label(controller, &backup, None).await?;
            request(controller, &backup, rule).await
        }
        Decision::Keep { .. } | Decision::Wait { .. } => Ok(()),
    }
}

async fn mark_suspect(
    controller: &Controller,
    backup: &Backup,
    location: Option<&BackupStorageLocation>,
    why: String,
) -> Result<(), Error> {
    let annotations = BTreeMap::from([(SUSPECT.to_owned(), why.clone())]);
    let amendment = Amendment { annotations, ..Amendment::default() };
    // In the bucket it is for clusters to come; this one needs the Backup's own.
    if let Err(error) = amend_record(controller, backup, location, &amendment).await {
        let error = &error as &dyn std::error::Error;
        tracing::info!(backup = backup.name_any(), error, "only the cluster knows that a backup is suspect");
    }
    let mut after = backup.clone();
    after.annotations_mut().insert(SUSPECT.to_owned(), why.clone());
    controller.backups.patch(backup, &after).await?;
    let note = format!("{why}: it does not count as good");
    tell(controller, backup, Severity::Warning, "Suspect", note).await;
    Ok(())
}

async fn amend_record(
    controller: &Controller,
    backup: &Backup,
    location: Option<&BackupStorageLocation>,
    amendment: &Amendment,
) -> Result<(), Error> {
    let Some(location) = location else { return Err(amend::Error::Another.into()) };
    let store = controller.stores.open(location).await?;
    Ok(amend::amend(&store, backup, amendment).await?)
}

async fn set_label(
    controller: &Controller,
    backup: &Backup,
    failure: Option<Failure>,
) -> Result<std::sync::Arc<Backup>, Error> {
    let mut after = backup.clone();
    match failure {
        Some(failure) => {
            after.labels_mut().insert(labels::GC_FAILURE.to_owned(), failure.as_str().to_owned());
        }
        None => {
            after.labels_mut().remove(labels::GC_FAILURE);
        }
    }
    Ok(controller.backups.patch(backup, &after).await?)
}

async fn request(controller: &Controller, backup: &Backup, rule: Rule) -> Result<(), Error> {
    let name = backup.name_any();
    let labels = BTreeMap::from([
        (labels::BACKUP_NAME.to_owned(), short_name(&name)),
        (labels::BACKUP_UID.to_owned(), backup.uid().unwrap_or_default()),
    ]);
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: backup.namespace(),
        labels: Some(labels),
        annotations: Some(BTreeMap::from([(progress::RULE.to_owned(), rule.as_str().to_owned())])),
        ..ObjectMeta::default()
    };
    let spec = DeleteBackupRequestSpec { backup_name: name.clone() };
    let request = DeleteBackupRequest { metadata, spec, ..DeleteBackupRequest::default() };
    let mut tries = 0;
    let created = loop {
        tries += 1;
        match controller.requests.create(&request).await {
            Err(error) if error.status() == Some(409) && tries < NAMES_TRIED => {}
            created => break created?,
        }
    };
    tracing::info!(
        backup = name,
        rule = rule.as_str(),
        request = created.name_any(),
        "backup is to be deleted"
    );
    let note = format!("deleted by rule {}: {rule}", rule.as_str());
    tell(controller, backup, Severity::Normal, "Ended", note).await;
    Ok(())
}

async fn tell(
    controller: &Controller,
    backup: &Backup,
    severity: Severity,
    reason: &'static str,
    note: String,
) {
    controller.events.tell(backup, Notice { severity, reason, action: "Retain", note }).await;
}
