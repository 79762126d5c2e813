//! The way from a document's root to one of its values.

use std::borrow::Cow;
use std::fmt;

/// The way from a document's root to a value, as in `spec.schedules[0].cron`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(Cow<'static, str>),
    Index(usize),
}

impl Path {
    pub fn root() -> Path {
        Path::default()
    }

    /// The path to `spec`.
    pub fn spec() -> Path {
        Path::root().key("spec")
    }

    #[must_use]
    pub fn key(&self, key: &'static str) -> Path {
        self.with(Step::Key(Cow::Borrowed(key)))
    }

    /// A step by a key that a user chose.
    #[must_use]
    pub fn entry(&self, key: &str) -> Path {
        self.with(Step::Key(Cow::Owned(key.to_owned())))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    #[must_use]
    pub fn with(&self, step: Step) -> Path {
        let mut steps = Vec::with_capacity(self.steps.len() + 1);
        steps.extend_from_slice(&self.steps);
        steps.push(step);
        Path { steps }
    }

    /// The path to what the value stands in; of the root, the root.
    #[must_use]
    pub fn parent(&self) -> Path {
        let steps = self.steps.split_last().map_or_else(Vec::new, |(_, parent)| parent.to_vec());
        Path { steps }
    }

    /// The path that this value had before a part of the document was removed: later items of a list moved up.
    pub(super) fn before_removal_of(mut self, part: &Path) -> Path {
        if let Some((Step::Index(gone), list)) = part.steps.split_last()
            && self.steps.starts_with(list)
            && let Some(Step::Index(index)) = self.steps.get_mut(list.len())
            && *index >= *gone
        {
            *index += 1;
        }
        self
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Key of the last step that is one.
    pub fn last_key(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_ref()),
            Step::Index(_) => None,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Key(key) if key.contains(['.', '/', '[', ' ']) || key.is_empty() => {
                    write!(formatter, "[{key:?}]")?;
                }
                Step::Key(key) if position == 0 => formatter.write_str(key)?,
                Step::Key(key) => write!(formatter, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let path = Path::spec().key("schedules").index(2).key("labels").entry("example.org/team");
        assert_eq!(path.to_string(), "spec.schedules[2].labels[\"example.org/team\"]");
        assert_eq!(path.last_key(), Some("example.org/team"));
    }
}
