//! Hooks: which commands are to run in which pods around a backup or after a restore, and running them.
//!
//! The rules are pure: they take a spec and a pod and give the hooks that are due, in order. [`exec`] runs one command
//! by the pods/exec subresource. When that is, and what a failure means for the pod, is left to the engine.

pub mod backup;
pub mod exec;
mod pod;
pub mod restore;
mod selector;
mod tally;
mod turns;

pub use pod::Pod;
pub use selector::Error;
pub use tally::{Counts, Tally};
pub use turns::{Turn, Turns};

/// The name under which a hook of a pod's annotations goes.
pub const FROM_ANNOTATION: &str = "<from-annotation>";

/// Where a hook is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Annotation,
    Spec,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Spec => "spec",
        }
    }
}

/// The command in an annotation: a JSON array of words, or else one word. There is no shell around it.
fn command(text: &str) -> Vec<String> {
    let words = if text.starts_with('[') { serde_json::from_str(text).ok() } else { None };
    words.unwrap_or_else(|| vec![text.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_json_array_or_one_word() {
        let table: [(&str, &[&str]); 6] = [
            (r#"["/bin/sh", "-c", "sync; sync"]"#, &["/bin/sh", "-c", "sync; sync"]),
            ("/bin/sync", &["/bin/sync"]),
            ("/bin/sh -c sync", &["/bin/sh -c sync"]),
            (r#"["/bin/sh", 7]"#, &[r#"["/bin/sh", 7]"#]),
            ("[broken", &["[broken"]),
            ("[]", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(command(text), expected, "{text}");
        }
    }
}
