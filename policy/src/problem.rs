//! Problems of policy documents: what is wrong, where, and what would be right.
//!
//! In: rules that found something. Out: values that `check` prints as text, JSON, SARIF, JUnit or GitHub
//! annotations, and that status shows. All problems are collected; none stops the search for others.

mod github;
mod json;
mod junit;
pub mod rule;
mod sarif;
pub mod suggest;
mod text;

use std::fmt;

pub use junit::escape as escape_xml;
pub use rule::{Rule, Severity};

/// Something wrong with a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub rule: Rule,
    /// That of the rule; an error in place of a warning where warnings are errors.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// What would be right, where that is known.
    pub help: Option<String>,
    pub place: Place,
    /// The field, as in `spec.schedules[0].cron`; empty for a whole document or file.
    pub path: String,
    /// Kind and name of the document, as far as they are known.
    pub document: String,
    /// Other places that belong to the problem.
    pub related: Vec<Related>,
}

impl Problem {
    /// As it stands in the JSON of [`Problems::render`].
    pub fn to_json(&self) -> serde_json::Value {
        json::value(self)
    }
}

/// Where something stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: String,
    /// From 1; 0 for a whole file.
    pub line: u32,
    /// In characters, from 1; 0 for a whole file.
    pub column: u32,
    /// In characters, at least 1.
    pub width: u32,
    /// Text of the line, with what must not be shown blanked out.
    pub snippet: String,
}

/// Another place that belongs to a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Related {
    pub place: Place,
    pub message: String,
}

/// Problems, sorted by file and position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub fn add(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    pub fn append(&mut self, mut others: Problems) {
        self.list.append(&mut others.list);
    }

    /// Sorted by place, so that the order of checks doesn't show.
    pub fn sorted(mut self) -> Problems {
        self.list.sort_by(|one, other| {
            one.place
                .cmp(&other.place)
                .then_with(|| one.rule.cmp(&other.rule))
                .then_with(|| one.message.cmp(&other.message))
        });
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Whether a set with these problems is refused.
    pub fn refuse(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// The same, with errors in place of warnings.
    #[must_use]
    pub fn strict(mut self) -> Problems {
        for problem in &mut self.list {
            if problem.severity == Severity::Warning {
                problem.severity = Severity::Error;
            }
        }
        self
    }

    /// The problems in the given format, with a line end after the last line.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => text::render(self),
            Format::Json => json::render(self),
            Format::Sarif => sarif::render(self),
            Format::Junit => junit::render(self),
            Format::Github => github::render(self),
        }
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<T: IntoIterator<Item = Problem>>(problems: T) -> Problems {
        Problems { list: problems.into_iter().collect() }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(Format::Text))
    }
}

impl std::error::Error for Problems {}

/// How problems are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Sarif,
    Junit,
    Github,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Format, UnknownFormat> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "sarif" => Ok(Format::Sarif),
            "junit" => Ok(Format::Junit),
            "github" => Ok(Format::Github),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// A format of which there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: text, json, sarif, junit and github are known")]
pub struct UnknownFormat(String);
