//! Credentials that stand in policy files, where everybody who reads the repository reads them.

use crate::parse::{Content, Entry, Findings, Node, Path, RawDocument, Step};
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
pub(crate) fn find(documents: &[RawDocument], findings: &mut Findings<'_>) {
    for document in documents {
        let kind = document.root.get("kind").and_then(Node::text).unwrap_or_default();
        let is_location = kind.ends_with("Location");
        walk(&document.root, &mut Vec::new(), is_location, document, findings);
    }
}

fn walk(
    node: &Node,
    steps: &mut Vec<Step>,
    is_location: bool,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    match &node.content {
        Content::Map(entries) => {
            for Entry { key, key_span: _, value } in entries {
                steps.push(Step::Key(key.clone().into()));
                if let Some(text) = value.text()
                    && !text.is_empty()
                    && is_location
                    && is_secret_key(key)
                {
                    report(text, steps, document, findings);
                } else {
                    walk(value, steps, is_location, document, findings);
                }
                steps.pop();
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Step::Index(index));
                walk(item, steps, is_location, document, findings);
                steps.pop();
            }
        }
        Content::Text(text) if looks_secret(text) => report(text, steps, document, findings),
        Content::Text(_) | Content::Null | Content::Bool(_) | Content::Number(_) => {}
    }
}

fn report(secret: &str, steps: &[Step], document: &RawDocument, findings: &mut Findings<'_>) {
    let path = steps.iter().fold(Path::root(), |path, step| path.with(step.clone()));
    let message = "a credential stands here in plain text";
    findings.add(document, &path, Rule::LiteralCredential, message).help = Some(
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
