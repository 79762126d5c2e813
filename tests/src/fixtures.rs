//! Data that tests share.
