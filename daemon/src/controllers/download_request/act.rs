//! Signing, and writing the URL into the request.

use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::compression::Compression;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero::{DownloadRequest, DownloadRequestPhase};
use kube::ResourceExt;

use super::Controller;
use super::decide::{Decision, Found, LIFETIME, Server, Signed};
use super::target::Wanted;
use crate::controllers::runs::Runs;
use crate::controllers::stores::{self, Stores, reason};
use crate::controllers::watched;
use crate::downloads::Links;
use crate::store::{self, StoredFile};

/// A bucket that takes longer is tried again; the command line waits for a minute at most.
const TIME_OUT: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no URL: {reason}")]
    NotSigned { reason: String },
    #[error(transparent)]
    Write(#[from] watched::Error),
}

pub(super) async fn act(
    controller: &Controller,
    signings: &Runs<Signed>,
    request: &DownloadRequest,
    decision: Decision,
) -> Result<(), Error> {
    match decision {
        Decision::Sign { found } => {
            start(controller, signings, request, found);
            Ok(())
        }
        Decision::Record { signed } => {
            record(controller, request, &signed).await?;
            signings.forget(&request.uid().unwrap_or_default());
            match signed.as_ref() {
                Ok(_) => Ok(()),
                Err(reason) => Err(Error::NotSigned { reason: reason.clone() }),
            }
        }
        Decision::SetExpiration { reason: _ } => {
            write(controller, request, expiring(controller, request)).await
        }
        Decision::Delete => Ok(controller.requests.delete(request).await?),
        Decision::Signing | Decision::Sleep { .. } => Ok(()),
    }
}

fn start(controller: &Controller, signings: &Runs<Signed>, request: &DownloadRequest, found: Found) {
    let uid = request.uid().unwrap_or_default();
    let stores = controller.stores.clone();
    let links = controller.links.clone();
    let expires = (controller.clock)() + LIFETIME;
    signings.start(&uid, &request.name_any(), |cancel| async move {
        tokio::select! {
            signed = tokio::time::timeout(TIME_OUT, sign(&stores, links.as_ref(), &found, expires)) => match signed {
                Ok(signed) => signed.map_err(|error| reason(&error)),
                Err(_) => Err(format!("no answer from the bucket within {} s", TIME_OUT.as_secs())),
            },
            () = cancel.cancelled() => Err("the daemon was stopped".to_owned()),
        }
    });
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error(transparent)]
    Open(#[from] stores::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(
        "provider {provider} has no signed URLs, and the daemon serves no downloads (--download-address none)"
    )]
    NobodyServes { provider: String },
}

async fn sign(
    stores: &Stores,
    links: Option<&Links>,
    found: &Found,
    expires: DateTime<Utc>,
) -> Result<String, SignError> {
    let store = stores.open(&found.location).await?;
    let name = found.name.clone();
    let file = match found.wanted {
        Wanted::OfBackup(file) => StoredFile::BackupFile { backup: name, file },
        Wanted::OfRestore(file) => StoredFile::RestoreFile { restore: name, file },
        Wanted::Archive => {
            // The codec is in the name. Without an archive the URL is that of Velero's, and leads to 404.
            let archive = store.read_archive(&name).await?;
            let compression = archive.map_or(Compression::Gzip, |archive| archive.compression);
            StoredFile::Archive { backup: name, compression }
        }
    };
    let lifetime = LIFETIME.to_std().unwrap_or_default();
    let spec = &found.location.spec;
    let public = match found.server {
        Server::Bucket => {
            if let Some(url) = store.sign(&file, lifetime).await? {
                return Ok(url);
            }
            spec.config.get("publicUrl").filter(|url| !url.is_empty())
        }
        // Whoever asks so comes to our own address, by a way of his own.
        Server::Daemon => None,
    };
    let links = links.ok_or_else(|| SignError::NobodyServes { provider: spec.provider.clone() })?;
    Ok(links.link(&found.location.name_any(), public.map(String::as_str), &file, expires))
}

async fn record(controller: &Controller, request: &DownloadRequest, signed: &Signed) -> Result<(), Error> {
    let mut after = expiring(controller, request);
    if let Ok(url) = signed {
        after.status.download_url = Some(url.clone());
        after.status.phase = Some(DownloadRequestPhase::Processed);
    } else if request.status.expiration.is_some() {
        // Its time runs from the first try, however many follow.
        return Ok(());
    }
    write(controller, request, after).await
}

fn expiring(controller: &Controller, request: &DownloadRequest) -> DownloadRequest {
    let mut after = request.clone();
    after.status.expiration = Some(from_chrono((controller.clock)() + LIFETIME));
    after
}

async fn write(
    controller: &Controller,
    request: &DownloadRequest,
    after: DownloadRequest,
) -> Result<(), Error> {
    match controller.requests.patch(request, &after).await {
        Ok(_) => Ok(()),
        // Whoever asked has taken the request back.
        Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
