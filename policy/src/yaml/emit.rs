//! Writes trees of JSON values as the YAML crate does, several times as fast, where they are as simple as generated objects
//! are. What is not gets no text here, and is left to the crate: a test compares the two.

use serde_json::{Map, Value};

use super::older_readers::is_misread;

/// Appends the value as a document; or gives nothing, with an unfinished text appended.
pub(super) fn document(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Object(entries) if !entries.is_empty() => mapping(entries, 0, out),
        _ => None,
    }
}

/// Entries, each on lines of its own; the first one's indent is there already.
fn mapping(entries: &Map<String, Value>, indent: usize, out: &mut String) -> Option<()> {
    for (position, (key, value)) in entries.iter().enumerate() {
        if position > 0 {
            pad(indent, out);
        }
        match style(key)? {
            Style::Plain => out.push_str(key),
            Style::Quoted => return None,
        }
        out.push(':');
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                mapping(entries, indent + 2, out)?;
            }
            // A sequence in a mapping stands below its key, without further indent.
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(indent, out);
                sequence(items, indent, out)?;
            }
            other => {
                out.push(' ');
                scalar(other, out)?;
            }
        }
    }
    Some(())
}

fn sequence(items: &[Value], indent: usize, out: &mut String) -> Option<()> {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(entries) if !entries.is_empty() => mapping(entries, indent + 2, out)?,
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, out)?,
            other => scalar(other, out)?,
        }
    }
    Some(())
}

/// A scalar or an empty collection, and the end of its line.
fn scalar(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => out.push_str(&number.to_string()),
        Value::Number(_) => return None,
        Value::String(text) => match style(text)? {
            Style::Plain => out.push_str(text),
            Style::Quoted => out.extend(["'", text, "'"]),
        },
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
    out.push('\n');
    Some(())
}

enum Style {
    Plain,
    Quoted,
}

/// How a text is written, where that is easily told.
fn style(text: &str) -> Option<Style> {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return None };
    let simple =
        bytes.len() <= 1024 && bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\'');
    if !simple || *first == b' ' || *last == b' ' {
        return None;
    }
    if matches!(first, b'{' | b'[' | b'*') {
        return Some(Style::Quoted);
    }
    // `: ` and ` #` end a plain text, and so does `:` at its end.
    let ends = |pair: &[u8]| pair == b": " || pair == b" #";
    if *last == b':' || bytes.windows(2).any(ends) {
        return None;
    }
    let plain = match first {
        b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'_' => !is_word(text) && !is_misread(text),
        // No number has any of these letters and signs in it, and neither has a date.
        b'0'..=b'9' => {
            bytes.iter().any(|byte| matches!(byte, b'h' | b'm' | b's' | b'*' | b'/')) || is_hash(text)
        }
        _ => false,
    };
    plain.then_some(Style::Plain)
}

/// Hexadecimal digits that no number is written with.
fn is_hash(text: &str) -> bool {
    !text.starts_with("0b")
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && text.contains(['a', 'c', 'd', 'f'])
}

/// Words that are no texts.
fn is_word(text: &str) -> bool {
    ["null", "true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn by_the_crate(value: &Value) -> String {
        let mut text = String::new();
        super::super::older_readers::quote(&serde_yaml::to_string(value).unwrap(), &mut text);
        text
    }

    fn assert_same(value: &Value) -> bool {
        let mut text = String::new();
        let written = document(value, &mut text).is_some();
        if written {
            assert_eq!(text, by_the_crate(value));
        }
        written
    }

    #[test]
    fn what_generated_objects_look_like_is_written_here() {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Schedule",
            "metadata": {
                "annotations": {"holdfast.dev/retention": "{\"keepLast\":3}", "holdfast.dev/jitter": "5m0s"},
                "labels": {"team": "t1", "holdfast.dev/content-hash": "0123456789abcdef"}, "name": "team-1-nightly",
            },
            "spec": {
                "paused": false, "schedule": "CRON_TZ=Europe/Berlin 0 1 * * *", "cron": "*/5 * * * *", "none": null,
                "template": {
                    "ttl": "1080h0m0s", "csiSnapshotTimeout": "10m0s", "metadata": {}, "empty": [],
                    "hooks": {"resources": [{"name": "flush", "pre": [{"exec": {"command": ["sync", "/tmp/a", ["x", ["z"]]]}}]}]},
                    "includedNamespaces": ["*"], "uploaderConfig": {"parallelFilesUpload": 4},
                },
            },
        });
        assert!(assert_same(&object));
    }

    #[test]
    fn what_is_not_simple_is_left_to_the_crate() {
        for text in [
            "",
            " a",
            "a ",
            "a: b",
            "a:",
            "a #b",
            "it's",
            "two\nlines",
            "é",
            "12",
            "0x1F",
            "2026-11-23",
            "-",
            "yes",
            "~",
            "Null",
        ] {
            assert!(!assert_same(&json!({"key": text})), "{text:?}");
            assert!(!assert_same(&json!({text: "value"})), "{text:?}");
        }
        assert!(!assert_same(&json!({"float": 1.5})));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[-a-zA-Z0-9 :#*/.,_'{}\\[\\]?!&%@\"=+~|>\n]{0,6}".prop_map(Value::from),
            "[0-9]{1,3}[-hms.xeTZ:_/* ][0-9a-f]{0,3}".prop_map(Value::from),
            "[0-9a-f]{1,16}".prop_map(Value::from),
            "(yes|no|on|off|y|n|true|null|nan|inf|\\.inf|infinity|e5|_1|/)".prop_map(Value::from),
        ];
        let key = "[-a-zA-Z0-9 :#*/.,_'{}?]{0,5}|[a-z]{1,6}";
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn texts_are_those_of_the_crate(value in value()) {
            assert_same(&value);
        }
    }
}
