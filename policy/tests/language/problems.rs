//! Every rule broken, and the whole message for it: `problems/*.yaml` beside the committed text.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_policy::load_trusted;
use holdfast_policy::parse::SourceFile;
use holdfast_policy::problem::{Format, Problems, Rule};
use holdfast_policy::validate::{HooksIn, Trust};
use pretty_assertions::assert_eq;
use serde_json::Value;

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
    assert_eq!(
        missing,
        ["unenforced", "hook-namespace", "expectation", "untrusted"],
        "tests of their own break these"
    );
}

#[test]
fn tests_of_policies_are_checked_like_policies() {
    let folder = Path::new(FOLDER).join("tests");
    let file = |name: &str| SourceFile::new(name, std::fs::read_to_string(folder.join(name)).unwrap());
    let set = holdfast_policy::load(&[file("policies.yaml")]).unwrap();
    let problems = holdfast_policy::policy_test::load(&[file("bad_test.yaml")], &set).unwrap_err();
    committed::compare(&folder.join("bad_test.txt"), &problems.render(Format::Text));
}

#[test]
fn whatever_reads_policies_passes_over_tests_however_broken_they_are() {
    let file = SourceFile::new("team/shop_test.yaml", "kind: [PolicyTest\n---\nkind: Pod\n");
    assert_eq!(holdfast_policy::check(&[file]), Problems::default());
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
    let problems = holdfast_policy::check_for_velero(&[file], &Trust::default());
    assert!(problems.iter().all(|problem| problem.rule == Rule::Unenforced || problem.rule == Rule::DayRule));
    committed::compare(&path.with_extension("txt"), &problems.render(Format::Text));
}

#[test]
fn hooks_stay_in_the_namespaces_that_allow_them() {
    let path = Path::new(FOLDER).join("trust/hooks.yaml");
    let file = SourceFile::new("hooks.yaml", std::fs::read_to_string(&path).unwrap());
    let allowed = ["shop-*", "staging"].map(str::to_owned).to_vec();
    let trust = Trust::Full(HooksIn::Namespaces(allowed));
    let problems = load_trusted(std::slice::from_ref(&file), &trust).unwrap_err();
    committed::compare(&path.with_extension("txt"), &problems.render(Format::Text));
    let anywhere = load_trusted(std::slice::from_ref(&file), &Trust::default()).unwrap();
    assert_eq!(anywhere.warnings().len(), 0, "{}", anywhere.warnings());
    let nowhere = load_trusted(&[file], &Trust::Full(HooksIn::Namespaces(Vec::new()))).unwrap_err();
    let first = nowhere.iter().next().unwrap();
    assert_eq!(first.help.as_deref(), Some("hooks are allowed nowhere (--allow-hooks-in)"));
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
fn every_report_in_sarif_keeps_to_its_standard() {
    let schema = include_str!("../data/sarif-2.1.0-parts.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut reports: Vec<Problems> =
        committed::files(Path::new(FOLDER), "yaml").iter().map(|path| check(path)).collect();
    // Names of files are escaped, and a problem of a whole file has no region.
    let text = std::fs::read_to_string(Path::new(FOLDER).join("cron.yaml")).unwrap();
    reports.push(holdfast_policy::check(&[SourceFile::new("a folder/c:on%é.yaml", text)]));
    reports.push(holdfast_policy::check(&[SourceFile::new("a.yaml", " ".repeat((64 << 20) + 1))]));
    for report in reports {
        assert!(!report.is_empty());
        let log: Value = serde_json::from_str(&report.render(Format::Sarif)).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(wrong, Vec::<String>::new());
        let results = log["runs"][0]["results"].as_array().unwrap();
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
    }
}

#[test]
fn warnings_are_errors_where_that_is_asked_for() {
    let problems = check(&Path::new(FOLDER).join("run-times.yaml"));
    assert!(!problems.refuse());
    let strict = problems.clone().strict();
    assert!(strict.refuse());
    assert_eq!(strict.len(), problems.len());
    assert!(strict.render(Format::Text).starts_with("error["));
    assert!(strict.render(Format::Junit).contains("<failure "));
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
