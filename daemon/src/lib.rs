//! The Holdfast daemon and its command line, as a library so that tests reach every part.

pub mod actions;
pub mod app;
pub mod archive;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod controllers;
pub mod downloads;
pub mod engine;
pub mod hooks;
pub mod install;
pub mod intake;
pub mod metrics;
pub mod node_agent;
pub mod overview;
pub mod publish;
pub mod repository;
pub mod rights;
pub mod snapshotters;
pub mod store;
pub mod web;
