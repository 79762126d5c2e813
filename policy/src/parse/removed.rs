//! Parts of a document that are left out, so that the rest of it can still be checked.

use super::path::Path;

/// What was left out of a document, in the order in which it was, and how places of what remains are found again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Each as it stood when those before it were gone already.
    parts: Vec<Path>,
    /// What they stood in, as written.
    incomplete: Vec<Path>,
    /// Fields in whose place something else stands.
    replaced: Vec<Path>,
}

impl Removed {
    /// Notes that a part goes, whose path is that among what is left.
    pub fn note(&mut self, part: Path) {
        self.incomplete.push(self.as_written(&part.parent()));
        self.parts.push(part);
    }

    /// Notes a field outside of any list whose value is not the user's.
    pub fn replaced(&mut self, part: Path) {
        self.replaced.push(part);
    }

    /// The path in the user's text of what has this path among what is left.
    pub fn as_written(&self, path: &Path) -> Path {
        self.parts.iter().rev().fold(path.clone(), |path, part| path.before_removal_of(part))
    }

    /// Whether what stands at a path, as written, lacks something or is not the user's: what is said of it may not be
    /// true.
    pub fn touches(&self, path: &Path) -> bool {
        self.incomplete.iter().any(|incomplete| incomplete.steps().starts_with(path.steps()))
            || self.replaced.iter().any(|replaced| path.steps().starts_with(replaced.steps()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_among_what_is_left_are_found_again() {
        let list = Path::spec().key("schedules");
        let mut removed = Removed::default();
        removed.note(list.index(3).key("ttl"));
        removed.note(list.index(1));
        removed.note(list.index(1));
        removed.replaced(Path::spec().key("from"));
        let written = |index: usize| removed.as_written(&list.index(index).key("cron")).to_string();
        assert_eq!(written(0), "spec.schedules[0].cron");
        assert_eq!(written(1), "spec.schedules[3].cron");
        assert_eq!(written(2), "spec.schedules[4].cron");
        assert!(removed.touches(&Path::spec()));
        assert!(removed.touches(&list));
        assert!(removed.touches(&list.index(3)));
        assert!(!removed.touches(&list.index(4)));
        assert!(!removed.touches(&list.index(3).key("cron")));
        assert!(removed.touches(&Path::spec().key("from").key("backup")));
    }
}
