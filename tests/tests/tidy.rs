//! The shape of the code itself: arrows point down, every file is compiled, the pure crate stays pure, files stay short.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each module of the daemon may use (ARCHITECTURE.md, "Layers"); `*` is everything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("causes", &[]),
    ("clock", &[]),
    ("rights", &[]),
    ("install", &["rights"]),
    ("store", &["causes", "clock"]),
    ("archive", &["causes", "clock"]),
    ("cluster", &["causes", "clock"]),
    ("downloads", &["causes", "clock", "store"]),
    ("repository", &["causes", "clock", "store"]),
    ("snapshotters", &["causes", "clock", "store", "repository"]),
    ("hooks", &["causes", "clock", "cluster"]),
    ("actions", &["causes", "clock", "store", "archive", "cluster", "hooks"]),
    (
        "engine",
        &["causes", "clock", "store", "archive", "cluster", "hooks", "actions", "repository", "snapshotters"],
    ),
    (
        "controllers",
        &[
            "causes",
            "clock",
            "store",
            "archive",
            "cluster",
            "hooks",
            "actions",
            "engine",
            "downloads",
            "repository",
        ],
    ),
    ("node_agent", &["causes", "clock", "store", "cluster", "engine", "repository", "controllers"]),
    ("publish", &["causes", "clock", "store", "archive", "cluster"]),
    ("metrics", &["causes", "clock", "controllers", "overview"]),
    ("overview", &["causes", "clock", "controllers", "intake"]),
    ("web", &["causes", "clock", "cluster", "engine", "controllers", "overview"]),
    ("intake", &["*"]),
    ("cli", &["*"]),
    ("app", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Lines before the tests of a file; at this size a file is split (house rule: 50 to 300).
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_path_buf()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of this checkout") {
            let path = entry.expect("an entry of a folder of this checkout").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn arrows_between_the_daemons_modules_point_down() {
    let sources = root().join("daemon/src");
    let mut wrong = Vec::new();
    for file in rust_files(&sources) {
        let relative = file.strip_prefix(&sources).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module {module} has no layer", relative.display()));
            continue;
        };
        if allowed.contains(&"*") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for line in without_tests(&text).filter(|line| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != module && !used.is_empty() && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{}: {module} may not use {used}", relative.display()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_source_file_is_reachable_from_a_crate_root() {
    for krate in ["policy", "daemon", "tests"] {
        let sources = root().join(krate).join("src");
        let binaries = sources.join("bin");
        let mut reached = BTreeSet::new();
        let mut open: Vec<PathBuf> = ["lib.rs", "main.rs"].iter().map(|name| sources.join(name)).collect();
        open.extend(rust_files(&sources).into_iter().filter(|file| file.parent() == Some(&binaries)));
        open.retain(|file| file.exists());
        while let Some(file) = open.pop() {
            let text = std::fs::read_to_string(&file).unwrap();
            let stem = file.file_stem().unwrap().to_str().unwrap();
            let folder = file.parent().unwrap();
            let is_root = matches!(stem, "lib" | "main") || folder == binaries;
            let below = if is_root { folder.to_path_buf() } else { folder.join(stem) };
            for line in text.lines().map(str::trim) {
                let line = line
                    .trim_start_matches("pub(crate) ")
                    .trim_start_matches("pub(super) ")
                    .trim_start_matches("pub ");
                if let Some(name) = line.strip_prefix("mod ").and_then(|name| name.strip_suffix(';')) {
                    open.push(below.join(format!("{name}.rs")));
                }
            }
            reached.insert(file);
        }
        let lost: Vec<PathBuf> =
            rust_files(&sources).into_iter().filter(|file| !reached.contains(file)).collect();
        assert_eq!(lost, Vec::<PathBuf>::new(), "files of crate {krate} that no mod line names");
    }
}

#[test]
fn the_policy_crate_depends_on_nothing_that_does_input_or_output() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--package", "holdfast-policy", "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for banned in
        ["tokio", "hyper", "reqwest", "kube-client", "notify", "object_store", "mio", "socket2", "rustls"]
    {
        assert!(!packages.contains(banned), "holdfast-policy depends on {banned}");
    }
}

#[test]
fn no_source_file_outgrows_what_one_can_read() {
    let mut long = Vec::new();
    for krate in ["policy", "daemon", "tests"] {
        for file in rust_files(&root().join(krate).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let lines = without_tests(&text).count();
            if lines > LONGEST_FILE {
                long.push(format!("{} has {lines} lines", file.display()));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new());
}
