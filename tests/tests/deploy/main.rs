//! `deploy/`: what kustomize and Helm make of it is the same, and a real API server takes it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod helm;
mod kustomize;
mod objects;
