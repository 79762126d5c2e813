//! YAML text to documents whose every value knows where it stands.
//!
//! In: files as text. Out: one tree per document, aliases expanded within bounds and merge keys merged, and the
//! problems of YAML itself: syntax, duplicate keys, tags. A broken document doesn't hide the ones beside it.
//! What the values mean is left to `schema` and `validate`.

pub mod findings;
pub mod node;
pub mod path;
mod removed;
mod scalar;
mod split;
mod tree;

pub(crate) use findings::Found;
pub use findings::{Findings, Mark};
pub use node::{Content, Entry, Node, Span};
pub use path::{Path, Step};
pub use removed::Removed;
pub use split::Chunk;

use std::sync::Arc;

use serde_json::Value;
use tree::Built;

use crate::problem::{Problems, Rule};

/// A file's name, as problems show it, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

impl SourceFile {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SourceFile {
        SourceFile { name: name.into(), text: text.into() }
    }
}

/// One YAML document of a file: where it stands. What it says is a value; the places of its parts are found out again
/// when a problem needs them, as good documents need none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDocument {
    /// Index of the file among those that were read.
    pub file: usize,
    chunk: Chunk,
    /// What its value no longer has, none in a document that keeps to the schema.
    removed: Option<Arc<Removed>>,
}

impl RawDocument {
    /// The same document for a value that lacks some parts: paths are those among what is left.
    #[must_use]
    pub fn without(&self, removed: Removed) -> RawDocument {
        RawDocument { removed: Some(Arc::new(removed)), ..self.clone() }
    }

    /// Whether its value lacks something of what the user wrote.
    pub fn is_incomplete(&self) -> bool {
        self.removed.is_some()
    }

    /// Tells this document's chunk from every other of its source.
    pub fn start(&self) -> (usize, usize) {
        (self.file, self.chunk.range.start)
    }
}

/// Size of a file that is still read.
const LARGEST_FILE: usize = 64 << 20;

/// All documents of the files, in order, and what is wrong with them as YAML.
pub fn parse(files: &[SourceFile]) -> (Vec<(RawDocument, Value)>, Problems) {
    let mut findings = Findings::new(files);
    let mut documents = Vec::new();
    each_document(files, 0..files.len(), &mut findings, |raw, value, _| documents.push((raw, value)));
    (documents, findings.into_problems())
}

