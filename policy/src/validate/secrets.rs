//! Credentials that stand in policy files, where everybody who reads the repository reads them.

use serde_json::Value;

use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;

/// Keys, in lower case and without separators, whose value is a credential.
const SECRET_KEYS: [&str; 20] = [
    "accesskey",
    "accesskeyid",
    "awsaccesskeyid",
    "awssecretaccesskey",
    "azureclientsecret",
    "azurestoragekey",
    "clientsecret",
    "connectionstring",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "sastoken",
    "secretaccesskey",
    "secretkey",
    "serviceaccountkey",
    "sessiontoken",
    "storageaccountaccesskey",
    "storageaccountkey",
    "token",
];

/// Whether a setting of this name is a credential.
pub(super) fn is_secret_key(key: &str) -> bool {
    let folded: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect();
    SECRET_KEYS.contains(&folded.as_str())
}

/// Reports credentials wherever they stand, and keeps them out of all messages.
pub(crate) fn find(document: &RawDocument, value: &Value, findings: &mut Findings<'_>) {
    let is_location = value["kind"].as_str().is_some_and(|kind| kind.ends_with("Location"));
    let mut secrets = Vec::new();
    walk(value, &Path::root(), is_location, &mut secrets);
    for (path, secret) in secrets {
        report(secret, &path, document, findings);
    }
}

fn walk<'a>(value: &'a Value, path: &Path, is_location: bool, secrets: &mut Vec<(Path, &'a str)>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) if !text.is_empty() && is_location && is_secret_key(key) => {
                        secrets.push((path.entry(key), text));
                    }
                    Value::String(text) if looks_secret(text) => secrets.push((path.entry(key), text)),
                    Value::Object(_) | Value::Array(_) => walk(value, &path.entry(key), is_location, secrets),
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                match item {
                    Value::String(text) if looks_secret(text) => secrets.push((path.index(index), text)),
                    Value::Object(_) | Value::Array(_) => {
                        walk(item, &path.index(index), is_location, secrets)
                    }
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                }
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn report(secret: &str, path: &Path, document: &RawDocument, findings: &mut Findings<'_>) {
    let message = "a credential stands here in plain text";
    findings.add(document, path, Rule::LiteralCredential, message).help = Some(
        "put it into a Secret in Holdfast's namespace, and name that: credential: {name: cloud-credentials, key: \
         cloud}; whoever could read this file knows it now, so make a new one"
            .to_owned(),
    );
    findings.conceal(secret);
}

fn looks_secret(text: &str) -> bool {
    (text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----"))
        || access_key(text)
        || password_in_url(text)
}

/// An access key of AWS: AKIA or ASIA, and 16 capitals or digits.
fn access_key(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric()).any(|word| {
        word.len() == 20
            && (word.starts_with("AKIA") || word.starts_with("ASIA"))
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

fn password_in_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .split_once('@')
        .is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, word)| !word.is_empty()))
}
