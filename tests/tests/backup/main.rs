//! The backup engine against a real API server and a bucket that is a folder.

mod runs;
mod selection;
