//! The backup engine against a real API server and a bucket that is a folder.

mod custom_resources;
mod files;
mod runs;
mod selection;
mod verdicts;
