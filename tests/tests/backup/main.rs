//! The backup engine against a real API server and a bucket that is a folder.

mod api_versions;
mod blocks;
mod compacted;
mod control;
mod custom_resources;
mod faults;
mod files;
mod interposed;
mod pressure;
mod resource_policy;
mod runs;
mod selection;
mod verdicts;
