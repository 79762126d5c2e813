//! One line of a run's log: takes a level, a text and fields, gives logfmt or a JSON object as logrus writes them.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};

use super::LogFormat;

/// A line being put together; its fields come out sorted by name.
#[derive(Debug)]
pub(super) struct Line {
    time: String,
    level: &'static str,
    message: String,
    fields: Vec<(String, String)>,
}

impl Line {
    pub(super) fn start(now: DateTime<Utc>, level: &'static str, message: &str) -> Self {
        let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { time, level, message: message.to_owned(), fields: Vec::with_capacity(4) }
    }

    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn finish(self, format: LogFormat) -> String {
        let mut line = match format {
            LogFormat::Text => self.logfmt(),
            LogFormat::Json => self.json(),
        };
        line.push('\n');
        line
    }

    fn logfmt(self) -> String {
        let Self { time, level, message, mut fields } = self;
        let mut text = String::with_capacity(160);
        text.push_str("time=");
        push_value(&mut text, &time);
        text.push_str(" level=");
        text.push_str(level);
        text.push_str(" msg=");
        push_value(&mut text, &message);
        fields.sort();
        for (name, value) in &fields {
            text.push(' ');
            text.push_str(name);
            text.push('=');
            push_value(&mut text, value);
        }
        text
    }

    fn json(self) -> String {
        let Self { time, level, message, fields } = self;
        // Beside `error.file` and its like, which Velero writes too, a plain `error` would be text and object at once.
        let named = |(name, value)| (if name == "error" { "error.message".to_owned() } else { name }, value);
        let mut object: BTreeMap<String, String> = fields.into_iter().map(named).collect();
        object.insert("time".to_owned(), time);
        object.insert("level".to_owned(), level.to_owned());
        object.insert("msg".to_owned(), message);
        serde_json::to_string(&object).expect("a map of texts is always JSON")
    }
}

/// Quotes a value that holds anything but the characters logrus leaves bare.
fn push_value(text: &mut String, value: &str) {
    let bare = |character: char| character.is_ascii_alphanumeric() || "-._/@^+".contains(character);
    if value.chars().all(bare) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => {
                write!(text, "\\u{:04x}", u32::from(control)).expect("writing to a String cannot fail");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: &str) -> String {
        let mut text = String::new();
        push_value(&mut text, value);
        text
    }

    #[test]
    fn only_unusual_characters_are_quoted() {
        assert_eq!(value("velero/gold-1.2_3@x^+"), "velero/gold-1.2_3@x^+");
        assert_eq!(value(""), "");
        assert_eq!(value("a b"), "\"a b\"");
        assert_eq!(value("system:node"), "\"system:node\"");
    }

    #[test]
    fn a_value_cannot_start_a_new_line() {
        assert_eq!(value("a\nb\"c\\\u{1}"), "\"a\\nb\\\"c\\\\\\u0001\"");
    }
}
