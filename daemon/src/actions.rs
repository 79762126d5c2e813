//! Item actions: what is changed or pulled in for objects of one kind, one file per action.

pub mod backup;
pub mod restore;
