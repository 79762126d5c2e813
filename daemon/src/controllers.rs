//! The controllers: one folder per kind, each a driver around observe, decide (pure) and act.
//!
//! Takes watched objects of velero.io, gives runs of the engines and the objects' status. A watch event or a timer only
//! wakes a driver: it re-reads everything, so that event, timer and restart take one path.

pub mod backoff;
pub mod backup;
pub mod backup_repository;
pub mod backup_sync;
pub mod claim;
pub mod delete_backup_request;
pub mod download_request;
pub mod events;
pub mod foreign_server;
pub mod gc;
pub mod kept;
pub mod leader;
pub mod location;
mod packed;
pub mod restore;
pub mod runs;
pub mod schedule;
pub mod server_status_request;
pub mod stores;
pub mod switches;
pub mod wake;
pub mod watched;

/// What happens to a run of ours that was in progress when the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRestart {
    Resume,
    Fail,
}
