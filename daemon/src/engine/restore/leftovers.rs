//! What still names a namespace of the backup that was mapped to another: looked for in every restored object, told in
//! the results, and never changed.
//!
//! In: an object as it was created, and the mapping. Out: [`Leftover`]s: fields that are namespaces by their name, host
//! names of services, names of service accounts. A word that merely is spelled like the namespace is none. Values of
//! Secrets are looked into, and not repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::compare::push_key;
use super::item::Item;
use super::records::{Action, Record};
use super::run::Run;
use crate::engine::run_log::{Message, Place, RunLog};

/// How many objects get a warning of their own.
const TOLD_OBJECTS: u64 = 100;
/// How many places a message names; the rest are counted.
const NAMED_PLACES: usize = 5;
/// Longer texts are looked into up to here.
const LONGEST_TEXT: usize = 256 * 1024;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The names that no restored object should use any more, and how much was told of those that do.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    names: BTreeSet<String>,
    objects: AtomicU64,
}

/// One place that names an old namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) namespace: String,
    pub(crate) path: String,
    /// The host name, where it is one and no secret.
    pub(crate) host: Option<String>,
}

/// How a text names a namespace.
#[derive(Debug, PartialEq, Eq)]
enum Mention<'a> {
    Host(&'a str),
    Other,
}

impl Leftovers {
    /// A name that others are mapped to is in use again.
    pub(crate) fn of(mapping: &BTreeMap<String, String>) -> Self {
        let in_use: BTreeSet<&String> = mapping.values().collect();
        let names = mapping.keys().filter(|source| !in_use.contains(source)).cloned().collect();
        Self { names, objects: AtomicU64::new(0) }
    }

    pub(crate) fn find(&self, group_resource: &str, object: &Value) -> Vec<Leftover> {
        let mut search =
            Search { names: &self.names, secret: group_resource == "secrets", found: Vec::new() };
        if !self.names.is_empty() {
            search.look(object, "", &mut String::new());
        }
        search.found
    }

    /// Says how many objects had no warning of their own.
    pub(crate) fn tell_rest(&self, log: &RunLog) {
        let more = self.objects.load(Ordering::Relaxed).saturating_sub(TOLD_OBJECTS);
        if more > 0 {
            let text =
                format!("{more} more objects still name namespaces that were mapped: they are in the log");
            log.warning(Place::Velero, text);
        }
    }
}

impl Run {
    /// Warns of what an object that this restore put there still names.
    pub(crate) fn tell_leftovers(&self, item: &Item<'_>, record: &Record, leftovers: &[Leftover]) {
        match record {
            Record::Listed(Action::Created | Action::Updated) | Record::Renamed(_) => {}
            Record::Listed(Action::Skipped | Action::Failed) | Record::Unlisted => return,
        }
        if leftovers.is_empty() {
            return;
        }
        let sources: BTreeSet<&str> = leftovers.iter().map(|leftover| leftover.namespace.as_str()).collect();
        let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!("{} still names what was mapped to another namespace: {sources}", item.path());
        let places = in_words(leftovers);
        if self.leftovers.objects.fetch_add(1, Ordering::Relaxed) < TOLD_OBJECTS {
            self.log.warning(item.place(), Message::new(text).cause(&places));
        } else {
            self.log.info(&text, &[("places", &places)]);
        }
    }
}

/// The places as a message names them.
pub(crate) fn in_words(leftovers: &[Leftover]) -> String {
    let place = |Leftover { path, host, .. }: &Leftover| match host {
        Some(host) => format!("{path} ({host})"),
        None => path.clone(),
    };
    let named = leftovers.iter().take(NAMED_PLACES).map(place).collect::<Vec<_>>().join(", ");
    match leftovers.len().saturating_sub(NAMED_PLACES) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

struct Search<'a> {
    names: &'a BTreeSet<String>,
    secret: bool,
    found: Vec<Leftover>,
}

