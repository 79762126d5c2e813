//! The daemon as users run it: custom resources in, backups and restores out, across restarts.

mod backup;
mod home;
mod restart;
mod restore;
mod schedule;
mod start;
