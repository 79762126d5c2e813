//! The results of tests as text, JSON and JUnit XML.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_policy::problem::{Format, Problems, escape_xml};
use serde_json::json;

use super::Done;

const WRITES: &str = "writing to a string doesn't fail";

/// Whether words are coloured: only people see colours.
#[derive(Clone, Copy)]
pub(super) enum Colours {
    On,
    Off,
}

impl Colours {
    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Colours::On => format!("\x1b[{colour}m{text}\x1b[0m"),
            Colours::Off => text.to_owned(),
        }
    }
}

pub(super) fn text(done: &[Done], colours: Colours) -> String {
    let mut out = String::new();
    for Done { test, expectations, unmet } in done {
        let (file, name) = (&test.file, &test.name);
        let expectations = plural(*expectations, "expectation");
        let line = if unmet.is_empty() {
            format!("{}      {file}: {name} ({expectations})", colours.good("ok"))
        } else {
            format!("{}  {file}: {name} ({} of {expectations})", colours.bad("FAILED"), unmet.len())
        };
        writeln!(out, "{line}").expect(WRITES);
    }
    let all: Problems = done.iter().flat_map(|done| done.unmet.iter().cloned()).collect();
    if !all.is_empty() {
        // What the problems come to is told in the last line, in the words of tests.
        let told = all.render(Format::Text);
        let problems = told.trim_end().rsplit_once('\n').map_or("", |(problems, _count)| problems);
        write!(out, "\n{problems}").expect(WRITES);
    }
    let failed = failed(done);
    let passed = plural(done.len() - failed, "test");
    let summary =
        if failed == 0 { format!("{passed} passed") } else { format!("{passed} passed, {failed} failed") };
    writeln!(out, "\n{summary}").expect(WRITES);
    out
}

pub(super) fn json(done: &[Done]) -> String {
    let tests: Vec<_> = done
        .iter()
        .map(|Done { test, expectations, unmet }| {
            json!({
                "name": test.name,
                "file": test.file,
                "expectations": expectations,
                "passed": unmet.is_empty(),
                "failures": unmet.iter().map(|problem| problem.to_json()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let failed = failed(done);
    format!("{:#}\n", json!({"tests": tests, "passed": done.len() - failed, "failed": failed}))
}

/// A suite for each file, a case for each test.
pub(super) fn junit(done: &[Done]) -> String {
    let mut files: BTreeMap<&str, Vec<&Done>> = BTreeMap::new();
    for one in done {
        files.entry(&one.test.file).or_default().push(one);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut line = |text: String| writeln!(out, "{text}").expect(WRITES);
    line(format!(
        "<testsuites name=\"holdfast test\" tests=\"{}\" failures=\"{}\">",
        done.len(),
        failed(done)
    ));
    for (file, done) in files {
        let failed = done.iter().filter(|done| !done.unmet.is_empty()).count();
        let file = escape_xml(file);
        line(format!(
            "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\">",
            done.len()
        ));
        for Done { test, expectations: _, unmet } in done {
            let case = format!("<testcase classname=\"{file}\" name=\"{}\"", escape_xml(&test.name));
            let Some(first) = unmet.iter().next() else {
                line(format!("    {case}/>"));
                continue;
            };
            line(format!("    {case}>"));
            line(format!(
                "      <failure type=\"{}\" message=\"{}\">{}</failure>",
                first.rule.code(),
                escape_xml(&first.message),
                escape_xml(&unmet.render(Format::Text)),
            ));
            line("    </testcase>".to_owned());
        }
        line("  </testsuite>".to_owned());
    }
    line("</testsuites>".to_owned());
    out
}

fn failed(done: &[Done]) -> usize {
    done.iter().filter(|done| !done.unmet.is_empty()).count()
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("{count} {what}") } else { format!("{count} {what}s") }
}
