//! Item actions: what is changed or pulled in for objects of one kind, and what is deleted outside the bucket, one file per
//! action.

pub mod backup;
pub mod delete;
pub mod restore;

/// Versions of groupsnapshot.storage.k8s.io in which what we read and write of volume groups is the same.
pub const GROUP_VERSIONS: [&str; 2] = ["v1", "v1beta2"];
