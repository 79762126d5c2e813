//! The command line: one file per subcommand, each a thin call.

pub mod check;
pub mod crds;
pub mod render;
pub mod run;
pub mod schema;