pub(crate) fn each_document<'a>(
    files: &'a [SourceFile],
    which: impl IntoIterator<Item = usize>,
    findings: &mut Findings<'a>,
    mut take: impl FnMut(RawDocument, Value, &mut Findings<'a>),
) {
    for file in which {
        let source = &files[file];
        if source.text.len() > LARGEST_FILE {
            findings.add_file(
                file,
                Rule::Limit,
                format!(
                    "the file has {} MiB, and {} MiB is the most",
                    source.text.len() >> 20,
                    LARGEST_FILE >> 20
                ),
            );
            continue;
        }
        for chunk in split::split(&source.text) {
            let Built { root, problems } = tree::build(&source.text[chunk.range.clone()], chunk.lines_before);
            for problem in problems {
                findings.add_stop(file, problem);
            }
            if let Some(root) = root {
                take(RawDocument { file, chunk, removed: None }, root.into_json(), findings);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let (documents, problems) = parse(&[SourceFile::new("a.yaml", text)]);
        assert!(problems.is_empty(), "{problems}");
        documents.into_iter().map(|(_, value)| value).collect()
    }

    fn messages(text: &str) -> Vec<String> {
        let (_, problems) = parse(&[SourceFile::new("a.yaml", text)]);
        problems
            .iter()
            .map(|problem| format!("{}:{} {}", problem.place.line, problem.place.column, problem.message))
            .collect()
    }

    fn as_the_yaml_crate_reads(text: &str) -> Value {
        let mut value = crate::yaml::parse_value(text).unwrap();
        value.apply_merge().unwrap();
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn anchors_merge_keys_and_scalars_read_as_in_the_yaml_crate() {
        for text in [
            "a: &x {k: 1, l: [a, b]}\nb: *x\nc:\n  <<: *x\n  l: mine\n",
            "base: &b {x: 1}\nother: &o {x: 2, y: 3}\nboth: {<<: [*b, *o], z: 4}\n",
            "a: yes\nb: no\nc: on\nd: True\ne: FALSE\nf: true\n",
            "a: 0644\nb: 0o644\nc: 0x1F\nd: 0b11\ne: 1_000\nf: -7\ng: +7\nh: 12e03\ni: -0x1F\n",
            "a: ~\nb:\nc: null\nd: 'null'\ne: \"~\"\nf: Null\n",
            "a: 1.5\nb: 1.\nc: .5\nd: 1e3\ne: -1.5e-3\n",
            "a: 2026-11-23\nb: 12:30:45\nc: '0 1 * * *'\nd: 18446744073709551615\n",
            "a: |\n  line one\n  line two\nb: >-\n  folded\n  text\nc: |+\n  keep\n\n",
            "a: \"tab\\t and \\u00e9\"\nb: 'it''s'\n",
            "? a\n: 1\n? b\n: [1, {c: d}]\n",
            "a: !!str 5\nb: !!int \"5\"\nc: !!bool \"true\"\n",
            "1: one\ntrue: two\n",
        ] {
            assert_eq!(values(text), [as_the_yaml_crate_reads(text)], "{text}");
        }
    }

    proptest! {
        #[test]
        fn plain_scalars_read_as_in_the_yaml_crate(word in "[-+.~0-9a-fA-FxonultrsyINF_]{1,9}") {
            let text = format!("k: {word}\n");
            if let Ok(theirs) = crate::yaml::parse_value(&text)
                && let Ok(theirs) = serde_json::to_value(&theirs)
            {
                let (documents, problems) = parse(&[SourceFile::new("a.yaml", text)]);
                if problems.is_empty() {
                    prop_assert_eq!(&documents[0].1, &theirs);
                }
            }
        }
    }

    #[test]
    fn documents_are_split_and_empty_ones_left_out() {
        assert_eq!(
            values("# only a comment\n---\na: 1\n---\n---\nb: 2\n...\n---\nc: |\n  ---x\n"),
            [json!({"a": 1}), json!({"b": 2}), json!({"c": "---x\n"})]
        );
        assert_eq!(values("%YAML 1.2\n---\na: 1\n"), [json!({"a": 1})]);
        assert_eq!(values("\u{feff}a: 1\n"), [json!({"a": 1})]);
        assert_eq!(values(""), Vec::<Value>::new());
    }

    #[test]
    fn a_broken_document_does_not_hide_its_neighbours() {
        let (documents, problems) =
            parse(&[SourceFile::new("a.yaml", "a: 1\n---\nb: [1, 2\n---\nc: 3\n---\nd: 'four\n")]);
        assert_eq!(documents.len(), 2);
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn every_duplicate_key_is_reported_where_it_stands() {
        assert_eq!(
            messages("x:\n  a: 1\n  b: 2\n  a: 3\n  a: 4\n"),
            ["4:3 duplicate key `a`", "5:3 duplicate key `a`"]
        );
    }

    #[test]
    fn alias_expansion_is_bounded() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let previous = level - 1;
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{previous}"); 10].join(", ")
            ));
        }
        let messages = messages(&text);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains("aliases"), "{messages:?}");
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("a: {}{}\n", "[".repeat(1000), "]".repeat(1000));
        let messages = messages(&text);
        assert_eq!(messages.len(), 1, "{messages:?}");
    }

    #[test]
    fn an_alias_inside_its_own_anchor_is_a_problem() {
        assert_eq!(messages("a: &a [1, *a]\n").len(), 1);
    }
}