impl Search<'_> {
    /// `label` says what the value is called: its key, or what stands for one.
    fn look(&mut self, value: &Value, label: &str, path: &mut String) {
        match value {
            Value::Object(map) => {
                // What environment variables and selectors are about stands beside the value.
                let own = map.get("name").or_else(|| map.get("key")).and_then(Value::as_str);
                for (key, value) in map {
                    if skipped(path, key) {
                        continue;
                    }
                    let length = path.len();
                    push_key(path, key);
                    let label = own.filter(|_| matches!(key.as_str(), "value" | "values")).unwrap_or(key);
                    self.look(value, label, path);
                    path.truncate(length);
                }
            }
            Value::Array(list) => {
                let mut before = "";
                for (at, value) in list.iter().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{at}]"));
                    let flag = Some(before).filter(|before| before.starts_with('-'));
                    self.look(value, flag.unwrap_or(label), path);
                    path.truncate(length);
                    before = value.as_str().unwrap_or_default();
                }
            }
            Value::String(text) => self.look_at_text(text, label, path),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn look_at_text(&mut self, text: &str, label: &str, path: &str) {
        let encoded = self.secret && path.starts_with("data");
        let decoded = if encoded { decode(text) } else { None };
        let text = match &decoded {
            Some(decoded) => decoded.as_str(),
            None if encoded => return,
            None => text,
        };
        for name in self.names {
            let Some(mention) = mention(cut(text), name, label, path) else { continue };
            let host = match mention {
                Mention::Host(host) if !self.secret => Some(host.to_owned()),
                Mention::Host(_) | Mention::Other => None,
            };
            self.found.push(Leftover { namespace: name.clone(), path: path.to_owned(), host });
        }
    }
}

/// What says nothing of the object as it is now.
fn skipped(path: &str, key: &str) -> bool {
    match path {
        "metadata" => matches!(key, "managedFields" | "name" | "namespace"),
        "metadata.annotations" => key == LAST_APPLIED,
        _ => false,
    }
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn calls_for_namespace(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    label.ends_with("namespace") || label.ends_with("namespaces") || label == NAME_LABEL
}

/// The first way in which `text` names the namespace `name`, if it does.
fn mention<'a>(text: &'a str, name: &str, label: &str, path: &str) -> Option<Mention<'a>> {
    if text == name {
        return calls_for_namespace(label).then_some(Mention::Other);
    }
    text.match_indices(name).find_map(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let bounded = |byte: Option<&u8>| byte.is_none_or(|byte| !is_label(*byte));
        if !bounded(before.as_bytes().last()) || !bounded(after.as_bytes().first()) {
            return None;
        }
        if is_host(before, after) {
            return Some(Mention::Host(host(text, at)));
        }
        let account = (before.ends_with("system:serviceaccount:") && after.starts_with(':'))
            || before.ends_with("system:serviceaccounts:");
        // As annotations name objects: NAMESPACE/NAME.
        let object = before.is_empty()
            && path.starts_with("metadata.annotations")
            && after
                .strip_prefix('/')
                .is_some_and(|rest| rest.bytes().all(|byte| is_label(byte) || byte == b'.'));
        let assigned = before.trim_end_matches([' ', ':', '=', '"', '\'']);
        let assigned = assigned.len() < before.len() && {
            let word = assigned.as_bytes();
            let tail = &word[word.len().saturating_sub("namespace".len())..];
            tail.eq_ignore_ascii_case(b"namespace")
        };
        (account || object || assigned).then_some(Mention::Other)
    })
}

/// `SERVICE.NAMESPACE.svc`, alone or in front of the cluster's domain; `SERVICE.NAMESPACE` where a port or a scheme says
/// that it is a host.
fn is_host(before: &str, after: &str) -> bool {
    let Some(service) =
        before.strip_suffix('.').filter(|it| it.as_bytes().last().is_some_and(|it| is_label(*it)))
    else {
        return false;
    };
    let ends = |rest: &str| rest.as_bytes().first().is_none_or(|byte| !is_label(*byte));
    let port =
        after.strip_prefix(':').is_some_and(|rest| rest.as_bytes().first().is_some_and(u8::is_ascii_digit));
    let scheme =
        service.trim_end_matches(|character: char| character.is_ascii_alphanumeric() || character == '-');
    let by_scheme = scheme.ends_with("://") && (after.is_empty() || after.starts_with('/'));
    after.strip_prefix(".svc").is_some_and(ends) || port || by_scheme
}

