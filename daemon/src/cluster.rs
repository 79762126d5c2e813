//! To be written.

pub mod write;
