//! Commands that people run beside the daemon: what they print and how they end.

mod explain;
mod retention;
