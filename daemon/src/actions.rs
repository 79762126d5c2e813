//! Item actions: what is changed or pulled in for objects of one kind, and what is deleted outside the bucket, one file per
//! action.

pub mod backup;
pub mod delete;
pub mod restore;
