//! Problems as workflow commands of GitHub Actions.

use std::fmt::Write;

use super::{Problem, Problems, Severity};

pub(super) fn render(problems: &Problems) -> String {
    let mut out = String::new();
    for problem in problems.iter() {
        writeln!(out, "{}", command(problem)).expect("writing to a string doesn't fail");
    }
    out
}

fn command(problem: &Problem) -> String {
    let name = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let place = &problem.place;
    let mut parameters = vec![format!("file={}", escape_parameter(&place.file))];
    if place.line > 0 {
        parameters.push(format!("line={}", place.line));
        parameters.push(format!("col={}", place.column));
        parameters.push(format!("endColumn={}", place.column + place.width.max(1)));
    }
    parameters.push(format!("title={}", escape_parameter(problem.rule.code())));
    let mut message = problem.message.clone();
    if let Some(help) = &problem.help {
        message.push('\n');
        message.push_str(help);
    }
    format!("::{name} {}::{}", parameters.join(","), escape(&message))
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_parameter(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
