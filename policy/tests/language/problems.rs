//! Every rule broken, and the whole message for it: `problems/*.yaml` beside the committed text.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_policy::load_trusted;
use holdfast_policy::parse::SourceFile;
use holdfast_policy::problem::{Format, Problems, Rule};
use holdfast_policy::validate::Trust;

use crate::committed;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/problems");

fn check(path: &Path) -> Problems {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    holdfast_policy::check(&[SourceFile::new(name, std::fs::read_to_string(path).unwrap())])
}

#[test]
fn every_bad_input_gets_the_committed_message() {
    for path in committed::files(Path::new(FOLDER), "yaml") {
        committed::compare(&path.with_extension("txt"), &check(&path).render(Format::Text));
    }
}

#[test]
fn every_rule_is_broken_by_some_input() {
    let seen: BTreeSet<Rule> = committed::files(Path::new(FOLDER), "yaml")
        .iter()
        .flat_map(|path| check(path).iter().map(|problem| problem.rule).collect::<Vec<_>>())
        .collect();
    let missing: Vec<&str> =
        Rule::ALL.iter().filter(|rule| !seen.contains(rule)).map(|rule| rule.code()).collect();
    assert_eq!(missing, ["unenforced", "untrusted"], "tests of their own break these");
}

#[test]
fn a_source_outside_holdfasts_namespace_stays_in_its_own() {
    let path = Path::new(FOLDER).join("trust/tenant.yaml");
    let file = SourceFile::new("tenant.yaml", std::fs::read_to_string(&path).unwrap());
    let trust = Trust::Namespace("tenant".to_owned());
    let problems = load_trusted(&[file], &trust).unwrap_err();
    committed::compare(&path.with_extension("txt"), &problems.render(Format::Text));
}

#[test]
fn what_velero_ignores_is_told_where_it_carries_policies_out() {
    let path = Path::new(FOLDER).join("velero/ignored.yaml");
    let file = SourceFile::new("ignored.yaml", std::fs::read_to_string(&path).unwrap());
    let problems = holdfast_policy::check_for_velero(&[file]);
    assert!(problems.iter().all(|problem| problem.rule == Rule::Unenforced || problem.rule == Rule::DayRule));
    committed::compare(&path.with_extension("txt"), &problems.render(Format::Text));
}

#[test]
fn every_format_says_the_same() {
    let problems = check(&Path::new(FOLDER).join("unknown-fields.yaml"));
    for (format, extension) in
        [(Format::Json, "json"), (Format::Sarif, "sarif"), (Format::Junit, "xml"), (Format::Github, "github")]
    {
        let path = Path::new(FOLDER).join("formats/unknown-fields").with_extension(extension);
        committed::compare(&path, &problems.render(format));
    }
}

#[test]
fn a_good_set_has_an_empty_report_in_every_format() {
    let problems = Problems::default();
    assert_eq!(problems.render(Format::Text), "");
    assert_eq!(problems.render(Format::Github), "");
    assert!(problems.render(Format::Junit).contains("failures=\"0\""));
    assert!(problems.render(Format::Json).contains("\"problems\": []"));
    assert!(problems.render(Format::Sarif).contains("\"results\": []"));
}
