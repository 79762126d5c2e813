//! The testbed on the command line.

fn main() {}
