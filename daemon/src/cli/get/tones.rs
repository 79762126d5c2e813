//! How phases are meant.

use holdfast_policy::velero::{BackupPhase, RestorePhase};

use crate::cli::table::Tone;

pub(in crate::cli) fn of_backup(phase: BackupPhase) -> Tone {
    match phase {
        BackupPhase::Completed => Tone::Good,
        BackupPhase::PartiallyFailed
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::FinalizingPartiallyFailed => Tone::Doubtful,
        BackupPhase::Failed | BackupPhase::FailedValidation => Tone::Bad,
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::Finalizing
        | BackupPhase::Deleting => Tone::Plain,
    }
}

pub(in crate::cli) fn of_restore(phase: RestorePhase) -> Tone {
    match phase {
        RestorePhase::Completed => Tone::Good,
        RestorePhase::PartiallyFailed
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed
        | RestorePhase::FinalizingPartiallyFailed => Tone::Doubtful,
        RestorePhase::Failed | RestorePhase::FailedValidation => Tone::Bad,
        RestorePhase::New
        | RestorePhase::InProgress
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::Finalizing => Tone::Plain,
    }
}
