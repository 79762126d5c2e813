//! Problems as a compiler prints them: message, place, the line with the place underlined, help.

use std::fmt::Write;

use super::{Place, Problem, Problems, Severity};

pub(super) fn render(problems: &Problems) -> String {
    let mut out = String::new();
    for problem in problems.iter() {
        render_one(problem, &mut out);
        out.push('\n');
    }
    if !problems.is_empty() {
        let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| (severity.name(), problems.count(severity)))
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        writeln!(out, "{}", counts.join(", ")).expect("writing to a string doesn't fail");
    }
    out
}

fn render_one(problem: &Problem, out: &mut String) {
    let severity = problem.severity.name();
    let widest = problem
        .related
        .iter()
        .map(|related| related.place.line)
        .chain([problem.place.line])
        .max()
        .unwrap_or_default();
    let margin = widest.to_string().len();
    let mut line = |text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(format!("{severity}[{}]: {}", problem.rule.code(), problem.message));
    snippet(&problem.place, margin, &mut line);
    for related in &problem.related {
        line(format!("{:margin$} = {}:", "", related.message));
        snippet(&related.place, margin, &mut line);
    }
    match (problem.document.is_empty(), problem.path.is_empty()) {
        (false, false) => line(format!("{:margin$} = in: {}, {}", "", problem.document, problem.path)),
        (false, true) => line(format!("{:margin$} = in: {}", "", problem.document)),
        (true, false) => line(format!("{:margin$} = in: {}", "", problem.path)),
        (true, true) => {}
    }
    if let Some(help) = &problem.help {
        line(format!("{:margin$} = help: {help}", ""));
    }
}

fn snippet(place: &Place, margin: usize, line: &mut impl FnMut(String)) {
    if place.line == 0 {
        line(format!("{:margin$}--> {}", "", place.file));
        return;
    }
    line(format!("{:margin$}--> {}:{}:{}", "", place.file, place.line, place.column));
    line(format!("{:margin$} |", ""));
    line(format!("{:>margin$} | {}", place.line, place.snippet));
    let before: String = place
        .snippet
        .chars()
        .take((place.column as usize).saturating_sub(1))
        .map(|character| if character == '\t' { '\t' } else { ' ' })
        .collect();
    line(format!("{:margin$} | {before}{}", "", "^".repeat(place.width.max(1) as usize)));
}
