//! Documents against the schema: what jsonschema finds, in words for people who write policies.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::{formats, spelling};
use crate::model::shape::{GO_DURATION, POSITIVE_GO_DURATION};
use crate::model::{API_VERSION, Kind};
use crate::parse::{Findings, Mark, Path, RawDocument, Step};
use crate::problem::{Rule, suggest};

/// The schema of each kind, compiled once.
pub struct Checker {
    validators: [Validator; 5],
    definitions: Map<String, Value>,
    schemas: [Value; 5],
}

/// A document of a known kind that keeps to the schema.
pub struct Checked {
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

    /// The document's kind and value, where it keeps to the schema.
    pub fn check(&self, document: &RawDocument, findings: &mut Findings<'_>) -> Option<Checked> {
        let kind = kind_of(document, findings)?;
        let value = document.root.to_json();
        let index = Kind::ALL.iter().position(|other| *other == kind).expect("all kinds are in the list");
        let validator = &self.validators[index];
        if validator.is_valid(&value) {
            return Some(Checked { kind, value });
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
                self.report(error, index, document, &value, findings);
            }
        }
        None
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

fn kind_of(document: &RawDocument, findings: &mut Findings<'_>) -> Option<Kind> {
    let version = document.root.get("apiVersion").and_then(|node| node.text());
    let kind = document.root.get("kind").and_then(|node| node.text());
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
        problem.help = Some(format!("the kinds are {}", Kind::ALL.map(Kind::name).join(", ")));
    }
    known
}

fn unknown_field(
    field: &str,
    known: &[String],
    parent: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let path = parent.entry(field);
    let in_metadata = parent.steps().len() == 1 && parent.last_key() == Some("metadata");
    if in_metadata && field == "namespace" {
        let problem = findings.add_marked(
            document,
            &path,
            Mark::Key,
            Rule::UnknownField,
            "a policy document has no namespace: it is a file, not a cluster object",
        );
        problem.help = Some(
            "remove it; to bring policies into a cluster, put the files into a ConfigMap (kustomize: \
             configMapGenerator)"
                .to_owned(),
        );
        return;
    }
    let known_here = || known.iter().map(String::as_str);
    let meant = suggest::almost_same(field, known_here());
    let elsewhere = spelling::here_called(field);
    let (message, help) = match (meant, elsewhere, suggest::nearest(field, known_here())) {
        (Some(nearest), _, _) | (None, None, Some(nearest)) => {
            (format!("unknown field `{field}`: did you mean `{nearest}`?"), None)
        }
        (None, Some(here), _) => {
            (format!("unknown field `{field}`"), Some(format!("here it is called {}", quoted(here))))
        }
        (None, None, None) => {
            let mut known = known.to_vec();
            known.sort();
            let help = (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")));
            (format!("unknown field `{field}`"), help)
        }
    };
    let problem = findings.add_marked(document, &path, Mark::Key, Rule::UnknownField, message);
    problem.help = help;
}

fn quoted(here: &str) -> String {
    if here.contains(' ') { here.to_owned() } else { format!("`{here}`") }
}

fn wrong_type(
    kind: &TypeKind,
    instance: &Value,
    path: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let expected = match kind {
        TypeKind::Single(one) => type_name(&one.to_string()).to_owned(),
        TypeKind::Multiple(several) => {
            let names: Vec<String> =
                several.iter().map(|one| type_name(&one.to_string()).to_owned()).collect();
            names.join(" or ")
        }
    };
    let name = name_of(path);
    let message = match instance {
        Value::Null => format!("{name} has no value: {expected} is expected"),
        other => format!("{name} must be {expected}, not {}", show_typed(other)),
    };
    let help = match (expected.as_str(), instance) {
        (_, Value::Null) => Some("remove the key, or give it a value".to_owned()),
        ("true or false", Value::String(text)) => boolean_help(text),
        ("text", Value::Number(_) | Value::Bool(_)) => Some(format!("put it in quotes: \"{instance}\"")),
        ("a list", Value::String(text)) => Some(format!("write a list: [{text}]")),
        _ => None,
    };
    let rule = if matches!(path.last_key(), Some("ttl")) { Rule::Duration } else { Rule::WrongType };
    let problem = findings.add(document, path, rule, message);
    problem.help = match (rule, instance) {
        (Rule::Duration, Value::Number(number)) => {
            Some(format!("durations have a unit: {number}h or {number}m"))
        }
        _ => help,
    };
}

fn wrong_word(
    instance: &Value,
    known: &[&str],
    path: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let list = known.join(", ");
    let nearest = instance.as_str().and_then(|text| suggest::nearest(text, known.iter().copied()));
    let message = match nearest {
        Some(nearest) => format!("{} is not allowed here: did you mean `{nearest}`?", show(instance)),
        None => format!("{} is not allowed here", show(instance)),
    };
    let problem = findings.add(document, path, Rule::WrongValue, message);
    problem.help = Some(format!("one of {list}"));
}

fn boolean_help(text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => {
            Some("write true, without quotes; yes and on are text in YAML 1.2".to_owned())
        }
        "no" | "off" | "n" | "false" => {
            Some("write false, without quotes; no and off are text in YAML 1.2".to_owned())
        }
        _ => None,
    }
}

fn duration_help(text: &str) -> Option<String> {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    let count: i64 = number.parse().ok()?;
    match text[number.len()..].trim().to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => Some(format!("there is no unit for days: write {}h", count.checked_mul(24)?)),
        "w" | "week" | "weeks" => {
            Some(format!("there is no unit for weeks: write {}h", count.checked_mul(168)?))
        }
        "" => Some(format!("write {count}h, {count}m or {count}s")),
        "hour" | "hours" | "hr" | "hrs" => Some(format!("write {count}h")),
        "min" | "mins" | "minute" | "minutes" => Some(format!("write {count}m")),
        "sec" | "secs" | "second" | "seconds" => Some(format!("write {count}s")),
        _ => None,
    }
}

fn type_name(name: &str) -> &str {
    match name {
        "array" => "a list",
        "object" => "a mapping",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "null" => "nothing",
        other => other,
    }
}

fn show_typed(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn name_of(path: &Path) -> String {
    match path.steps().last() {
        Some(Step::Key(key)) => format!("`{key}`"),
        Some(Step::Index(_)) => format!("an item of `{}`", path.last_key().unwrap_or_default()),
        None => "the document".to_owned(),
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A JSON pointer as a path; digits are an index where the value has a list.
fn path_of(pointer: &str, root: &Value) -> Path {
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
