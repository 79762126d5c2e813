//! Documents against the schema: what jsonschema finds, in words for people who write policies.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::formats;
use super::remainder::remainder;
use super::words::{duration_help, name_of, plural, show, unknown_field, wrong_type, wrong_word};
use crate::model::shape::{GO_DURATION, POSITIVE_GO_DURATION};
use crate::model::{API_VERSION, Kind};
use crate::parse::{Findings, Path, RawDocument, Step};
use crate::problem::{Rule, suggest};

/// The schema of each kind, compiled once.
pub struct Checker {
    validators: [Validator; Kind::ALL.len()],
    definitions: Map<String, Value>,
    schemas: [Value; Kind::ALL.len()],
}

/// A document of a known kind that keeps to the schema, without what was reported and left out.
pub struct Checked {
    pub document: RawDocument,
    pub kind: Kind,
    pub value: Value,
}

impl Checker {
    pub fn new() -> Checker {
        let definitions = super::definitions();
        let schemas = Kind::ALL.map(|kind| super::kind_schema(kind, &definitions));
        let validators = std::array::from_fn(|index| {
            jsonschema::draft202012::options()
                .with_format(GO_DURATION, |text: &str| formats::go_duration(text).is_ok())
                .with_format(POSITIVE_GO_DURATION, |text: &str| formats::positive_go_duration(text).is_ok())
                .with_format(formats::DATE_TIME, |text: &str| formats::date_time(text).is_ok())
                .should_validate_formats(true)
                .build(&schemas[index])
                .expect("the generated schema is valid; a test checks it")
        });
        Checker { validators, definitions, schemas }
    }

    /// The document's kind and value, where it keeps to the schema; where it does not, what is left of it without the
    /// parts that are reported.
    pub fn check(&self, document: RawDocument, value: Value, findings: &mut Findings<'_>) -> Option<Checked> {
        let kind = kind_of(&document, &value, findings)?;
        let index = Kind::ALL.iter().position(|other| *other == kind).expect("all kinds are in the list");
        let validator = &self.validators[index];
        if validator.is_valid(&value) {
            return Some(Checked { document, kind, value });
        }
        let mut patterns_of_formats = Vec::new();
        let errors: Vec<ValidationError<'_>> = validator.iter_errors(&value).collect();
        for error in &errors {
            // A format and the pattern that stands beside it for editors say the same.
            if let ValidationErrorKind::Format { .. } = error.kind() {
                patterns_of_formats.push(error.instance_path().to_string());
            }
        }
        for error in &errors {
            let same_as_format = matches!(error.kind(), ValidationErrorKind::Pattern { .. })
                && patterns_of_formats.contains(&error.instance_path().to_string());
            if !same_as_format {
                self.report(error, index, &document, &value, findings);
            }
        }
        drop(errors);
        let (document, value) = remainder(validator, &document, value)?;
        Some(Checked { document, kind, value })
    }

