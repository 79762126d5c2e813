//! The whole way from files to a valid set: parse, schema, validate.

use std::ops::Range;
use std::sync::OnceLock;

use serde_json::Value;

use crate::model::{Kind, Metadata};
use crate::parse::{Findings, Found, Path, RawDocument, SourceFile};
use crate::problem::{Problems, Rule};
use crate::schema::{Checked, Checker};
use crate::unenforced::unenforced;
use crate::validate::{self, Documents, Trust, Typed, ValidPolicySet};

/// The set that the files of one source make, with its warnings; or all of its problems, warnings included.
pub fn load(files: &[SourceFile]) -> Result<ValidPolicySet, Problems> {
    load_trusted(files, &Trust::default())
}

/// The same for a source that may not do everything.
pub fn load_trusted(files: &[SourceFile], trust: &Trust) -> Result<ValidPolicySet, Problems> {
    let (set, problems) = read(files, trust);
    if problems.refuse() { Err(problems) } else { Ok(set.with_warnings(problems)) }
}

/// Everything there is to say about the files of one source.
pub fn check(files: &[SourceFile]) -> Problems {
    check_trusted(files, &Trust::default())
}

/// The same for a source that may not do everything.
pub fn check_trusted(files: &[SourceFile], trust: &Trust) -> Problems {
    read(files, trust).1
}

/// The same, and what has no effect where a Velero server carries the policies out.
pub fn check_for_velero(files: &[SourceFile], trust: &Trust) -> Problems {
    let mut findings = Findings::new(files);
    let (set, documents) = read_into(files, trust, &mut findings);
    for one in unenforced(&set) {
        validate::unenforced::add(&documents, &one, &mut findings);
    }
    findings.into_problems()
}

fn read(files: &[SourceFile], trust: &Trust) -> (ValidPolicySet, Problems) {
    let mut findings = Findings::new(files);
    let (set, _) = read_into(files, trust, &mut findings);
    (set, findings.into_problems())
}

fn read_into<'a>(
    files: &'a [SourceFile],
    trust: &Trust,
    findings: &mut Findings<'a>,
) -> (ValidPolicySet, Documents) {
    let mut documents = Documents::default();
    for (part, found) in read_parts(files) {
        documents.append(part);
        findings.absorb(found);
    }
    let set = validate::validate(&documents, trust, findings);
    (set, documents)
}

/// Bytes from which on a second thread is worth its start.
const MANY_BYTES: usize = 1 << 18;

/// The documents of all files in their order, whatever thread reads them: what a document says depends on no other.
fn read_parts(files: &[SourceFile]) -> Vec<(Documents, Found)> {
    let total: usize = files.iter().map(|file| file.text.len()).sum();
    if total < MANY_BYTES {
        return vec![read_documents(files, 0..files.len())];
    }
    let mut before = 0;
    let middle = files.iter().position(|file| {
        before += file.text.len();
        before * 2 >= total
    });
    let middle = middle.map_or(files.len(), |index| index + 1);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| read_documents(files, middle..files.len()));
        let first = read_documents(files, 0..middle);
        vec![first, second.join().expect("reading documents doesn't panic")]
    })
}

fn read_documents(files: &[SourceFile], part: Range<usize>) -> (Documents, Found) {
    let mut findings = Findings::new(files);
    let mut documents = Documents::default();
    let checker = checker();
    let policies = part.filter(|file| is_policy_file(&files[*file]));
    crate::parse::each_document(files, policies, &mut findings, |raw, value, findings| {
        if is_for_kustomize(&value) {
            return;
        }
        validate::secrets::find(&raw, &value, findings);
        documents.mention(&value);
        if let Some(Checked { document, kind, value }) = checker.check(raw, value, findings) {
            sort_in(document, kind, value, &mut documents, findings);
        }
    });
    (documents, findings.into_found())
}

/// Whether a file's name is one under which tests of policies are kept.
pub fn is_test_file(name: &str) -> bool {
    name.ends_with("_test.yaml") || name.ends_with("_test.yml")
}

/// Files beside policies that are none: tests, and kustomize's own.
fn is_policy_file(file: &SourceFile) -> bool {
    let name = file.name.rsplit(['/', '\\']).next().unwrap_or_default();
    !is_test_file(name) && !matches!(name, "kustomization.yaml" | "kustomization.yml")
}

fn is_for_kustomize(value: &Value) -> bool {
    let version = value.get("apiVersion").and_then(Value::as_str);
    version.is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
}

/// Compiled once: it depends on nothing but the types.
pub(crate) fn checker() -> &'static Checker {
    static CHECKER: OnceLock<Checker> = OnceLock::new();
    CHECKER.get_or_init(Checker::new)
}

fn sort_in(
    raw: RawDocument,
    kind: Kind,
    mut value: Value,
    documents: &mut Documents,
    findings: &mut Findings<'_>,
) {
    let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
    let spec = value.get_mut("spec").map(Value::take).unwrap_or_default();
    let place = raw.clone();
    let sorted = (|| {
        let metadata: Metadata =
            if metadata.is_null() { Metadata::default() } else { serde_json::from_value(metadata)? };
        match kind {
            Kind::Defaults => documents.defaults.push(typed(raw, metadata, spec)?),
            Kind::StorageLocation => documents.storage_locations.push(typed(raw, metadata, spec)?),
            Kind::SnapshotLocation => documents.snapshot_locations.push(typed(raw, metadata, spec)?),
            Kind::BackupPolicy => documents.backup_policies.push(typed(raw, metadata, spec)?),
            Kind::RestorePolicy => documents.restore_policies.push(typed(raw, metadata, spec)?),
            Kind::PolicyTest => {
                let message = "a PolicyTest stands in a file of its own, whose name ends in _test.yaml";
                findings.add(&raw, &Path::root().key("kind"), Rule::PolicyTest, message);
            }
        }
        Ok::<(), serde_json::Error>(())
    })();
    if let Err(error) = sorted {
        // The schema is stricter than the types, so this is a number or text that no schema can bound.
        findings.add(&place, &Path::spec(), Rule::WrongValue, error.to_string());
    }
}

pub(crate) fn typed<S: serde::de::DeserializeOwned>(
    raw: RawDocument,
    metadata: Metadata,
    spec: Value,
) -> Result<Typed<S>, serde_json::Error> {
    Ok(Typed { raw, metadata, spec: serde_json::from_value(spec)? })
}
