//! Quotes what the YAML crate writes bare although readers of YAML 1.1 do not take it for text.
//!
//! In: a document as the crate writes it: block style, a scalar on one line. There a bare word of the kinds below can only
//! have been a text, because booleans are written `true` and `false` and numbers in decimal digits; so nothing but the quotes
//! can change.

/// Appends the document with such words quoted.
pub(super) fn quote(document: &str, quoted: &mut String) {
    quoted.reserve(document.len());
    let mut block = None;
    for line in document.split_inclusive('\n') {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let indent = text.len() - text.trim_start_matches(' ').len();
        if block.is_some_and(|column| text.trim().is_empty() || indent > column) {
            quoted.push_str(line);
            continue;
        }
        block = quote_line(text, indent, quoted);
        quoted.push_str(&line[text.len()..]);
    }
}

/// Appends the line; gives the column below which a block scalar that begins here has its lines.
fn quote_line(text: &str, indent: usize, quoted: &mut String) -> Option<usize> {
    let mut column = indent;
    let mut parent = indent;
    while let Some(rest) = text[column..].strip_prefix("- ") {
        parent = column;
        column = text.len() - rest.len();
    }
    quoted.push_str(&text[..column]);
    let rest = &text[column..];
    let value = match key_length(rest) {
        None => rest,
        Some(length) => {
            parent = column;
            push_scalar(&rest[..length], quoted);
            let value = rest[length + 1..].trim_start_matches(' ');
            quoted.push_str(&rest[length..rest.len() - value.len()]);
            value
        }
    };
    push_scalar(value, quoted);
    value.starts_with(['|', '>']).then_some(parent)
}

/// How long the key is, where the text is a key and what belongs to it.
fn key_length(text: &str) -> Option<usize> {
    let ends_key = |at: usize| matches!(text.as_bytes().get(at + 1), None | Some(b' '));
    let begin = match text.as_bytes().first() {
        Some(quote @ (b'\'' | b'"')) => {
            let mut escaped = false;
            1 + text.bytes().skip(1).position(|byte| {
                let end = byte == *quote && !escaped;
                escaped = byte == b'\\' && *quote == b'"' && !escaped;
                end
            })?
        }
        _ => 0,
    };
    text.bytes().enumerate().skip(begin).find(|(at, byte)| *byte == b':' && ends_key(*at)).map(|(at, _)| at)
}

fn push_scalar(scalar: &str, quoted: &mut String) {
    if is_misread(scalar) {
        quoted.extend(["'", scalar, "'"]);
    } else {
        quoted.push_str(scalar);
    }
}

/// Booleans, numbers with `_` or `:` in them, numbers of other bases, and dates (YAML 1.1, "Language-Independent Types").
pub(super) fn is_misread(word: &str) -> bool {
    let boolean = ["y", "n", "yes", "no", "on", "off"].iter().any(|known| known.eq_ignore_ascii_case(word));
    let unsigned = word.trim_start_matches(['+', '-']);
    let other_base = ["0x", "0o", "0b"]
        .iter()
        .filter_map(|prefix| unsigned.strip_prefix(prefix))
        .any(|digits| digits.chars().all(|char| char.is_ascii_hexdigit() || char == '_'));
    let numeric = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned.contains(['_', ':', '-'])
        && unsigned.chars().all(|char| char.is_ascii_digit() || "_:.-TZtz +".contains(char));
    boolean || other_base || numeric
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    fn quote(document: &str) -> String {
        let mut quoted = String::new();
        super::quote(document, &mut quoted);
        quoted
    }

    #[test]
    fn words_that_older_readers_take_for_booleans_or_numbers_are_quoted_as_keys_and_values() {
        let document = "n: yes\nlist:\n- off\n- - 1:30\n- key: 1_000\n  'quoted: key': 0b11\nday: 2026-11-23\nplain: yesterday\n";
        let expected = "'n': 'yes'\nlist:\n- 'off'\n- - '1:30'\n- key: '1_000'\n  'quoted: key': '0b11'\nday: '2026-11-23'\nplain: yesterday\n";
        assert_eq!(quote(document), expected);
    }

    #[test]
    fn what_is_no_text_and_what_stands_in_a_block_stays() {
        let document = "a: true\nb: -12.5e3\nc: null\nd: 'n'\nrules: |\n  n: yes\n\n  - off\nafter: '0'\n- |-\n  on\nimage: busybox:1.36\n";
        assert_eq!(quote(document), document);
    }

    #[test]
    fn a_document_means_the_same_as_before() {
        let value = json!({"n": ["y", "No", "12:30:45", "0x1F", "a: b", "- c", "#", "", " ", "n\nyes\n", {"on": "off", "k": "x: |"}],
            "number": 5, "flag": false, "none": null, "multi": {"line": "a: n\n  b: yes\n", "next": "n"}});
        let text = super::super::to_string(&value).unwrap();
        assert_eq!(super::super::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
