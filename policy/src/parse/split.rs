//! A file's text into documents, so that a broken one can be reported without losing the others.

use std::ops::Range;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where the text of one document stands in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the file.
    pub(super) range: Range<usize>,
    pub(super) lines_before: u32,
}

/// Cuts before each line that starts a document. YAML allows `---` at the start of a line nowhere else.
pub(super) fn split(text: &str) -> Vec<Chunk> {
    let mark = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let mut chunks = Vec::new();
    let mut start = Start { offset: mark, line: 0 };
    let mut only_directives = true;
    let mut offset = mark;
    for (line_number, line) in text[mark..].split_inclusive('\n').enumerate() {
        let marker = is_marker(line);
        if marker && !only_directives {
            chunks.push(Chunk { range: start.offset..offset, lines_before: start.line });
            start = Start { offset, line: u32::try_from(line_number).unwrap_or(u32::MAX) };
        }
        // Directives belong to the document whose `---` follows them.
        only_directives = !marker && only_directives && is_before_document(line);
        if !marker && line.trim_end() == "..." {
            offset += line.len();
            chunks.push(Chunk { range: start.offset..offset, lines_before: start.line });
            start = Start { offset, line: u32::try_from(line_number + 1).unwrap_or(u32::MAX) };
            only_directives = true;
            continue;
        }
        offset += line.len();
    }
    if start.offset < text.len() {
        chunks.push(Chunk { range: start.offset..text.len(), lines_before: start.line });
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