/// The host name around a place in the text.
fn host(text: &str, at: usize) -> &str {
    let part = |byte: &u8| is_label(*byte) || *byte == b'.';
    let bytes = text.as_bytes();
    let start = at - bytes[..at].iter().rev().take_while(|byte| part(byte)).count();
    let end = at + bytes[at..].iter().take_while(|byte| part(byte)).count();
    text[start..end].trim_matches('.')
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn found(group_resource: &str, object: &Value) -> Vec<String> {
        let mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]);
        let leftovers = Leftovers::of(&mapping).find(group_resource, object);
        leftovers.iter().map(|leftover| in_words(std::slice::from_ref(leftover))).collect()
    }

    #[test]
    fn fields_that_are_namespaces_by_their_name_are_found() {
        let object = json!({
            "metadata": {
                "namespace": "shop", "name": "shop", "labels": {"app": "shop"},
                "annotations": {"inject-ca-from": "shop/cert", "image": "shop/web:1", LAST_APPLIED: "{\"namespace\": \"shop\"}"},
                "managedFields": [{"namespace": "shop"}],
            },
            "spec": {
                "secretNamespace": "shop",
                "namespaces": ["blog", "shop"],
                "targetRef": {"namespace": "shop", "name": "x"},
                "env": [{"name": "POD_NAMESPACE", "value": "shop"}, {"name": "TITLE", "value": "shop"}],
                "args": ["--watch-namespace", "shop", "--namespace=shop", "--title", "shop"],
                "selector": {"matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": ["shop"]}]},
                "image": "shop/web:1",
            },
        });
        assert_eq!(
            found("things.example.com", &object),
            [
                "metadata.annotations.inject-ca-from",
                "spec.args[1]",
                "spec.args[2]",
                "spec.env[0].value",
                "spec.namespaces[1]",
                "spec.secretNamespace",
                "spec.selector.matchExpressions[0].values[0]",
                "spec.targetRef.namespace",
            ]
        );
    }

    #[test]
    fn host_names_and_accounts_are_found_within_texts() {
        let data = json!({"data": {
            "url": "postgres://user:pw@db.shop.svc.cluster.local:5432/shop",
            "short": "http://web.shop.svc",
            "port": "--cache=redis.shop:6379",
            "scheme": "http://web.shop/path",
            "other": "my.shop, http://my.shop.example, a.shop:b, x@y.shop, web.shopping.svc, web.blog.svc, web.eshop.svc, shop.svc, web.shop.svcs, web.shop.example.com",
            "account": "system:serviceaccount:shop:robot",
            "group": "system:serviceaccounts:shop",
            "yaml": "kind: X\nmetadata:\n  namespace: \"shop\"\n",
            "title": "the shop of shops",
        }});
        assert_eq!(
            found("configmaps", &data),
            [
                "data.account",
                "data.group",
                "data.port (redis.shop)",
                "data.scheme (web.shop)",
                "data.short (web.shop.svc)",
                "data.url (db.shop.svc.cluster.local)",
                "data.yaml",
            ]
        );
    }

    #[test]
    fn secrets_are_looked_into_and_not_repeated() {
        let secret = json!({"data": {
            "url": STANDARD.encode("https://u:p@db.shop.svc"), "binary": STANDARD.encode([0xff, 0xfe]),
            "title": STANDARD.encode("shop"),
        }});
        assert_eq!(found("secrets", &secret), ["data.url"]);
    }

    #[test]
    fn a_name_that_is_in_use_again_is_not_old() {
        let swap = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())]);
        assert!(Leftovers::of(&swap).names.is_empty());
        let same = BTreeMap::from([("a".to_owned(), "a".to_owned())]);
        assert!(Leftovers::of(&same).names.is_empty());
    }

    #[test]
    fn long_lists_of_places_are_cut_in_messages() {
        let leftover = |at| Leftover { namespace: "shop".to_owned(), path: format!("p{at}"), host: None };
        let leftovers: Vec<Leftover> = (0..8).map(leftover).collect();
        assert_eq!(in_words(&leftovers), "p0, p1, p2, p3, p4 and 3 more");
    }
}
