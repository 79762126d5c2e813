//! The four providers against real servers: one suite for all of them, the daemon's whole way through each, and what
//! comes of a bucket that fails half-way.

mod cancel;
mod conformance;
mod faults;
mod home;
mod provider;
mod refusals;
mod whole_runs;
