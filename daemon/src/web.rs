//! A page for people: read only, one for the whole daemon.
//!
//! Takes the watched copies, gives HTML. Nothing is asked of the API server for a request, but for coverage, which is
//! worked out when it is asked for and then kept for a while. It works without JavaScript; with it, what it shows is
//! fetched again every few seconds.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::cluster::Cluster;

mod copies;
mod coverage;
mod figures;
mod page;
mod sections;
mod serve;
mod token;

pub use copies::Copies;
pub use serve::{Error, serve};
pub use token::Token;

/// Looking at ten thousand backups takes a moment: it is done once for all who ask within this time.
const FRESH: TimeDelta = TimeDelta::seconds(1);

/// What the page is made of. Clones share it.
#[derive(Clone)]
pub struct Page(Arc<Shared>);

/// What a page needs to be served.
pub struct Setting {
    pub version: &'static str,
    pub namespace: String,
    /// Who may look; anybody without one.
    pub token: Option<Token>,
    /// What the daemon says about itself.
    pub readiness: Box<dyn Fn() -> String + Send + Sync>,
    pub cluster: Cluster,
    pub clock: Clock,
}

struct Shared {
    setting: Setting,
    /// None while this replica has nothing to show.
    copies: Mutex<Option<Copies>>,
    coverage: coverage::Keeper,
    rendered: Mutex<Option<Rendered>>,
}

/// The first page as it was a moment ago, for all who look at the same time.
#[derive(Clone)]
struct Rendered {
    at: DateTime<Utc>,
    text: Arc<str>,
}

impl Page {
    pub fn new(setting: Setting) -> Page {
        Page(Arc::new(Shared {
            setting,
            copies: Mutex::new(None),
            coverage: coverage::Keeper::default(),
            rendered: Mutex::new(None),
        }))
    }

    /// From now on there is something to show.
    pub fn show(&self, copies: Copies) {
        // Nothing under this lock can panic half-way through a change, here and below.
        *self.0.copies.lock().unwrap_or_else(PoisonError::into_inner) = Some(copies);
    }

    /// The first page, no older than [`FRESH`].
    fn overview(&self) -> Arc<str> {
        let Shared { setting, copies: _, coverage, rendered } = self.0.as_ref();
        let now = (setting.clock)();
        let mut rendered = rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Rendered { at, text }) = rendered.as_ref()
            && (TimeDelta::zero()..FRESH).contains(&(now - *at))
        {
            return text.clone();
        }
        let shown = page::Shown {
            version: setting.version,
            readiness: (setting.readiness)(),
            facts: self.copies().map(|copies| copies.facts(&setting.namespace)),
            coverage: coverage.latest(),
        };
        let text: Arc<str> = page::overview(&shown, now).into_string().into();
        *rendered = Some(Rendered { at: now, text: text.clone() });
        text
    }

    fn copies(&self) -> Option<Copies> {
        self.0.copies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
