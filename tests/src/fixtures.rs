//! What tests put into a cluster or a bucket: a sample application, a whole sample cluster, and a bucket that
//! Velero 1.18.3 wrote. The data lies in `tests/data/`.

pub mod objects;
pub mod sample_application;
pub mod sample_cluster;
pub mod velero_bucket;

use std::path::PathBuf;

pub use sample_application::SampleApplication;

/// A file or folder of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}
