//! What no schedule backs up.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::super::coverage::{Answer, Found};
use super::super::figures::ago;

/// The last answer in a line, and where to ask.
pub(in super::super) fn coverage_line(answer: Option<&Answer>, now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Coverage" }
        p {
            @match answer {
                None => { "Which namespaces and volumes no schedule backs up is worked out when you ask: " }
                Some(Answer { at, found: Err(_) }) => { (ago(Some(*at), now)) " it could not be worked out. " }
                Some(Answer { at, found: Ok(found) }) => {
                    (ago(Some(*at), now)) ", " (found.covered) " of " (found.objects) " objects were in backups of schedules; "
                    (found.namespaces.len()) " namespaces and " (found.volumes.len()) " volumes were in none. "
                }
            }
            a href="coverage" { "look now" }
        }
    }
}

pub(in super::super) fn coverage(Answer { at, found }: &Answer, now: DateTime<Utc>) -> Markup {
    html! {
        h2 { "Coverage " small { "as of " (ago(Some(*at), now)) } }
        @match found {
            Err(why) => { p.bad { "It can't be worked out: " (why) } }
            Ok(found) => { (told(found)) }
        }
    }
}

fn told(Found { objects, covered, namespaces, in_part, volumes, more, missing }: &Found) -> Markup {
    html! {
        p { (covered) " of " (objects) " objects are in backups of schedules that are not paused." }
        (counted("Namespaces that no schedule backs up", namespaces))
        @if !volumes.is_empty() {
            h2 { "Volumes that no schedule backs up" }
            ul.list { @for volume in volumes { li { (volume) } } }
        }
        (counted("Namespaces that are backed up in part", in_part))
        @if *more > 0 { p.note { "and " (more) " more" } }
        @if !missing.is_empty() {
            h2 { "Not looked at" }
            ul.list { @for missing in missing { li { (missing) } } }
        }
        p.note { "This is about objects. Whether the data in a volume is kept is up to the policy's volumes." }
    }
}

fn counted(title: &str, namespaces: &[(String, usize)]) -> Markup {
    html! {
        @if !namespaces.is_empty() {
            h2 { (title) }
            ul.list { @for (name, left) in namespaces { li { (name) span.note { " " (left) " objects are in none" } } } }
        }
    }
}
