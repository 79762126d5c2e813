//! The policy language of Holdfast, from YAML text to velero.io custom resources.
//!
//! Everything here is a pure function of its arguments: no network, no clock, no environment, no file system.

pub mod adoption;
pub mod annotations;
pub mod compile;
pub mod compression;
pub mod cron;
pub mod duration;
pub mod holdfast;
pub mod import;
mod load;
pub mod model;
pub mod next;
pub mod objective;
pub mod ownership;
pub mod parse;
pub mod policy_test;
pub mod problem;
pub mod resource_policy;
pub mod retention;
pub mod schema;
pub mod time;
pub mod unenforced;
pub mod validate;
pub mod velero;
pub mod yaml;

pub use load::{check, check_for_velero, check_trusted, is_test_file, load, load_trusted};
