//! Instants with how far away they are.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::overview::words::span;

pub(super) fn ago(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    when(instant, |instant| format!("{} ago", span(now - instant)))
}

pub(super) fn ahead(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    when(instant, |instant| format!("in {}", span(instant - now)))
}

/// From one instant to the other.
pub(super) fn between(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> String {
    from.zip(to).map_or_else(|| "–".to_owned(), |(from, to)| span(to - from))
}

fn when(instant: Option<DateTime<Utc>>, words: impl Fn(DateTime<Utc>) -> String) -> Markup {
    html! {
        @match instant {
            Some(instant) => {
                time datetime=(instant.format("%FT%TZ")) title=(instant.format("%a %F %T UTC")) { (words(instant)) }
            }
            None => { "–" }
        }
    }
}
