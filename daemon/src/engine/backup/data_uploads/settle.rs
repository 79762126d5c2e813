//! The end of a run's moves: all DataUploads are waited for together; then each is stored as it ended, with its claim.
//!
//! Unlike in Velero, whose server writes the archive a second time for this, the archive is open until the last move has
//! ended: what is written is written once.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_policy::velero::DataUpload;
use kube::ResourceExt;

use super::outcome::Outcome;
use super::{Asked, Error};
use crate::archive;
use crate::causes::with_causes;
use crate::engine::backup::collect::Collector;
use crate::engine::backup::csi;
use crate::engine::backup::items::{ItemError, Subject};
use crate::engine::data_moves::{self, Verdict, Waiting};

const FIRST_LOOK: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(5);
const CLAIMS: &str = "persistentvolumeclaims";

/// By name.
type Uploads = BTreeMap<String, DataUpload>;

impl Collector<'_> {
    /// Returns when every move of the run has ended, or its time is over. An error ends the run.
    pub(in crate::engine::backup) async fn settle_moves(&self) -> Result<(), archive::Error> {
        let asked = std::mem::take(&mut self.uploads.state().asked);
        if asked.is_empty() {
            return Ok(());
        }
        let attempted = asked.len() as u64;
        self.volumes.count(|counts| counts.moves_attempted += attempted);
        self.log.info(
            "Waiting for the data of snapshots to be moved",
            &[("dataUploads", &attempted.to_string())],
        );
        let (uploads, verdicts) = self.until_moved(&asked).await;
        for (asked, verdict) in asked.into_iter().zip(verdicts) {
            let not_moved = |reason: String| Error::NotMoved { name: asked.upload.clone(), reason };
            let moved = match verdict {
                Verdict::Moved => Ok(()),
                Verdict::NotMoved { reason } => Err(not_moved(reason)),
                Verdict::Late | Verdict::NotYet => Err(not_moved(data_moves::LATE.to_owned())),
            };
            let stored = self.store_upload(&asked).await?;
            let outcome = moved.and(stored);
            self.note_move(&asked, uploads.get(&asked.upload), outcome).await?;
        }
        // The agent takes the snapshots over and removes them; what is left was not.
        if self.uploads.is_built_in() {
            self.csi.give_up().await;
        }
        Ok(())
    }

    /// Looks at all of them at once, by one list.
    async fn until_moved(&self, asked: &[Asked]) -> (Uploads, Vec<Verdict>) {
        let uploads = &self.uploads;
        let mut pause = FIRST_LOOK;
        let mut seen = Uploads::new();
        loop {
            let now = (uploads.clock)();
            let listed = uploads.list().await;
            if let Ok(listed) = &listed {
                seen = listed.iter().map(|upload| (upload.name_any(), upload.clone())).collect();
            }
            let judged: Vec<Verdict> = asked
                .iter()
                .map(|asked| {
                    let waited = (now - asked.claim.started).to_std().unwrap_or_default();
                    match &listed {
                        Ok(_) => {
                            let seen = seen.get(&asked.upload);
                            let seen = seen.map(|it| (it.status_phase(), it.status.message.as_deref()));
                            data_moves::judge("DataUpload", seen, waited, uploads.ended_within)
                        }
                        Err(error) if waited >= uploads.ended_within => {
                            Verdict::NotMoved { reason: with_causes(error) }
                        }
                        Err(_) => Verdict::NotYet,
                    }
                })
                .collect();
            let open = judged.iter().filter(|verdict| **verdict == Verdict::NotYet).count() as u64;
            let attempted = asked.len() as u64;
            let has_errors = self.log.counts().errors > 0;
            uploads.state().waiting = Some(Waiting { attempted, ended: attempted - open, has_errors });
            if open == 0 {
                for (asked, verdict) in asked.iter().zip(&judged) {
                    if *verdict == Verdict::Late {
                        uploads.cancel(&asked.upload).await;
                    }
                }
                return (seen, judged);
            }
            if let Err(error) = listed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(backup = self.name, error, "cannot look at DataUploads, trying again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_EVERY);
        }
    }

    /// As it ended, whatever came of it.
    async fn store_upload(&self, asked: &Asked) -> Result<Result<(), Error>, archive::Error> {
        let (Some(subject), found) = (self.upload_subject(), self.stored_upload(&asked.upload).await) else {
            return Ok(Err(Error::NotServed));
        };
        match found {
            Ok(Some(item)) => match self.append(&subject, item).await {
                Ok(()) => Ok(Ok(())),
                Err(ItemError::Archive(error)) => Err(error),
                Err(error) => {
                    Ok(Err(Error::NotMoved { name: asked.upload.clone(), reason: error.to_string() }))
                }
            },
            Ok(None) => {
                let reason = "it was deleted before it was stored".to_owned();
                Ok(Err(Error::NotMoved { name: asked.upload.clone(), reason }))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Stores the claim of data that was moved; tells the volume info, the operations and the log.
    async fn note_move(
        &self,
        asked: &Asked,
        upload: Option<&DataUpload>,
        outcome: Result<(), Error>,
    ) -> Result<(), archive::Error> {
        let uploads = &self.uploads;
        let stored = match outcome {
            Ok(()) => self.store_moved_claim(asked).await,
            Err(error) => Err(ItemError::from(csi::Error::from(error))),
        };
        let problem = stored.as_ref().err().map(ToString::to_string);
        match stored {
            Ok(()) => self.volumes.count(|counts| counts.moves_completed += 1),
            Err(error) => {
                self.take_back(&asked.claim.namespace, &asked.claim.snapshot).await;
                let (claim, namespace) = (&asked.claim.item.name, Some(asked.claim.namespace.as_str()));
                if let Some(claims) = self.discovery.by_group_resource(CLAIMS) {
                    self.report(&Subject::new(claims), claim, namespace, error)?;
                }
            }
        }
        let outcome = Outcome {
            backup: &uploads.backup,
            home: &uploads.settings.namespace,
            asked,
            upload,
            ended: (uploads.clock)(),
            problem: problem.as_deref(),
        };
        let record = outcome.record();
        self.volumes.list(|lists| lists.operations.push(record));
        self.volumes.keep(outcome.entry());
        Ok(())
    }

    async fn store_moved_claim(&self, asked: &Asked) -> Result<(), ItemError> {
        let Some(claims) = self.discovery.by_group_resource(CLAIMS) else {
            return Err(csi::Error::from(Error::NotServed).into());
        };
        let upload = format!("{}/{}", self.uploads.settings.namespace, asked.upload);
        let mut claim = asked.claim.item.clone();
        claim.json = csi::moved_claim(&claim.json, self.name, &asked.claim.snapshot, &upload)?;
        self.append(&Subject::new(claims), claim).await
    }
}
