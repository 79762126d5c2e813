//! Reads a directory of policy files, or a single one, as it was at one moment.
//!
//! In: a path. Out: a [`Reading`]. Folders are read recursively; `*.yaml` and `*.yml` count, except for
//! `*_test.yaml` (the cases of `holdfast test`) and kustomize's own file. Hidden names are passed over, which covers
//! editors' temporary files and the `..data` of a mounted ConfigMap; the links of such a mount are followed, links
//! that leave the directory are not. When to read again is `watch`'s matter, what the text means the policy crate's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use holdfast_policy::parse::SourceFile;

use super::git;
use super::source::{Reading, SourceProblem, SourceSnapshot};

/// A tree larger than this is taken for a mistake, not for policies.
const LIMITS: Limits = Limits { file_bytes: 16 << 20, total_bytes: 128 << 20, files: 50_000, depth: 32 };

#[derive(Debug, Clone, Copy)]
struct Limits {
    file_bytes: u64,
    total_bytes: u64,
    files: usize,
    depth: usize,
}

/// How often a directory that changes under the reader is read before it is called unsettled.
const ATTEMPTS: usize = 10;

/// A file that will be read, with what tells that it has changed since.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    shown: PathBuf,
    real: PathBuf,
    stamp: Stamp,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

#[derive(Default, Debug)]
struct Survey {
    files: Vec<Found>,
    folders: BTreeSet<PathBuf>,
}

/// Which files of a directory are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Policies,
    /// The cases of `holdfast test`.
    Tests,
}

impl Wanted {
    fn takes(self, path: &Path) -> bool {
        match self {
            Wanted::Policies => is_policy_file(path),
            Wanted::Tests => holdfast_policy::is_test_file(&path.to_string_lossy()),
        }
    }
}

/// Reads the files of tests below `path`, of which there may be none. Blocks.
pub fn read_tests(path: &Path) -> Result<Vec<SourceFile>, SourceProblem> {
    let look = Look { path, wanted: Wanted::Tests, settle: Duration::ZERO, limits: LIMITS };
    match read_settled(look, &mut BTreeSet::new()) {
        Ok(snapshot) => Ok(snapshot.files),
        Err(SourceProblem::Empty { .. }) => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

/// Reads everything below `path`. Two looks at the tree, `settle` apart and with the reading between them, must agree,
/// so that a file half written is not taken for a whole one. Blocks.
pub fn read(path: &Path, settle: Duration) -> Reading {
    let mut folders = BTreeSet::new();
    let look = Look { path, wanted: Wanted::Policies, settle, limits: LIMITS };
    let outcome = read_settled(look, &mut folders);
    Reading { outcome, folders }
}

/// What is looked at, and how.
#[derive(Clone, Copy)]
struct Look<'a> {
    path: &'a Path,
    wanted: Wanted,
    settle: Duration,
    limits: Limits,
}

fn read_settled(look: Look<'_>, folders: &mut BTreeSet<PathBuf>) -> Result<SourceSnapshot, SourceProblem> {
    let path = look.path;
    let mut latest = SourceProblem::Unsettled { path: path.to_owned() };
    for _ in 0..ATTEMPTS {
        match read_once(look, folders) {
            Ok(Some(files)) if files.is_empty() => {
                return Err(SourceProblem::Empty { path: path.to_owned() });
            }
            Ok(Some(files)) => return Ok(SourceSnapshot::new(files).at_commit(git::revision(path))),
            Ok(None) => latest = SourceProblem::Unsettled { path: path.to_owned() },
            // These two are also what a switch of `..data` looks like from the inside.
            Err(problem @ SourceProblem::DanglingLink { .. }) => {
                latest = problem;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(SourceProblem::Unreadable { path, source }) if source.kind() == ErrorKind::NotFound => {
                latest = SourceProblem::Unreadable { path, source };
            }
            Err(problem) => return Err(problem),
        }
    }
    Err(latest)
}

/// `None` when the tree changed meanwhile.
fn read_once(
    look: Look<'_>,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<Option<Vec<SourceFile>>, SourceProblem> {
    let Look { path, wanted: _, settle, limits } = look;
    let before = survey(look, folders)?;
    let mut files = Vec::with_capacity(before.files.len());
    let mut total = 0;
    for found in &before.files {
        let text = read_text(found, limits)?;
        total += text.len() as u64;
        if total > limits.total_bytes {
            return Err(SourceProblem::TooLarge { path: path.to_owned(), limit: limits.total_bytes });
        }
        files.push(SourceFile { name: found.shown.to_string_lossy().into_owned(), text });
    }
    if !settle.is_zero() {
        std::thread::sleep(settle);
    }
    let after = survey(look, folders)?;
    Ok((before.files == after.files).then_some(files))
}

fn read_text(found: &Found, limits: Limits) -> Result<String, SourceProblem> {
    let unreadable = |source| SourceProblem::Unreadable { path: found.shown.clone(), source };
    let mut bytes = Vec::with_capacity(usize::try_from(found.stamp.bytes).unwrap_or(0));
    let file = fs::File::open(&found.real).map_err(unreadable)?;
    file.take(limits.file_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(SourceProblem::FileTooLarge { path: found.shown.clone(), limit: limits.file_bytes });
    }
    String::from_utf8(bytes).map_err(|_| SourceProblem::NotText { path: found.shown.clone() })
}

fn survey(look: Look<'_>, folders: &mut BTreeSet<PathBuf>) -> Result<Survey, SourceProblem> {
    let Look { path, wanted, settle: _, limits } = look;
    let root = fs::canonicalize(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => SourceProblem::Missing { path: path.to_owned() },
        _ => SourceProblem::Unreadable { path: path.to_owned(), source },
    })?;
    let mut walk = Walk { root: &root, wanted, limits, seen: BTreeSet::new(), survey: Survey::default() };
    let outcome = if root.is_dir() {
        walk.folder(&root, path, 0)
    } else {
        // A file that was named outright is read whatever it is called.
        walk.file(path.to_owned(), root.clone())
    };
    folders.append(&mut walk.survey.folders);
    outcome.map(|()| walk.survey)
}

struct Walk<'a> {
    root: &'a Path,
    wanted: Wanted,
    limits: Limits,
    /// Real paths met so far: what can be reached in two ways counts once, and loops end.
    seen: BTreeSet<PathBuf>,
    survey: Survey,
}

