//! The backup engine against a real API server and a bucket that is a folder.

mod custom_resources;
mod files;
mod resource_policy;
mod runs;
mod selection;
mod verdicts;
