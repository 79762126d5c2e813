//! The daemon as users run it: custom resources in, backups and restores out, across restarts.

mod backup;
mod deletion;
mod deletion_faults;
mod expiry;
mod home;
mod restart;
mod restore;
mod schedule;
mod start;
mod sync;