impl Walk<'_> {
    fn folder(&mut self, real: &Path, shown: &Path, depth: usize) -> Result<(), SourceProblem> {
        if !self.seen.insert(real.to_owned()) {
            return Ok(());
        }
        let limit = self.limits.depth;
        if depth > limit {
            return Err(SourceProblem::TooDeep { path: shown.to_owned(), limit });
        }
        self.survey.folders.insert(real.to_owned());
        let unreadable = |source| SourceProblem::Unreadable { path: shown.to_owned(), source };
        let mut entries =
            fs::read_dir(real).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let shown = shown.join(&name);
            let kind = entry
                .file_type()
                .map_err(|source| SourceProblem::Unreadable { path: shown.clone(), source })?;
            if kind.is_symlink() {
                self.link(&entry.path(), shown, depth)?;
            } else if kind.is_dir() {
                self.folder(&entry.path(), &shown, depth + 1)?;
            } else if kind.is_file() && self.wanted.takes(&shown) {
                self.file(shown, entry.path())?;
            }
        }
        Ok(())
    }

    fn link(&mut self, link: &Path, shown: PathBuf, depth: usize) -> Result<(), SourceProblem> {
        let unreadable = |shown: PathBuf, source| SourceProblem::Unreadable { path: shown, source };
        let real = match fs::canonicalize(link) {
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let target = fs::read_link(link).map_err(|source| unreadable(shown.clone(), source))?;
                let lost_policy = self.wanted.takes(&shown) && self.stays_inside(link, &target);
                return match lost_policy {
                    true => Err(SourceProblem::DanglingLink { path: shown, target }),
                    false => Ok(()),
                };
            }
            Err(source) => return Err(unreadable(shown, source)),
        };
        if !real.starts_with(self.root) {
            return Ok(());
        }
        let metadata = fs::metadata(&real).map_err(|source| unreadable(shown.clone(), source))?;
        if metadata.is_dir() {
            return self.folder(&real, &shown, depth + 1);
        }
        if metadata.is_file() && self.wanted.takes(&shown) {
            return self.file(shown, real);
        }
        Ok(())
    }

    fn file(&mut self, shown: PathBuf, real: PathBuf) -> Result<(), SourceProblem> {
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        let metadata = fs::metadata(&real)
            .map_err(|source| SourceProblem::Unreadable { path: shown.clone(), source })?;
        let Limits { file_bytes, total_bytes: _, files, depth: _ } = self.limits;
        if metadata.len() > file_bytes {
            return Err(SourceProblem::FileTooLarge { path: shown, limit: file_bytes });
        }
        if self.survey.files.len() == files {
            return Err(SourceProblem::TooManyFiles { path: self.root.to_owned(), limit: files });
        }
        if let Some(folder) = real.parent() {
            self.survey.folders.insert(folder.to_owned());
        }
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        self.survey.files.push(Found { shown, real, stamp });
        Ok(())
    }

    /// Whether the target of a link that leads nowhere would lie inside the tree.
    fn stays_inside(&self, link: &Path, target: &Path) -> bool {
        let mut resolved = link.parent().unwrap_or(self.root).to_owned();
        for component in target.components() {
            match component {
                Component::Prefix(_) | Component::RootDir => resolved = PathBuf::from("/"),
                Component::CurDir => {}
                Component::ParentDir => {
                    resolved.pop();
                }
                Component::Normal(name) => resolved.push(name),
            }
        }
        resolved.starts_with(self.root)
    }
}

