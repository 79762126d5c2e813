//! A file's text into documents, so that a broken one can be reported without losing the others.

/// The text of one document, and how many lines of the file stand before it.
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    pub(super) lines_before: u32,
}

/// Cuts before each line that starts a document. YAML allows `---` at the start of a line nowhere else.
pub(super) fn split(text: &str) -> Vec<Chunk<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    let mut start = Start { offset: 0, line: 0 };
    let mut only_directives = true;
    let mut offset = 0;
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        let marker = is_marker(line);
        if marker && !only_directives {
            chunks.push(Chunk { text: &text[start.offset..offset], lines_before: start.line });
            start = Start { offset, line: u32::try_from(line_number).unwrap_or(u32::MAX) };
        }
        // Directives belong to the document whose `---` follows them.
        only_directives = !marker && only_directives && is_before_document(line);
        if !marker && line.trim_end() == "..." {
            offset += line.len();
            chunks.push(Chunk { text: &text[start.offset..offset], lines_before: start.line });
            start = Start { offset, line: u32::try_from(line_number + 1).unwrap_or(u32::MAX) };
            only_directives = true;
            continue;
        }
        offset += line.len();
    }
    if start.offset < text.len() {
        chunks.push(Chunk { text: &text[start.offset..], lines_before: start.line });
    }
    chunks
}

struct Start {
    offset: usize,
    line: u32,
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_before_document(line: &str) -> bool {
    let trimmed = line.trim();
    trimmed.is_empty() || trimmed.starts_with('#') || line.starts_with('%')
}
