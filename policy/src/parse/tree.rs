//! Events of the YAML parser into a tree, with aliases and merge keys resolved.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as EventSpan, StrInput, Tag};

use super::node::{Content, Entry, Node, Span};
use super::scalar;
use crate::problem::Rule;

const DEEPEST: usize = 64;
/// Keys among which a duplicate is found sooner by looking at each than by hashing.
const FEW: usize = 24;
/// Nodes that the aliases of one document may add.
const MOST_EXPANDED: usize = 20_000;

/// The document's tree, none where there is no content or no way to read it, and what is wrong with it as YAML.
pub(super) struct Built {
    pub(super) root: Option<Node>,
    pub(super) problems: Vec<Stop>,
}

/// Something wrong with a document as YAML.
pub(super) struct Stop {
    pub(super) rule: Rule,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Where the same thing stands first.
    pub(super) first: Option<Span>,
}

pub(super) fn build(text: &str, lines_before: u32) -> Built {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        lines_before,
        anchors: HashMap::new(),
        expanded: 0,
        problems: Vec::new(),
    };
    let root = match builder.document() {
        Ok(root) => root,
        Err(stop) => {
            builder.problems.push(stop);
            None
        }
    };
    Built { root, problems: builder.problems }
}

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    lines_before: u32,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    problems: Vec<Stop>,
}

impl<'input> Builder<'input> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(None),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                // A document without content is an empty scalar of no width.
                Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty() => {
                    self.finish()?;
                    return Ok(None);
                }
                content => {
                    let node = self.node(content, span, 0)?;
                    self.finish()?;
                    return Ok(Some(node));
                }
            }
        }
    }

    /// Reads on to the end, as errors may still come.
    fn finish(&mut self) -> Result<(), Stop> {
        loop {
            if let (Event::StreamEnd, _) = self.next()? {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Stop> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.span(span))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Node, Stop> {
        if depth > DEEPEST {
            return Err(stop(Rule::Limit, span, format!("nested more than {DEEPEST} deep")));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_node(text, style, tag.as_deref(), span)?)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", span)?;
                (anchor, self.list(span, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", span)?;
                (anchor, self.map(span, depth)?)
            }
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(stop(Rule::Syntax, span, "the document ends in the middle".to_owned()));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, item_span) = self.next()?;
            if let Event::SequenceEnd = event {
                break;
            }
            items.push(self.node(event, item_span, depth + 1)?);
        }
        Ok(Node { content: Content::List(items), span })
    }

    fn map(&mut self, span: Span, depth: usize) -> Result<Node, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Node> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let (event, key_span) = self.next()?;
            let merges = match &event {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
                _ => false,
            };
            let key = self.key(event, key_span, depth)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if merges {
                merged.push(value);
                continue;
            }
            let first = if seen.is_empty() && entries.len() < FEW {
                entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span)
            } else {
                seen.extend(entries[seen.len()..].iter().map(|entry| entry.key.clone()));
                let known = seen.contains(&key);
                known
                    .then(|| entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span))
                    .flatten()
            };
            match first {
                None => entries.push(Entry { key, key_span, value }),
                Some(first) => self.duplicate(&key, key_span, Some(first)),
            }
        }
        for value in merged {
            merge(&mut entries, value)?;
        }
        let span = entries.first().map_or(span, |entry| Span { width: entry.key_span.width, ..span });
        Ok(Node { content: Content::Map(entries), span })
    }

    fn key(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<String, Stop> {
        if let Event::Scalar(text, _, 0, _) = event {
            return Ok(text.into_owned());
        }
        match self.node(event, span, depth + 1)?.content {
            Content::Text(text) => Ok(text),
            Content::Bool(value) => Ok(value.to_string()),
            Content::Number(number) => Ok(number.to_string()),
            Content::Null | Content::List(_) | Content::Map(_) => {
                Err(stop(Rule::Syntax, span, "a key must be text".to_owned()))
            }
        }
    }

    fn duplicate(&mut self, key: &str, span: Span, first: Option<Span>) {
        self.problems
            .push(Stop { first, ..stop(Rule::DuplicateKey, span, format!("duplicate key `{key}`")) });
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(stop(Rule::Syntax, span, "an alias stands inside what it is an alias of".to_owned()));
        };
        self.expanded += node.size();
        if self.expanded > MOST_EXPANDED {
            return Err(stop(
                Rule::Limit,
                span,
                format!("the aliases of this document expand to more than {MOST_EXPANDED} values"),
            ));
        }
        Ok(node.clone())
    }

    fn span(&self, span: EventSpan) -> Span {
        let (start, end) = (span.start, span.end);
        let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Span {
            line: narrow(start.line()).saturating_add(self.lines_before),
            column: narrow(start.col()).saturating_add(1),
            width: narrow(width.max(1)),
        }
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let span = Span {
            line: narrow(marker.line().max(1)).saturating_add(self.lines_before),
            column: narrow(marker.col()).saturating_add(1),
            width: 1,
        };
        let help = if error.info().contains("tab") { Some("indent with spaces".to_owned()) } else { None };
        Stop { help, ..stop(Rule::Syntax, span, format!("not YAML: {}", error.info())) }
    }
}

fn stop(rule: Rule, span: Span, message: String) -> Stop {
    Stop { rule, span, message, help: None, first: None }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn scalar_node(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Node, Stop> {
    let content = match tag {
        None if style == ScalarStyle::Plain => scalar::resolve(&text),
        None => Content::Text(text.into_owned()),
        Some(tag) if tag.is_yaml_core_schema() => tagged(&text, tag).ok_or_else(|| {
            stop(Rule::Syntax, span, format!("`{text}` is not what its tag `!!{}` says", tag.suffix))
        })?,
        // The tag `!` alone says that a scalar is text.
        Some(tag) if tag.suffix.is_empty() => Content::Text(text.into_owned()),
        Some(tag) => return Err(unknown_tag(tag, span)),
    };
    Ok(Node { content, span })
}

fn tagged(text: &str, tag: &Tag) -> Option<Content> {
    match (tag.suffix.as_str(), scalar::resolve(text)) {
        ("str", _) => Some(Content::Text(text.to_owned())),
        ("null", content @ Content::Null)
        | ("bool", content @ Content::Bool(_))
        | ("int" | "float", content @ Content::Number(_)) => Some(content),
        _ => None,
    }
}

fn refuse_tag(tag: Option<&Tag>, own: &str, span: Span) -> Result<(), Stop> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => Err(unknown_tag(tag, span)),
        Some(_) | None => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Stop {
    stop(Rule::Syntax, span, format!("tag `{}{}` has no meaning here", tag.handle, tag.suffix))
}

/// Adds the entries that a merge key brings and that are not there yet. Among several mappings the first wins.
fn merge(entries: &mut Vec<Entry>, value: Node) -> Result<(), Stop> {
    match value.content {
        Content::Map(others) => {
            for other in others {
                if !entries.iter().any(|entry| entry.key == other.key) {
                    entries.push(other);
                }
            }
            Ok(())
        }
        Content::List(items) => items.into_iter().try_for_each(|item| match item.content {
            Content::Map(_) => merge(entries, item),
            _ => Err(stop(Rule::Syntax, item.span, "a merge key takes mappings".to_owned())),
        }),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => Err(stop(
            Rule::Syntax,
            value.span,
            "a merge key takes a mapping or a list of mappings".to_owned(),
        )),
    }
}
