//! The engines: what a backup, a restore and a deletion do, given a cluster and a store.

pub mod amend;
pub mod backup;
pub mod coverage;
pub mod data_moves;
pub mod delete;
pub mod inventory;
pub mod native;
pub mod node_agents;
mod options;
pub mod pod_volumes;
pub mod repositories;
pub mod restore;
pub mod run_log;
pub mod select;
pub mod trial;

pub use options::{ApiVersions, LogFormat, RunOptions};
