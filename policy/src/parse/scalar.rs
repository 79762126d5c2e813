//! What a plain scalar is: YAML 1.2's core schema, in the reading of the YAML crate.

use serde_json::Number;

use super::node::Content;

/// Null, a boolean, a number, or text.
pub(super) fn resolve(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    let may_be_number =
        text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
    if may_be_number && let Some(number) = number(text) {
        return Content::Number(number);
    }
    Content::Text(text.to_owned())
}

pub(super) fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return integer(negative, rest, radix);
        }
    }
    // Leading zeros make text of what would otherwise be read in two ways.
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(integer) = integer(negative, digits, 10) {
        return Some(integer);
    }
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let float: f64 = digits.parse().ok()?;
    Number::from_f64(if negative { -float } else { float })
}

fn integer(negative: bool, digits: &str, radix: u32) -> Option<Number> {
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if negative {
        let value = i64::from_str_radix(&format!("-{digits}"), radix).ok()?;
        Some(if value == 0 { Number::from(0) } else { Number::from(value) })
    } else {
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    }
}
