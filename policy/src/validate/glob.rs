//! Globs of namespaces and resources: whether they can match anything, and what they match.

/// Why no namespace's name can match.
pub(crate) fn namespace(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("is empty".to_owned());
    }
    if pattern.contains("**") {
        return Err("has `**`, which Velero refuses: write `*`".to_owned());
    }
    if let Some(character) = pattern.chars().find(|character| "|()!{},".contains(*character)) {
        return Err(format!("has `{character}`, which Velero refuses in namespaces"));
    }
    if pattern.contains('/') {
        return Err("has a `/`: it is the name of a namespace alone".to_owned());
    }
    classes(pattern)?;
    let plain = strip_classes(pattern);
    if let Some(character) = plain.chars().find(|character| character.is_uppercase()) {
        return Err(format!(
            "can't match a namespace: names have no `{character}`, all letters are lower-case"
        ));
    }
    let legal = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "-*?".contains(character)
    };
    if let Some(character) = plain.chars().find(|character| !legal(*character)) {
        return Err(format!("can't match a namespace: names have no `{character}`"));
    }
    if plain.starts_with('-') || plain.ends_with('-') {
        return Err("can't match a namespace: names start and end with a letter or digit".to_owned());
    }
    if plain.chars().filter(|character| *character != '*').count() > 63 {
        return Err("can't match a namespace: names have 63 characters at most".to_owned());
    }
    Ok(())
}

/// Why no resource can match.
pub(super) fn resource(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("is empty".to_owned());
    }
    if let Some(character) =
        pattern.chars().find(|character| character.is_whitespace() || "_/:".contains(*character))
    {
        let shown = if character.is_whitespace() { "spaces".to_owned() } else { format!("`{character}`") };
        let hint = if character == '/' { ": write resource.group, as in deployments.apps" } else { "" };
        return Err(format!("can't match a resource: names have no {shown}{hint}"));
    }
    classes(pattern)
}

fn classes(pattern: &str) -> Result<(), String> {
    let mut open = None;
    for (position, character) in pattern.char_indices() {
        match (character, open) {
            ('[', None) => open = Some(position),
            ('[', Some(_)) => return Err("has a `[` inside of brackets".to_owned()),
            (']', Some(start)) if position == start + 1 => return Err("has empty brackets".to_owned()),
            (']', Some(_)) => open = None,
            (']', None) => return Err("has a `]` without `[`".to_owned()),
            _ => {}
        }
    }
    if open.is_some() { Err("has a `[` without `]`".to_owned()) } else { Ok(()) }
}

/// Each bracket expression as one `?`.
fn strip_classes(pattern: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in pattern.chars() {
        match character {
            '[' => {
                inside = true;
                plain.push('?');
            }
            ']' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    plain
}

/// Whether two globs may match one and the same name. Brackets count as any character.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let one: Vec<char> = strip_classes(one).chars().collect();
    let other: Vec<char> = strip_classes(other).chars().collect();
    // reachable[j]: the prefixes of `one` so far and of `other` of length j can match one text.
    let mut reachable = vec![false; other.len() + 1];
    reachable[0] = true;
    for (index, character) in other.iter().enumerate() {
        reachable[index + 1] = reachable[index] && *character == '*';
    }
    for left in &one {
        let mut next = vec![false; other.len() + 1];
        next[0] = reachable[0] && *left == '*';
        for (index, right) in other.iter().enumerate() {
            next[index + 1] = if *left == '*' || *right == '*' {
                reachable[index + 1] || next[index] || reachable[index]
            } else {
                reachable[index] && (*left == '?' || *right == '?' || left == right)
            };
        }
        // A star on the other side also swallows this character.
        for (index, right) in other.iter().enumerate() {
            if *right == '*' && reachable[index + 1] {
                next[index + 1] = true;
            }
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or_default()
}

/// Whether every name that `inner` matches is matched by `outer`, as far as that is easily told.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    if outer == "*" || outer == inner {
        return true;
    }
    if !outer.contains(['*', '?', '[']) {
        return false;
    }
    // A wildcard of `inner` is one character to `outer`, which only a star takes; and a star takes whatever stands there.
    let only_stars = !outer.contains(['?', '[']) && !inner.contains('[');
    let is_glob = inner.contains(['*', '?', '[']);
    if only_stars {
        return stars_match(outer, inner);
    }
    !is_glob
        && globset::GlobBuilder::new(outer)
            .literal_separator(false)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(inner))
}

/// Whether a text is one that a pattern without other wildcards than `*` matches.
fn stars_match(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(position) = rest.find(part) else { return false };
        rest = &rest[position + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_covers_another_where_every_name_is_matched() {
        for (outer, inner, expected) in [
            ("*", "s*", true),
            ("shop-*", "shop-eu", true),
            ("shop-*", "shop-eu-*", true),
            ("shop-*", "shop-?", true),
            ("shop-*", "shop*", false),
            ("shop-*", "s*", false),
            ("shop-?", "shop-*", false),
            ("shop-?", "shop-?", true),
            ("shop-*a*", "shop-[ab]", false),
            ("*-db", "*", false),
            ("a*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "acb", false),
            ("shop", "shop-*", false),
            ("shop-[ab]", "shop-a", true),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn globs_overlap_where_one_name_matches_both() {
        for (one, other, expected) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("shop-*", "shop-eu", true),
            ("shop-*", "*-eu", true),
            ("shop-*", "store-*", false),
            ("*", "", true),
            ("a*b", "a*c", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[ab]x", "bx", true),
            ("*a*", "*b*", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} and {other}");
            assert_eq!(overlap(other, one), expected, "{other} and {one}");
        }
    }

    #[test]
    fn a_pattern_that_can_match_nothing_says_why() {
        assert!(namespace("shop-*").is_ok());
        assert!(namespace("[a-c]?-x").is_ok());
        assert_eq!(
            namespace("Shop-*").unwrap_err(),
            "can't match a namespace: names have no `S`, all letters are lower-case"
        );
        assert!(namespace("shop_eu").is_err());
        assert!(namespace("shop[").is_err());
        assert!(namespace("-shop").is_err());
        assert!(namespace("{a,b}").is_err());
        assert!(resource("deployments.apps").is_ok());
        assert!(resource("apps/deployments").is_err());
    }
}