    fn report(
        &self,
        error: &ValidationError<'_>,
        schema: usize,
        document: &RawDocument,
        value: &Value,
        findings: &mut Findings<'_>,
    ) {
        let path = path_of(error.instance_path().to_string().as_str(), value);
        let instance = error.instance();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.known_fields(schema, &path);
                for field in unexpected {
                    unknown_field(field, &known, &path, document, findings);
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                findings.add(document, &path, Rule::MissingField, format!("`{field}` is missing"));
            }
            ValidationErrorKind::Type { kind } => {
                wrong_type(kind, instance, &path, document, findings);
            }
            ValidationErrorKind::Enum { options } => {
                let known: Vec<&str> =
                    options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                wrong_word(instance, &known, &path, document, findings);
            }
            ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
                findings.add(
                    document,
                    &path,
                    Rule::WrongValue,
                    format!("{} is not allowed here", show(instance)),
                );
            }
            ValidationErrorKind::Constant { expected_value } => {
                findings.add(
                    document,
                    &path,
                    Rule::WrongValue,
                    format!("{} is not allowed here: it must be {}", show(instance), show(expected_value)),
                );
            }
            ValidationErrorKind::Format { format } => {
                let text = instance.as_str().unwrap_or_default();
                let reason = formats::explain(format, text).unwrap_or_else(|| format!("not a {format}"));
                let rule = if format == formats::DATE_TIME { Rule::WrongValue } else { Rule::Duration };
                let problem = findings.add(document, &path, rule, reason);
                problem.help = duration_help(text);
            }
            // That it is empty is said already.
            ValidationErrorKind::Pattern { .. } if instance.as_str() == Some("") => {}
            ValidationErrorKind::Pattern { .. } => {
                findings.add(
                    document,
                    &path,
                    Rule::Name,
                    format!(
                        "{} is not a name: lower-case letters, digits, `-` and `.`, starting and ending with a \
                         letter or digit",
                        show(instance)
                    ),
                );
            }
            ValidationErrorKind::MinLength { .. } => {
                findings.add(
                    document,
                    &path,
                    Rule::WrongValue,
                    format!("{} must not be empty", name_of(&path)),
                );
            }
            ValidationErrorKind::MinItems { limit } => {
                let field = name_of(&path);
                let (rule, message) = if path.last_key() == Some("command") {
                    (Rule::HookCommand, "a hook needs a command".to_owned())
                } else {
                    (Rule::WrongValue, format!("{field} needs {limit} item{} at least", plural(*limit)))
                };
                findings.add(document, &path, rule, message);
            }
            ValidationErrorKind::MaxLength { limit } => {
                findings.add(
                    document,
                    &path,
                    Rule::Name,
                    format!("{} has more than {limit} characters", name_of(&path)),
                );
            }
            ValidationErrorKind::Minimum { limit } => {
                findings.add(
                    document,
                    &path,
                    Rule::WrongValue,
                    format!("{} is too small: {limit} is the least", show(instance)),
                );
            }
            ValidationErrorKind::Maximum { limit } => {
                findings.add(
                    document,
                    &path,
                    Rule::WrongValue,
                    format!("{} is too large: {limit} is the most", show(instance)),
                );
            }
            other => {
                findings.add(document, &path, Rule::WrongValue, format!("{error} ({})", other.keyword()));
            }
        }
    }

    /// Names of the fields that the schema knows at a place.
    fn known_fields(&self, schema: usize, path: &Path) -> Vec<String> {
        let mut current = &self.schemas[schema];
        for step in path.steps() {
            current = self.resolve(current);
            current = match step {
                Step::Key(key) => current
                    .get("properties")
                    .and_then(|properties| properties.get(key.as_ref()))
                    .unwrap_or_else(|| &current["additionalProperties"]),
                Step::Index(_) => &current["items"],
            };
        }
        let current = self.resolve(current);
        current["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
        {
            Some(name) => self.definitions.get(name).unwrap_or(schema),
            None => schema,
        }
    }
}

impl Default for Checker {
    fn default() -> Checker {
        Checker::new()
    }
}

fn kind_of(document: &RawDocument, value: &Value, findings: &mut Findings<'_>) -> Option<Kind> {
    let version = value.get("apiVersion").and_then(Value::as_str);
    let kind = value.get("kind").and_then(Value::as_str);
    if version != Some(API_VERSION) {
        let path = Path::root().key("apiVersion");
        let message = match version {
            None => "not a policy document: `apiVersion` is missing".to_owned(),
            Some(other) => format!("not a policy document: apiVersion `{other}`"),
        };
        let problem = findings.add(document, &path, Rule::NotAPolicy, message);
        problem.help = Some(format!("policy documents have apiVersion: {API_VERSION}"));
        return None;
    }
    let path = Path::root().key("kind");
    let Some(kind) = kind else {
        findings.add(document, &path, Rule::NotAPolicy, "not a policy document: `kind` is missing");
        return None;
    };
    let known = Kind::from_name(kind);
    if known.is_none() {
        let here = match kind {
            "BackupStorageLocation" => Some("StorageLocation"),
            "VolumeSnapshotLocation" => Some("SnapshotLocation"),
            "Schedule" | "Backup" => Some("BackupPolicy"),
            "Restore" => Some("RestorePolicy"),
            _ => suggest::nearest(kind, Kind::ALL.into_iter().map(Kind::name)),
        };
        let message = match here {
            Some(here) => format!("unknown kind `{kind}`: did you mean `{here}`?"),
            None => format!("unknown kind `{kind}`"),
        };
        let problem = findings.add(document, &path, Rule::NotAPolicy, message);
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::PolicyTest).map(Kind::name);
        problem.help = Some(format!("the kinds are {}", kinds.collect::<Vec<_>>().join(", ")));
    }
    known
}

/// A JSON pointer as a path; digits are an index where the value has a list.
pub(super) fn path_of(pointer: &str, root: &Value) -> Path {
    let mut path = Path::root();
    let mut current = root;
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        if let Value::Array(items) = current
            && let Ok(index) = key.parse::<usize>()
        {
            path = path.index(index);
            current = items.get(index).unwrap_or(&Value::Null);
        } else {
            path = path.entry(&key);
            current = current.get(&key).unwrap_or(&Value::Null);
        }
    }
    path
}
