//! The backup engine against a real API server and a bucket that is a folder.

mod files;
mod runs;
mod selection;
