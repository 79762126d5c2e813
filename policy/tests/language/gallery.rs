//! Every example policy: good alone, good together with the others, and compiled to exactly the committed text.

use std::path::{Path, PathBuf};

use holdfast_policy::compile::{Target, compile, to_yaml};
use holdfast_policy::parse::SourceFile;
use holdfast_policy::problem::Severity;
use pretty_assertions::assert_eq;

use crate::committed;

fn examples() -> Vec<PathBuf> {
    let mut files =
        committed::files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies")), "yaml");
    files.retain(|path| !holdfast_policy::is_test_file(&path.to_string_lossy()));
    files
}

fn source(path: &Path) -> SourceFile {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    SourceFile::new(format!("examples/policies/{name}"), std::fs::read_to_string(path).unwrap())
}

fn target() -> Target {
    Target { namespace: "velero".into(), source: "examples".into(), cluster_name: None }
}

#[test]
fn every_example_compiles_to_the_committed_objects() {
    let examples = examples();
    assert!(examples.len() >= 12, "the gallery has {} examples", examples.len());
    for path in examples {
        let file = source(&path);
        let set = holdfast_policy::load(std::slice::from_ref(&file))
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(set.warnings().count(Severity::Warning), 0, "{}", set.warnings());
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = format!("{}/tests/gallery/{stem}.yaml", env!("CARGO_MANIFEST_DIR"));
        committed::compare(Path::new(&expected), &to_yaml(&compile(&set, &target())));
    }
}

#[test]
fn the_examples_are_good_as_one_set() {
    let files: Vec<SourceFile> = examples().iter().map(|path| source(path)).collect();
    let set = holdfast_policy::load(&files).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(set.warnings().count(Severity::Warning), 0, "{}", set.warnings());
}

#[test]
fn the_order_of_reading_does_not_show() {
    let mut files: Vec<SourceFile> = examples().iter().map(|path| source(path)).collect();
    let forwards = to_yaml(&compile(&holdfast_policy::load(&files).unwrap(), &target()));
    files.reverse();
    let backwards = to_yaml(&compile(&holdfast_policy::load(&files).unwrap(), &target()));
    assert_eq!(forwards, backwards);
}
