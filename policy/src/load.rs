//! The whole way from files to a valid set: parse, schema, validate.

use std::sync::OnceLock;

use serde_json::Value;

use crate::model::{Kind, Metadata};
use crate::parse::{Findings, Path, RawDocument, SourceFile};
use crate::problem::{Problems, Rule, Strictness};
use crate::schema::Checker;
use crate::validate::{self, Documents, Trust, Typed, ValidPolicySet};

/// The set that the files of one source make, with its warnings; or all of its problems, warnings included.
pub fn load(files: &[SourceFile]) -> Result<ValidPolicySet, Problems> {
    load_trusted(files, &Trust::Full)
}

/// The same for a source that may not do everything.
pub fn load_trusted(files: &[SourceFile], trust: &Trust) -> Result<ValidPolicySet, Problems> {
    let (set, problems) = read(files, trust);
    if problems.refuse(Strictness::Lenient) { Err(problems) } else { Ok(set.with_warnings(problems)) }
}

/// Everything there is to say about the files of one source.
pub fn check(files: &[SourceFile]) -> Problems {
    read(files, &Trust::Full).1
}

fn read(files: &[SourceFile], trust: &Trust) -> (ValidPolicySet, Problems) {
    let mut findings = Findings::new(files);
    let raw = crate::parse::documents(files, &mut findings);
    let raw: Vec<RawDocument> =
        raw.into_iter().filter(|document| !belongs_to_others(&files[document.file], document)).collect();
    validate::secrets::find(&raw, &mut findings);
    let checker = checker();
    let mut documents = Documents::default();
    for document in &raw {
        documents.mention(document);
        if let Some(checked) = checker.check(document, &mut findings) {
            sort_in(document, checked.kind, checked.value, &mut documents, &mut findings);
        }
    }
    let set = validate::validate(&documents, trust, &mut findings);
    (set, findings.into_problems())
}

/// Files beside policies that are none: tests, and what kustomize reads.
fn belongs_to_others(file: &SourceFile, document: &RawDocument) -> bool {
    let name = file.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_test = name.ends_with("_test.yaml") || name.ends_with("_test.yml");
    let is_kustomization = document
        .root
        .get("apiVersion")
        .and_then(|version| version.text())
        .is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
        || matches!(name, "kustomization.yaml" | "kustomization.yml");
    is_test || is_kustomization
}

/// Compiled once: it depends on nothing but the types.
fn checker() -> &'static Checker {
    static CHECKER: OnceLock<Checker> = OnceLock::new();
    CHECKER.get_or_init(Checker::new)
}

fn sort_in<'a>(
    raw: &'a RawDocument,
    kind: Kind,
    mut value: Value,
    documents: &mut Documents<'a>,
    findings: &mut Findings<'_>,
) {
    let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
    let spec = value.get_mut("spec").map(Value::take).unwrap_or_default();
    let sorted = (|| {
        let metadata: Metadata =
            if metadata.is_null() { Metadata::default() } else { serde_json::from_value(metadata)? };
        match kind {
            Kind::Defaults => documents.defaults.push(typed(raw, metadata, spec)?),
            Kind::StorageLocation => documents.storage_locations.push(typed(raw, metadata, spec)?),
            Kind::SnapshotLocation => documents.snapshot_locations.push(typed(raw, metadata, spec)?),
            Kind::BackupPolicy => documents.backup_policies.push(typed(raw, metadata, spec)?),
            Kind::RestorePolicy => documents.restore_policies.push(typed(raw, metadata, spec)?),
        }
        Ok::<(), serde_json::Error>(())
    })();
    if let Err(error) = sorted {
        // The schema is stricter than the types, so this is a number or text that no schema can bound.
        findings.add(raw, &Path::spec(), Rule::WrongValue, error.to_string());
    }
}

fn typed<'a, S: serde::de::DeserializeOwned>(
    raw: &'a RawDocument,
    metadata: Metadata,
    spec: Value,
) -> Result<Typed<'a, S>, serde_json::Error> {
    Ok(Typed { raw, metadata, spec: serde_json::from_value(spec)? })
}
