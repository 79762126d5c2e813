//! Problems as SARIF 2.1.0, which code hosts show beside the changed lines.

use serde_json::{Value, json};

use super::{Place, Problem, Problems, Rule, Severity};

pub(super) fn render(problems: &Problems) -> String {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.code(),
                "shortDescription": { "text": rule.summary() },
                "defaultConfiguration": { "level": level(rule.severity()) },
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "holdfast", "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": problems.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    let mut text = serde_json::to_string_pretty(&log).expect("a tree of texts and numbers serializes");
    text.push('\n');
    text
}

fn result(problem: &Problem) -> Value {
    let mut text = problem.message.clone();
    if let Some(help) = &problem.help {
        text.push_str(". ");
        text.push_str(help);
    }
    let mut location = location(&problem.place);
    if !problem.path.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": problem.path }]);
    }
    let mut result = json!({
        "ruleId": problem.rule.code(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == problem.rule),
        "level": level(problem.severity),
        "message": { "text": text },
        "locations": [location],
    });
    if !problem.related.is_empty() {
        result["relatedLocations"] = problem
            .related
            .iter()
            .map(|related| {
                let mut location = self::location(&related.place);
                location["message"] = json!({ "text": related.message });
                location
            })
            .collect();
    }
    result
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

fn location(place: &Place) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(&place.file) } });
    if place.line > 0 {
        physical["region"] = json!({
            "startLine": place.line,
            "startColumn": place.column,
            "endColumn": place.column + place.width.max(1),
        });
    }
    json!({ "physicalLocation": physical })
}

/// A path as a relative reference: what has a meaning in URIs, or none, is escaped.
fn uri(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut uri, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
        uri
    })
}
