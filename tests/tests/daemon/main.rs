//! The daemon as users run it: custom resources in, backups and restores out, across restarts.

mod archives;
mod backup;
mod deletion;
mod deletion_faults;
mod expiry;
mod home;
mod killed;
mod proxy;
mod queue;
mod restart;
mod restore;
mod restore_damaged;
mod restore_interrupted;
mod restore_plan;
mod schedule;
mod start;
mod sync;
