//! The whole way from files to a valid set: parse, schema, validate.

use std::sync::OnceLock;

use serde_json::Value;

use crate::model::{Kind, Metadata};
use crate::parse::{Findings, Path, RawDocument, SourceFile};
use crate::problem::{Problems, Rule, Strictness};
use crate::schema::{Checked, Checker};
use crate::unenforced::unenforced;
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

/// The same, and what has no effect where a Velero server carries the policies out.
pub fn check_for_velero(files: &[SourceFile]) -> Problems {
    let mut findings = Findings::new(files);
    let (set, documents) = read_into(files, &Trust::Full, &mut findings);
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
    let checker = checker();
    crate::parse::each_document(files, findings, |raw, value, findings| {
        if belongs_to_others(&files[raw.file], &value) {
            return;
        }
        validate::secrets::find(&raw, &value, findings);
        documents.mention(&value);
        if let Some(Checked { kind, value }) = checker.check(&raw, value, findings) {
            sort_in(raw, kind, value, &mut documents, findings);
        }
    });
    let set = validate::validate(&documents, trust, findings);
    (set, documents)
}

/// Files beside policies that are none: tests, and what kustomize reads.
fn belongs_to_others(file: &SourceFile, value: &Value) -> bool {
    let name = file.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_test = name.ends_with("_test.yaml") || name.ends_with("_test.yml");
    let is_kustomization = value
        .get("apiVersion")
        .and_then(Value::as_str)
        .is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
        || matches!(name, "kustomization.yaml" | "kustomization.yml");
    is_test || is_kustomization
}

/// Compiled once: it depends on nothing but the types.
fn checker() -> &'static Checker {
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
        }
        Ok::<(), serde_json::Error>(())
    })();
    if let Err(error) = sorted {
        // The schema is stricter than the types, so this is a number or text that no schema can bound.
        findings.add(&place, &Path::spec(), Rule::WrongValue, error.to_string());
    }
}

fn typed<S: serde::de::DeserializeOwned>(
    raw: RawDocument,
    metadata: Metadata,
    spec: Value,
) -> Result<Typed<S>, serde_json::Error> {
    Ok(Typed { raw, metadata, spec: serde_json::from_value(spec)? })
}
