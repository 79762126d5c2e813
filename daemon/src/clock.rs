//! Where the time of day comes from: drivers hold a [`Clock`], everything below them takes `now` as an argument.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Gives the current instant; tests exchange it for one of their own.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The clock of the operating system.
#[expect(clippy::disallowed_methods, reason = "the one place where the system clock is read")]
pub fn system() -> Clock {
    Arc::new(Utc::now)
}
