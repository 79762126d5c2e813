//! Whether two backups may run hooks in the same namespace, so that one would thaw what the other has just frozen.

use globset::Glob;
use holdfast_policy::velero::BackupSpec;

/// Errs on the side of "yes": namespaces are compared as they are written, and exclusions are not looked at.
pub(super) fn hooks_overlap(one: &BackupSpec, other: &BackupSpec) -> bool {
    if !meet(&one.included_namespaces, &other.included_namespaces) {
        return false;
    }
    one.hooks.resources.iter().any(|hook| {
        meet(&hook.included_namespaces, &other.included_namespaces)
            && other.hooks.resources.iter().any(|other_hook| {
                meet(&other_hook.included_namespaces, &one.included_namespaces)
                    && meet(&hook.included_namespaces, &other_hook.included_namespaces)
            })
    })
}

/// Whether some name may be in both lists, an empty one being all names.
fn meet(one: &[String], other: &[String]) -> bool {
    one.is_empty()
        || other.is_empty()
        || one.iter().any(|pattern| other.iter().any(|other| patterns_meet(pattern, other)))
}

fn patterns_meet(one: &str, other: &str) -> bool {
    match (is_glob(one), is_glob(other)) {
        (false, false) => one == other,
        (true, false) => matches(one, other),
        (false, true) => matches(other, one),
        (true, true) => true,
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

fn matches(pattern: &str, name: &str) -> bool {
    Glob::new(pattern).map_or(true, |glob| glob.compile_matcher().is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespaces: &[&str], hooks_in: Option<&[&str]>) -> BackupSpec {
        let hooks: Vec<_> = hooks_in
            .into_iter()
            .map(|namespaces| serde_json::json!({"name": "freeze", "includedNamespaces": namespaces}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "includedNamespaces": namespaces,
            "hooks": {"resources": hooks},
        }))
        .unwrap()
    }

    #[test]
    fn only_hooks_in_namespaces_of_both_overlap() {
        let cases = [
            (spec(&["*"], Some(&[])), spec(&[], Some(&["shop"])), true),
            (spec(&["*"], None), spec(&["*"], Some(&["shop"])), false),
            (spec(&["shop"], Some(&[])), spec(&["shop"], Some(&[])), true),
            (spec(&["shop"], Some(&[])), spec(&["blog"], Some(&[])), false),
            (spec(&["shop-*"], Some(&[])), spec(&["shop-eu"], Some(&[])), true),
            (spec(&["shop-*"], Some(&[])), spec(&["blog"], Some(&[])), false),
            (spec(&[], Some(&["shop"])), spec(&[], Some(&["blog"])), false),
            (spec(&["blog"], Some(&["shop"])), spec(&["blog"], Some(&["blog"])), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(hooks_overlap(&one, &other), expected, "{one:?} {other:?}");
            assert_eq!(hooks_overlap(&other, &one), expected, "{other:?} {one:?}");
        }
    }
}
