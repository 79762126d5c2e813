//! Commands that people run beside the daemon: what they print and how they end.

mod check;
mod explain;
mod manifests;
mod next;
mod offline;
mod retention;
mod test;
