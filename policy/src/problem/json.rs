//! Problems as one JSON document.

use serde::Serialize;

use super::{Place, Problem, Problems, Severity};

#[derive(Serialize)]
struct Report<'a> {
    problems: Vec<Entry<'a>>,
    errors: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    severity: &'static str,
    rule: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    file: &'a str,
    line: u32,
    column: u32,
    width: u32,
    path: &'a str,
    document: &'a str,
    snippet: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<RelatedEntry<'a>>,
}

#[derive(Serialize)]
struct RelatedEntry<'a> {
    message: &'a str,
    file: &'a str,
    line: u32,
    column: u32,
    width: u32,
}

pub(super) fn render(problems: &Problems) -> String {
    let report = Report {
        problems: problems.iter().map(entry).collect(),
        errors: problems.count(Severity::Error),
        warnings: problems.count(Severity::Warning),
        notes: problems.count(Severity::Note),
    };
    let mut text = serde_json::to_string_pretty(&report).expect("a report of texts and numbers serializes");
    text.push('\n');
    text
}

/// One problem, as it stands in the document.
pub(super) fn value(problem: &Problem) -> serde_json::Value {
    serde_json::to_value(entry(problem)).expect("texts and numbers serialize")
}

fn entry(problem: &Problem) -> Entry<'_> {
    let Problem { rule, severity, message, help, place, path, document, related } = problem;
    let Place { file, line, column, width, snippet } = place;
    Entry {
        severity: severity.name(),
        rule: rule.code(),
        message,
        help: help.as_deref(),
        file,
        line: *line,
        column: *column,
        width: *width,
        path,
        document,
        snippet,
        related: related
            .iter()
            .map(|related| RelatedEntry {
                message: &related.message,
                file: &related.place.file,
                line: related.place.line,
                column: related.place.column,
                width: related.place.width,
            })
            .collect(),
    }
}
