//! Whole documents. Pure.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::coverage::Answer;
use super::sections;
use crate::overview::{self, Facts};

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// How many days ahead the calendar looks.
const DAYS: u64 = 7;
/// How many schedules the calendar walks through.
const WALKED: usize = 100;

/// What the first page shows.
pub(super) struct Shown {
    pub(super) version: &'static str,
    pub(super) readiness: String,
    /// None while this replica has nothing to show.
    pub(super) facts: Option<Facts>,
    pub(super) coverage: Option<Arc<Answer>>,
}

pub(super) fn overview(Shown { version, readiness, facts, coverage }: &Shown, now: DateTime<Utc>) -> Markup {
    let body = match facts {
        None => html! { p.note { "This replica has nothing to show: " (readiness) } },
        Some(facts) => {
            let told = overview::overview(facts, now);
            let (days, left_out) = overview::calendar(&facts.namespace, &facts.schedules, now, DAYS, WALKED);
            html! {
                (sections::attention(&overview::attention(&told)))
                (sections::running(&told.running, now))
                (sections::sources(&told.sources, now))
                (sections::schedules(&told.schedules, now))
                (sections::calendar(&days, left_out))
                (sections::backups(&told.backups, told.backup_count, now))
                (sections::restores(&told.restores, now))
                (sections::locations(&told.locations, now))
                (sections::coverage_line(coverage.as_deref(), now))
            }
        }
    };
    let namespace = facts.as_ref().map(|facts| facts.namespace.as_str()).unwrap_or_default();
    document(
        "Holdfast",
        html! {
            main data-live="" {
                p.head {
                    "Holdfast " (version) " · namespace " strong { (namespace) } " · " (readiness) " · "
                    time datetime=(now.format("%FT%TZ")) { (now.format("%F %T UTC")) }
                }
                (body)
            }
        },
    )
}

pub(super) fn coverage(answer: Option<&Answer>, now: DateTime<Utc>) -> Markup {
    document(
        "Coverage · Holdfast",
        html! {
            main {
                p.head { a href="." { "Overview" } }
                @match answer {
                    None => { p.note { "This replica has nothing to show." } }
                    Some(answer) => { (sections::coverage(answer, now)) }
                }
            }
        },
    )
}

fn document(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="page.css";
                script src="page.js" defer {}
            }
            body { (content) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::overview::fixtures;
    use crate::web::coverage::Found;

    fn shown(facts: Option<Facts>) -> Shown {
        Shown { version: "0.1.0", readiness: "ok".to_owned(), facts, coverage: None }
    }

    #[test]
    fn everything_is_on_the_page() {
        let text = overview(&shown(Some(fixtures::facts())), fixtures::now()).into_string();
        insta::assert_snapshot!(text.replace("><", ">\n<"));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>";
        let mut facts = fixtures::facts();
        let set = json!({
            "metadata": {"name": "main"}, "spec": {"source": hostile},
            "status": {"problemCount": 1, "problems": [{
                "severity": "error", "rule": "r", "file": hostile, "line": 1, "column": 1, "message": hostile,
                "help": hostile,
            }]},
        });
        let set = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "PolicySet"})
            .as_object()
            .cloned()
            .map(|mut whole| {
                whole.extend(set.as_object().cloned().unwrap_or_default());
                serde_json::Value::Object(whole)
            });
        facts.policy_sets = vec![Arc::new(serde_json::from_value(set.unwrap()).unwrap())];
        let location = json!({
            "metadata": {"name": "x"}, "spec": {"provider": hostile, "objectStorage": {"bucket": hostile}},
            "status": {"phase": "Unavailable", "message": hostile},
        });
        facts.locations = vec![Arc::new(serde_json::from_value(location).unwrap())];
        let text = overview(&shown(Some(facts)), fixtures::now()).into_string();
        assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
        assert!(!text.contains("<script>") && !text.contains("<img"), "{text}");
    }

    #[test]
    fn a_replica_without_anything_says_why() {
        let text = overview(&shown(None), fixtures::now()).into_string();
        assert!(text.contains("This replica has nothing to show: ok"), "{text}");
    }

    #[test]
    fn what_is_not_covered_is_listed() {
        let found = Found {
            objects: 10,
            covered: 7,
            namespaces: vec![("shop".to_owned(), 2)],
            in_part: vec![("web".to_owned(), 1)],
            volumes: vec!["PersistentVolumeClaim/shop/data".to_owned()],
            more: 0,
            missing: vec!["widgets.example.com: forbidden".to_owned()],
        };
        let text =
            coverage(Some(&Answer { at: fixtures::now(), found: Ok(found) }), fixtures::now()).into_string();
        for part in
            ["7 of 10 objects", "shop", "PersistentVolumeClaim/shop/data", "widgets.example.com: forbidden"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let failed = Answer { at: fixtures::now(), found: Err("cannot list pods".to_owned()) };
        assert!(coverage(Some(&failed), fixtures::now()).into_string().contains("cannot list pods"));
    }
}
