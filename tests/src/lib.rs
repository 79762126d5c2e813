//! A real control plane, real buckets and the daemon under test, for this crate's tests and for people.
//!
//! [`Testbed`] is an API server with its etcd and controller manager on 127.0.0.1, [`S3Server`], [`AzureServer`] and
//! [`GcsServer`] are real bucket servers. Whatever a value starts ends with it: on drop, on a panic, on an interrupt, and when the process
//! that holds it is killed. [`standing`] starts the same servers so that they stay, for `cargo testbed up`.

pub mod azure;
pub mod bench;
pub mod command;
pub mod compare;
pub mod csi;
pub mod daemon;
pub mod demo;
pub mod docs_commands;
pub mod door;
pub mod ec2;
mod file_lock;
pub mod fixtures;
pub mod gcs;
mod http_request;
pub mod image;
pub mod node;
pub mod node_agent;
mod process;
mod programs;
pub mod restic;
pub mod restores;
pub mod runs;
pub mod s3;
pub mod standing;
pub mod testbed;
pub mod waiting;

pub use azure::AzureServer;
pub use csi::CsiDriver;
pub use daemon::{Daemon, DaemonOptions};
pub use door::Door;
pub use ec2::Ec2Server;
pub use gcs::GcsServer;
pub use node_agent::{NodeAgent, NodeAgentOptions};
pub use runs::Runs;
pub use s3::S3Server;
pub use testbed::Testbed;
