//! Problems as JUnit XML: one test case per file with problems, failing where a problem refuses the set.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Problem, Problems, Severity};

pub(super) fn render(problems: &Problems) -> String {
    let mut files: BTreeMap<&str, Vec<&Problem>> = BTreeMap::new();
    for problem in problems.iter() {
        files.entry(&problem.place.file).or_default().push(problem);
    }
    let errors = problems.count(Severity::Error);
    let tests = files.len().max(1);
    let failing = files.values().filter(|list| list.iter().any(is_error)).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string doesn't fail");
    line(format!("<testsuites name=\"holdfast check\" tests=\"{tests}\" failures=\"{failing}\">"));
    line(format!("  <testsuite name=\"policies\" tests=\"{tests}\" failures=\"{failing}\" errors=\"0\">"));
    if files.is_empty() {
        line("    <testcase classname=\"policies\" name=\"all files\"/>".to_owned());
    }
    for (file, list) in &files {
        line(format!("    <testcase classname=\"policies\" name=\"{}\">", escape(file)));
        let (failures, others): (Vec<&Problem>, Vec<&Problem>) =
            list.iter().partition(|problem| is_error(problem));
        if let Some(first) = failures.first() {
            line(format!(
                "      <failure type=\"{}\" message=\"{}\">{}</failure>",
                first.rule.code(),
                escape(&first.message),
                escape(&describe(&failures))
            ));
        }
        if !others.is_empty() {
            line(format!("      <system-out>{}</system-out>", escape(&describe(&others))));
        }
        line("    </testcase>".to_owned());
    }
    line("  </testsuite>".to_owned());
    line("</testsuites>".to_owned());
    debug_assert!(errors == 0 || failing > 0);
    out
}

fn is_error(problem: &&Problem) -> bool {
    problem.severity == Severity::Error
}

fn describe(problems: &[&Problem]) -> String {
    problems
        .iter()
        .map(|problem| {
            let place = &problem.place;
            let help = problem.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!(
                "{}:{}:{}: {}[{}]: {}{help}\n",
                place.file,
                place.line,
                place.column,
                problem.severity.name(),
                problem.rule.code(),
                problem.message
            )
        })
        .collect()
}

/// Text for elements and attributes of XML.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write these.
            control if control.is_control() && !matches!(control, '\n' | '\t') => out.push('\u{fffd}'),
            other => out.push(other),
        }
        out
    })
}
