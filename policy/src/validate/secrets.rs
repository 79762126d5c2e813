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
    let mut walk = Walk { is_location, way: Vec::new(), secrets: Vec::new() };
    walk.value(value);
    for (path, secret) in walk.secrets {
        report(secret, &path, document, findings);
    }
}

struct Walk<'a> {
    is_location: bool,
    /// From the root to here. It becomes a path where something is found, which is seldom.
    way: Vec<Way<'a>>,
    secrets: Vec<(Path, &'a str)>,
}

enum Way<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &'a Value) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.way.push(Way::Key(key));
                    self.value(value);
                    self.way.pop();
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.way.push(Way::Index(index));
                    self.value(item);
                    self.way.pop();
                }
            }
            Value::String(text) => {
                let named = match self.way.last() {
                    Some(Way::Key(key)) => self.is_location && !text.is_empty() && is_secret_key(key),
                    Some(Way::Index(_)) | None => false,
                };
                if named || looks_secret(text) {
                    self.secrets.push((self.path(), text));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn path(&self) -> Path {
        self.way.iter().fold(Path::root(), |path, way| match way {
            Way::Key(key) => path.entry(key),
            Way::Index(index) => path.index(*index),
        })
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
