//! The daemon as users run it: custom resources in, backups and restores out, across restarts.

mod adoption;
mod archives;
mod backup;
mod custom_resources;
mod deletion;
mod deletion_faults;
mod expiry;
mod figures;
mod fuse;
mod home;
mod killed;
mod locations;
mod migration;
mod people;
mod proxy;
mod queue;
mod restart;
mod restore;
mod restore_damaged;
mod restore_interrupted;
mod restore_plan;
mod restore_waits;
mod schedule;
mod start;
mod sync;
mod sync_faults;
