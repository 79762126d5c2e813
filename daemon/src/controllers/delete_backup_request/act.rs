//! Carrying out what was decided about a DeleteBackupRequest.

use holdfast_policy::velero::{DeleteBackupRequest, DeleteBackupRequestPhase};
use kube::ResourceExt;

use super::Controller;
use super::decide::{Decision, Refusal};
use super::progress;
use super::run::{self, Attempt, End, Work};
use crate::controllers::runs::Runs;
use crate::controllers::watched;

pub(super) async fn act(
    controller: &Controller,
    runs: &Runs<End>,
    request: &std::sync::Arc<DeleteBackupRequest>,
    decision: Decision,
) -> Result<(), watched::Error> {
    match decision {
        Decision::Start(start) => {
            let uid = request.uid().unwrap_or_default();
            let work = Work {
                controller: controller.clone(),
                request: request.clone(),
                start: *start,
                attempt: Attempt::First,
            };
            runs.start(&uid, &request.name_any(), |cancel| run::run(work, cancel));
            Ok(())
        }
        Decision::Refuse { refusal } => refuse(controller, request, &refusal).await,
        Decision::Delete => controller.requests.delete(request.as_ref()).await,
        Decision::Wait { .. } => Ok(()),
    }
}

async fn refuse(
    controller: &Controller,
    request: &DeleteBackupRequest,
    refusal: &Refusal,
) -> Result<(), watched::Error> {
    let mut after = request.clone();
    after.status.phase = Some(DeleteBackupRequestPhase::Processed);
    after.status.errors = vec![format!("backup deletion failed: {refusal}")];
    match refusal {
        Refusal::NoName | Refusal::NoBackup | Refusal::Held { .. } => progress::give_up(&mut after),
        Refusal::InProgress
        | Refusal::NoLocation { .. }
        | Refusal::ReadOnly { .. }
        | Refusal::Unavailable { .. } => {
            // One that has begun must not end half-way.
            if progress::location(request).is_some() {
                progress::fail(&mut after, (controller.clock)());
            }
        }
    }
    match controller.requests.patch(request, &after).await {
        Ok(_) => Ok(()),
        // Whoever asked has taken the request back.
        Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}