/// Whether a name is one that policies are kept under.
pub fn is_policy_file(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    yaml && !stem.ends_with("_test") && stem != "kustomization"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn at(folder: &tempfile::TempDir, limits: Limits) -> Look<'_> {
        Look { path: folder.path(), wanted: Wanted::Policies, settle: Duration::ZERO, limits }
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let snapshot = read(folder.path(), Duration::ZERO).outcome.unwrap();
        let strip = |file: SourceFile| {
            let path = PathBuf::from(file.name);
            path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned()
        };
        snapshot.files.into_iter().map(strip).collect()
    }

    #[test]
    fn policy_files_are_found_in_every_folder_and_others_are_passed_over() {
        let folder = tree(&[
            ("b.yaml", "b"),
            ("a.yml", "a"),
            ("team/shop.yaml", "shop"),
            ("team/deeper/x.yaml", "x"),
            ("README.md", "no"),
            ("b.yaml~", "no"),
            ("#b.yaml#", "no"),
            (".b.yaml.swp", "no"),
            (".hidden.yaml", "no"),
            (".git/config.yaml", "no"),
            ("..2026/data.yaml", "no"),
            ("shop_test.yaml", "no"),
            ("kustomization.yaml", "no"),
            ("4913", "no"),
        ]);
        assert_eq!(names(&folder), ["a.yml", "b.yaml", "team/deeper/x.yaml", "team/shop.yaml"]);
    }

    #[test]
    fn a_mounted_config_map_is_read_through_its_links() {
        let folder = tree(&[("..2026_01/a.yaml", "old"), ("..2026_02/a.yaml", "new")]);
        symlink("..2026_01", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        let reading = read(folder.path(), Duration::ZERO);
        let before = reading.outcome.unwrap();
        assert_eq!(before.files[0].text, "old");
        assert!(reading.folders.contains(&folder.path().canonicalize().unwrap()));

        symlink("..2026_02", folder.path().join("..data_tmp")).unwrap();
        fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
        let after = read(folder.path(), Duration::ZERO).outcome.unwrap();
        assert_eq!(after.files[0].text, "new");
        assert_eq!(after.files[0].name, before.files[0].name);
        assert_ne!(after.revision, before.revision);
    }

    #[test]
    fn links_that_leave_the_tree_are_passed_over_and_loops_end() {
        let outside = tree(&[("secret.yaml", "no")]);
        let folder = tree(&[("team/a.yaml", "a")]);
        symlink(outside.path().join("secret.yaml"), folder.path().join("b.yaml")).unwrap();
        symlink(outside.path(), folder.path().join("other")).unwrap();
        symlink("/nowhere/at/all.yaml", folder.path().join("c.yaml")).unwrap();
        symlink(folder.path(), folder.path().join("team/loop")).unwrap();
        symlink("a.yaml", folder.path().join("team/twice.yaml")).unwrap();
        assert_eq!(names(&folder), ["team/a.yaml"]);
    }

    #[test]
    fn a_link_inside_the_tree_that_leads_nowhere_is_a_problem_and_not_a_removed_policy() {
        let folder = tree(&[("a.yaml", "a")]);
        symlink("..data/b.yaml", folder.path().join("b.yaml")).unwrap();
        let problem = read(folder.path(), Duration::ZERO).outcome.unwrap_err();
        assert!(matches!(problem, SourceProblem::DanglingLink { .. }), "{problem}");
    }

    #[test]
    fn a_missing_and_an_empty_directory_are_problems() {
        let folder = tree(&[("README.md", "no")]);
        let empty = read(folder.path(), Duration::ZERO).outcome.unwrap_err();
        assert!(matches!(empty, SourceProblem::Empty { .. }), "{empty}");
        let missing = read(&folder.path().join("none"), Duration::ZERO).outcome.unwrap_err();
        assert!(matches!(missing, SourceProblem::Missing { .. }), "{missing}");
    }

    #[test]
    fn a_file_is_read_by_its_own_name_whatever_it_is_called() {
        let folder = tree(&[("policy.txt", "text")]);
        let path = folder.path().join("policy.txt");
        let snapshot = read(&path, Duration::ZERO).outcome.unwrap();
        assert_eq!(snapshot.files[0].name, path.to_string_lossy());
    }

    #[test]
    fn bytes_that_are_no_text_and_files_beyond_bounds_are_problems() {
        let folder = tree(&[]);
        fs::write(folder.path().join("a.yaml"), [0xff, 0xfe]).unwrap();
        let problem = read(folder.path(), Duration::ZERO).outcome.unwrap_err();
        assert!(matches!(problem, SourceProblem::NotText { .. }), "{problem}");

        fs::File::create(folder.path().join("a.yaml")).unwrap().set_len(LIMITS.file_bytes + 1).unwrap();
        let problem = read(folder.path(), Duration::ZERO).outcome.unwrap_err();
        assert!(matches!(problem, SourceProblem::FileTooLarge { .. }), "{problem}");
    }

    #[test]
    fn a_file_written_between_two_looks_makes_them_differ() {
        let folder = tree(&[("a.yaml", "first"), ("b.yaml", "other")]);
        let look = || survey(at(&folder, LIMITS), &mut BTreeSet::new()).unwrap().files;
        let before = look();
        assert_eq!(before, look());
        fs::write(folder.path().join("a.yaml"), "second, and longer").unwrap();
        assert_ne!(before, look());
    }

    #[test]
    fn every_size_is_bounded() {
        let folder = tree(&[("a.yaml", "12345"), ("b.yaml", "678"), ("deep/er/c.yaml", "9")]);
        let read = |limits| read_settled(at(&folder, limits), &mut BTreeSet::new());
        let fits = Limits { file_bytes: 5, total_bytes: 9, files: 3, depth: 2 };
        assert_eq!(read(fits).unwrap().files.len(), 3);
        let told = |limits| read(limits).unwrap_err();
        let problem = told(Limits { file_bytes: 4, ..fits });
        assert!(matches!(problem, SourceProblem::FileTooLarge { limit: 4, .. }), "{problem}");
        let problem = told(Limits { total_bytes: 8, ..fits });
        assert!(matches!(problem, SourceProblem::TooLarge { limit: 8, .. }), "{problem}");
        let problem = told(Limits { files: 2, ..fits });
        assert!(matches!(problem, SourceProblem::TooManyFiles { limit: 2, .. }), "{problem}");
        let problem = told(Limits { depth: 1, ..fits });
        assert!(matches!(problem, SourceProblem::TooDeep { limit: 1, .. }), "{problem}");
    }

    #[test]
    fn the_files_of_a_reading_come_from_one_moment() {
        let folder = tree(&[("..0/a.yaml", "0"), ("..0/b.yaml", "0")]);
        symlink("..0", folder.path().join("..data")).unwrap();
        for name in ["a.yaml", "b.yaml"] {
            symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
        }
        std::thread::scope(|scope| {
            // As kubelet does it: a new folder, the switch, the old folder removed.
            let switches = scope.spawn(|| {
                for number in 1..100 {
                    let new = folder.path().join(format!("..{number}"));
                    fs::create_dir(&new).unwrap();
                    for name in ["a.yaml", "b.yaml"] {
                        fs::write(new.join(name), number.to_string()).unwrap();
                    }
                    let link = folder.path().join("..data_tmp");
                    symlink(new.file_name().unwrap(), &link).unwrap();
                    fs::rename(link, folder.path().join("..data")).unwrap();
                    fs::remove_dir_all(folder.path().join(format!("..{}", number - 1))).unwrap();
                }
            });
            while !switches.is_finished() {
                // A directory that never rests is told as that.
                if let Ok(snapshot) = read(folder.path(), Duration::ZERO).outcome {
                    let [a, b] = snapshot.files.as_slice() else { panic!("{:?}", snapshot.files) };
                    assert_eq!(a.text, b.text);
                }
            }
        });
        assert_eq!(read(folder.path(), Duration::ZERO).outcome.unwrap().files[1].text, "99");
    }

    #[test]
    fn tests_of_policies_are_read_apart_from_policies() {
        let folder =
            tree(&[("a.yaml", "a"), ("team/a_test.yaml", "t"), ("b_test.yml", "u"), (".c_test.yaml", "no")]);
        assert_eq!(names(&folder), ["a.yaml"]);
        let texts: Vec<String> =
            read_tests(folder.path()).unwrap().into_iter().map(|file| file.text).collect();
        assert_eq!(texts, ["u", "t"]);
        assert_eq!(read_tests(tree(&[("a.yaml", "a")]).path()).unwrap(), []);
    }
}
