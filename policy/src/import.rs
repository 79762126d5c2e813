//! From the custom resources of a Velero installation to policies that ask for the same.
//!
//! In: Schedules and locations as they live in a cluster. Out: documents, and everything that they can't say. What a
//! document compiles to is compared with the live object, so that nothing is lost without a remark.

mod location;
mod schedule;
mod spec;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::annotations::{MANAGED_BY, MANAGED_BY_HOLDFAST, SOURCE};
use crate::compile::{Manifest, Target, compile};
use crate::load;
use crate::parse::SourceFile;
use crate::velero;

/// What there is, as the API server gives it: fields that we don't know are remarked on as well.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    pub storage_locations: Vec<Value>,
    pub snapshot_locations: Vec<Value>,
    pub schedules: Vec<Value>,
}

/// Documents and what is to be said about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    pub documents: Vec<Document>,
    pub remarks: Vec<Remark>,
}

/// One policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// `storagelocation-default`: a name for a file.
    pub stem: String,
    pub text: String,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    pub kind: &'static str,
    pub name: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// No document asks for the object.
    NotExpressed { reason: String },
    /// Holdfast made it: its policy is where it came from.
    Ours { source: String },
    /// No policy has a field for it; publishing leaves it as it is.
    Kept { path: String, value: Value },
    /// Publishing writes another value than the one there is.
    Changes { path: String, before: Option<Value>, after: Value },
}

impl Remark {
    /// Whether the policies say less than the objects.
    pub fn is_a_loss(&self) -> bool {
        match self.what {
            What::NotExpressed { .. } | What::Kept { .. } => true,
            What::Ours { .. } | What::Changes { .. } => false,
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Remark { kind, name, what } = self;
        write!(f, "{kind} {name}: ")?;
        match what {
            What::NotExpressed { reason } => write!(f, "no policy can ask for it: {reason}"),
            What::Ours { source } => write!(f, "left out: source {source} of Holdfast made it"),
            What::Kept { path, value } => {
                write!(f, "no policy says {path}: {value}; it stays as it is until somebody changes it")
            }
            What::Changes { path, before: None, after } => write!(f, "adopting it sets {path}: {after}"),
            What::Changes { path, before: Some(before), after } => {
                write!(f, "adopting it changes {path}: {before} -> {after}")
            }
        }
    }
}

/// A document on the way out, and the object it is for.
struct Draft {
    stem: String,
    text: String,
    /// Kind and name of the objects that it asks for.
    asks: Vec<(&'static str, String)>,
}

impl Draft {
    fn new(
        kind: &'static str,
        name: &str,
        spec: &impl Serialize,
        asks: Vec<(&'static str, String)>,
    ) -> Draft {
        let value = json!({
            "apiVersion": "holdfast.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        let text = crate::yaml::to_string(&value).expect("a tree of JSON values is YAML");
        Draft { stem: format!("{}-{name}", kind.to_lowercase()), text, asks }
    }
}

/// The documents, in the order of locations and policies.
pub fn import(existing: &Existing, target: &Target) -> Imported {
    let mut remarks = Vec::new();
    let mut live: BTreeMap<(&'static str, String), Value> = BTreeMap::new();
    let mut drafts = location::storage(&taken(&existing.storage_locations, &mut remarks, &mut live));
    drafts.extend(location::snapshot(&taken(&existing.snapshot_locations, &mut remarks, &mut live)));
    drafts.extend(schedule::policies(&taken(&existing.schedules, &mut remarks, &mut live), &mut remarks));
    drafts.retain(|draft| match load(&[SourceFile::new("imported.yaml", draft.text.as_str())]) {
        Ok(_) => true,
        Err(problems) => {
            let reason =
                problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
            for (kind, name) in &draft.asks {
                let what = What::NotExpressed { reason: reason.clone() };
                remarks.push(Remark { kind, name: name.clone(), what });
            }
            false
        }
    });
    let files: Vec<SourceFile> =
        drafts.iter().map(|draft| SourceFile::new(draft.stem.as_str(), draft.text.as_str())).collect();
    match load(&files) {
        Ok(set) => {
            for manifest in compile(&set, target) {
                compare(&manifest, &live, &mut remarks);
            }
        }
        // Each is good by itself, so that this is about two of them.
        Err(problems) => {
            let reason =
                problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
            let what = What::NotExpressed { reason };
            remarks.push(Remark { kind: "Namespace", name: target.namespace.clone(), what });
        }
    }
    remarks.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    let documents = drafts.into_iter().map(|Draft { stem, text, asks: _ }| Document { stem, text }).collect();
    Imported { documents, remarks }
}

/// Those that Holdfast did not make, sorted by name.
fn taken<K: velero::Kind + DeserializeOwned>(
    objects: &[Value],
    remarks: &mut Vec<Remark>,
    live: &mut BTreeMap<(&'static str, String), Value>,
) -> Vec<K> {
    let mut taken: BTreeMap<String, K> = BTreeMap::new();
    for value in objects {
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let labels = &value["metadata"]["labels"];
        if labels[MANAGED_BY] == MANAGED_BY_HOLDFAST {
            let source = labels[SOURCE].as_str().unwrap_or_default().to_owned();
            remarks.push(Remark { kind: K::KIND, name, what: What::Ours { source } });
            continue;
        }
        match serde_json::from_value::<K>(value.clone()) {
            Ok(object) => {
                live.insert((K::KIND, name.clone()), value.clone());
                taken.insert(name, object);
            }
            Err(error) => {
                let what = What::NotExpressed { reason: error.to_string() };
                remarks.push(Remark { kind: K::KIND, name, what });
            }
        }
    }
    taken.into_values().collect()
}

/// Remarks on how what is compiled differs from the object that is there.
fn compare(manifest: &Manifest, live: &BTreeMap<(&'static str, String), Value>, remarks: &mut Vec<Remark>) {
    let found = live.iter().find(|((kind, name), _)| *kind == manifest.kind && *name == manifest.name);
    let Some(((kind, name), live)) = found else { return };
    let mut found = Vec::new();
    differences("spec", &live["spec"], &manifest.created()["spec"], &mut found);
    remarks.extend(found.into_iter().map(|what| Remark { kind, name: name.clone(), what }));
}

fn differences(path: &str, live: &Value, ours: &Value, found: &mut Vec<What>) {
    match (live, ours) {
        (Value::Object(there), Value::Object(wanted)) => {
            for (key, value) in there {
                let path = format!("{path}.{key}");
                match wanted.get(key) {
                    Some(ours) => differences(&path, value, ours, found),
                    None if says_nothing(value) => {}
                    None => found.push(What::Kept { path, value: value.clone() }),
                }
            }
            for (key, after) in wanted.iter().filter(|(key, _)| !there.contains_key(*key)) {
                let path = format!("{path}.{key}");
                if !is_a_mark(&path) && !says_nothing(after) {
                    found.push(What::Changes { path, before: None, after: without_marks(after) });
                }
            }
        }
        (live, ours) if live == ours => {}
        (live, ours) => found.push(What::Changes {
            path: path.to_owned(),
            before: Some(live.clone()),
            after: ours.clone(),
        }),
    }
}

/// Values that mean the same as none.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A label by which Holdfast knows its own.
fn is_a_mark(path: &str) -> bool {
    path.contains(".labels.holdfast.dev/")
}

fn without_marks(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let others = fields.iter().filter(|(key, _)| !key.starts_with("holdfast.dev/"));
            Value::Object(others.map(|(key, value)| (key.clone(), without_marks(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
