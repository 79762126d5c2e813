//! Tests of policies: documents of files `*_test.yaml`, read and checked beside the set that they are about.
//!
//! In: the files, and the set. Out: tests that name what is there, or every problem; and what carrying a test out found,
//! as problems with their places. Which objects backups hold is the engine's to say, so that it carries tests out.

mod expects;

use crate::model::{Kind, PolicyTestSpec};
use crate::parse::{Findings, Path, RawDocument, SourceFile};
use crate::problem::{Problems, Rule};
use crate::schema::Checked;
use crate::validate::{Typed, ValidPolicySet};

/// A test whose expectations are about policies of the set.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    pub name: String,
    /// Name of the file it stands in.
    pub file: String,
    pub spec: PolicyTestSpec,
    raw: RawDocument,
}

/// Something to say about a part of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    pub path: Path,
    pub rule: Rule,
    pub message: String,
    pub help: Option<String>,
}

impl Remark {
    /// An expectation that does not hold.
    pub fn unmet(path: Path, message: String) -> Remark {
        Remark { path, rule: Rule::Expectation, message, help: None }
    }
}

/// The tests of these files, in their order; or every problem with them.
pub fn load(files: &[SourceFile], set: &ValidPolicySet) -> Result<Vec<PolicyTest>, Problems> {
    let mut findings = Findings::new(files);
    let mut documents: Vec<Typed<PolicyTestSpec>> = Vec::new();
    let checker = crate::load::checker();
    crate::parse::each_document(files, 0..files.len(), &mut findings, |raw, value, findings| {
        let Some(Checked { document: raw, kind, mut value }) = checker.check(raw, value, findings) else {
            return;
        };
        if kind != Kind::PolicyTest {
            let message = format!("a {kind} in a file of tests is no policy: nothing reads it");
            let at = Path::root().key("kind");
            findings.add(&raw, &at, Rule::PolicyTest, message).help =
                Some("policies stand in files whose names don't end in _test.yaml".to_owned());
            return;
        }
        let metadata = serde_json::from_value(value["metadata"].take());
        let spec = value["spec"].take();
        match metadata.and_then(|metadata| crate::load::typed(raw.clone(), metadata, spec)) {
            Ok(document) => documents.push(document),
            Err(error) => {
                findings.add(&raw, &Path::spec(), Rule::WrongValue, error.to_string());
            }
        }
    });
    crate::validate::unique_tests(&documents, &mut findings);
    for document in &documents {
        expects::check(document, set, &mut findings);
    }
    let problems = findings.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    let test = |Typed { raw, metadata, spec }: Typed<PolicyTestSpec>| PolicyTest {
        name: metadata.name,
        file: files[raw.file].name.clone(),
        spec,
        raw,
    };
    Ok(documents.into_iter().map(test).collect())
}

/// The remarks with their places in the files that the test was loaded from.
pub fn located(files: &[SourceFile], test: &PolicyTest, remarks: Vec<Remark>) -> Problems {
    let mut findings = Findings::new(files);
    for Remark { path, rule, message, help } in remarks {
        findings.add(&test.raw, &path, rule, message).help = help;
    }
    findings.into_problems()
}
