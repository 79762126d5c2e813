//! Collecting problems: from a path in a document to file, line, column and snippet.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use super::node::{Content, Node, Span};
use super::path::{Path, Step};
use super::tree::{self, Built, Stop};
use super::{RawDocument, SourceFile};
use crate::problem::{Place, Problem, Problems, Related, Rule};

/// The problems found so far, and the files they are found in.
pub struct Findings<'a> {
    files: &'a [SourceFile],
    line_starts: Vec<OnceCell<Vec<usize>>>,
    problems: Vec<Problem>,
    /// The last problem that may be none, as parts of the document are left out.
    unsaid: Option<Problem>,
    secrets: Vec<String>,
    /// The document that was looked into last: problems come in heaps.
    last: RefCell<Option<Rc<Tree>>>,
}

/// What was found in some of the files.
pub(crate) struct Found {
    problems: Vec<Problem>,
    secrets: Vec<String>,
}

/// A document with the places of its parts.
struct Tree {
    document: RawDocument,
    root: Node,
}

/// Which part of an entry a problem points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Key,
    /// The value, if it is a scalar; else its key.
    Value,
}

impl<'a> Findings<'a> {
    pub fn new(files: &'a [SourceFile]) -> Findings<'a> {
        Findings {
            files,
            line_starts: files.iter().map(|_| OnceCell::new()).collect(),
            problems: Vec::new(),
            unsaid: None,
            secrets: Vec::new(),
            last: RefCell::new(None),
        }
    }

    /// A problem with the value at a path. The caller may add help and related places to what is returned. A problem
    /// with what lacks a part that was left out is not told: the part may be what it is about.
    pub fn add(
        &mut self,
        document: &RawDocument,
        path: &Path,
        rule: Rule,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add_marked(document, path, Mark::Value, rule, message)
    }

    pub fn add_marked(
        &mut self,
        document: &RawDocument,
        path: &Path,
        mark: Mark,
        rule: Rule,
        message: impl Into<String>,
    ) -> &mut Problem {
        let tree = self.tree(document);
        let path = as_written(document, path);
        let place = self.place(document.file, locate(&tree.root, &path, mark));
        let problem = Problem {
            path: path.to_string(),
            document: title(&tree.root),
            ..problem(rule, message.into(), place)
        };
        if document.removed.as_ref().is_some_and(|removed| removed.touches(&path)) {
            return self.unsaid.insert(problem);
        }
        self.problems.push(problem);
        self.problems.last_mut().expect("a problem was just pushed")
    }

    pub fn add_span(
        &mut self,
        file: usize,
        span: Span,
        rule: Rule,
        message: impl Into<String>,
    ) -> &mut Problem {
        let place = self.place(file, span);
        self.problems.push(problem(rule, message.into(), place));
        self.problems.last_mut().expect("a problem was just pushed")
    }

    pub(super) fn add_stop(&mut self, file: usize, stop: Stop) {
        let Stop { rule, span, message, help, first } = stop;
        let related = first.map(|first| self.related(file, first, "first here"));
        let problem = self.add_span(file, span, rule, message);
        problem.help = help;
        problem.related.extend(related);
    }

    pub fn add_file(&mut self, file: usize, rule: Rule, message: impl Into<String>) -> &mut Problem {
        self.add_span(file, Span::default(), rule, message)
    }

    /// Another place, for a problem to refer to.
    pub fn related(&self, file: usize, span: Span, message: impl Into<String>) -> Related {
        Related { place: self.place(file, span), message: message.into() }
    }

    pub fn related_path(&self, document: &RawDocument, path: &Path, message: impl Into<String>) -> Related {
        let path = as_written(document, path);
        self.related(document.file, locate(&self.tree(document).root, &path, Mark::Value), message)
    }

    /// Kind and name of a document, as far as it tells them.
    pub fn title(&self, document: &RawDocument) -> String {
        title(&self.tree(document).root)
    }

    fn tree(&self, document: &RawDocument) -> Rc<Tree> {
        let mut last = self.last.borrow_mut();
        if let Some(tree) = last.as_ref().filter(|tree| &tree.document == document) {
            return Rc::clone(tree);
        }
        let RawDocument { file, chunk, removed: _ } = document;
        let Built { root, problems: _ } =
            tree::build(&self.files[*file].text[chunk.range.clone()], chunk.lines_before);
        let root = root.unwrap_or(Node { content: Content::Null, span: Span::default() });
        let tree = Rc::new(Tree { document: document.clone(), root });
        *last = Some(Rc::clone(&tree));
        tree
    }

    /// Keeps a text out of all messages and snippets.
    pub fn conceal(&mut self, secret: &str) {
        self.secrets.extend(secret.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }

    pub(crate) fn into_found(self) -> Found {
        let Findings { files: _, line_starts: _, problems, unsaid: _, secrets, last: _ } = self;
        Found { problems, secrets }
    }

    /// Takes over what was found elsewhere in the same files.
    pub(crate) fn absorb(&mut self, found: Found) {
        let Found { mut problems, mut secrets } = found;
        self.problems.append(&mut problems);
        self.secrets.append(&mut secrets);
    }

    pub fn into_problems(self) -> Problems {
        let Findings { files: _, line_starts: _, mut problems, unsaid: _, mut secrets, last: _ } = self;
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for problem in problems.iter_mut().filter(|_| !secrets.is_empty()) {
            blank_out(problem, &secrets);
        }
        problems.into_iter().collect::<Problems>().sorted()
    }

    fn place(&self, file: usize, span: Span) -> Place {
        let source = &self.files[file];
        let snippet = if span.line == 0 { "" } else { self.line(file, span.line) };
        Place {
            file: source.name.clone(),
            line: span.line,
            column: span.column,
            width: span.width,
            snippet: snippet.to_owned(),
        }
    }

    fn line(&self, file: usize, line: u32) -> &'a str {
        let text = self.files[file].text.as_str();
        let starts = self.line_starts[file].get_or_init(|| {
            std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect()
        });
        let index = (line as usize).saturating_sub(1);
        let Some(start) = starts.get(index).copied() else { return "" };
        let end = starts.get(index + 1).map_or(text.len(), |next| next - 1);
        text[start..end].trim_end_matches('\r').trim_start_matches('\u{feff}')
    }
}

fn problem(rule: Rule, message: String, place: Place) -> Problem {
    Problem {
        rule,
        severity: rule.severity(),
        message,
        help: None,
        place,
        path: String::new(),
        document: String::new(),
        related: Vec::new(),
    }
}

fn as_written(document: &RawDocument, path: &Path) -> Path {
    document.removed.as_ref().map_or_else(|| path.clone(), |removed| removed.as_written(path))
}

fn title(root: &Node) -> String {
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let name = root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
    match name {
        Some(name) => format!("{kind} {name}").trim_start().to_owned(),
        None => kind.to_owned(),
    }
}

/// Stars in place of secrets, as many as they have characters, so that places stay right.
fn blank_out(problem: &mut Problem, secrets: &[String]) {
    let Problem { rule: _, severity: _, message, help, place, path, document: _, related } = problem;
    let texts = [message, path, &mut place.snippet]
        .into_iter()
        .chain(help.as_mut())
        .chain(related.iter_mut().map(|related| &mut related.place.snippet));
    for text in texts {
        for secret in secrets {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), &"*".repeat(secret.chars().count()));
            }
        }
    }
}

/// The nearest place to a path: that of the deepest step that exists.
fn locate(root: &Node, path: &Path, mark: Mark) -> Span {
    let mut node = root;
    let mut key_span = None;
    for step in path.steps() {
        let next = match step {
            Step::Key(key) => node.entry(key).map(|entry| (Some(entry.key_span), &entry.value)),
            Step::Index(index) => node.item(*index).map(|item| (None, item)),
        };
        let Some((next_key, next_node)) = next else {
            return key_span.unwrap_or(node.span);
        };
        key_span = next_key;
        node = next_node;
    }
    match (mark, key_span) {
        (Mark::Key, Some(span)) => span,
        (Mark::Value, Some(span)) => match node.content {
            Content::List(_) | Content::Map(_) | Content::Null => span,
            Content::Bool(_) | Content::Number(_) | Content::Text(_) => node.span,
        },
        (Mark::Key | Mark::Value, None) => node.span,
    }
}
