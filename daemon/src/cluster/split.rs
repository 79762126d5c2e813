//! Splits the body of a LIST answer into its items while it arrives, so that a page of large objects is never
//! in memory as a whole. Takes the body piece by piece, gives each item's bytes, and at the end the list's
//! metadata. What an item holds is left to its reader, which also rejects what is not JSON.

use memchr::memchr2;
use serde::Deserialize;

/// What a list says about itself.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMetadata {
    /// Asks for the next page; empty on the last.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
    /// How many objects follow this page, where the server knows.
    pub(super) remaining_item_count: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the list ends in the middle")]
    Unfinished,
    #[error("the list's metadata cannot be read")]
    Metadata(#[source] serde_json::Error),
}

/// Where in the outermost object the scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Before a key, or in it.
    Key,
    Metadata,
    Items,
    Other,
}

#[derive(Debug)]
pub(super) struct Splitter {
    /// What was received and is not yet behind the last complete item.
    buffer: Vec<u8>,
    /// Everything before this index of the buffer has been looked at.
    scanned: usize,
    depth: usize,
    member: Member,
    /// Start of the string that the scan is in.
    string: Option<usize>,
    /// Start of the item, or of the list's metadata, that the scan is in.
    element: Option<usize>,
    metadata: Vec<u8>,
}

/// Depth of what stands directly in the outermost object.
const TOP: usize = 1;
/// Depth inside the array of items.
const IN_ITEMS: usize = 2;

impl Splitter {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            scanned: 0,
            depth: 0,
            member: Member::Key,
            string: None,
            element: None,
            metadata: Vec::new(),
        }
    }

    /// Takes the next piece and gives each item that it completes.
    pub(super) fn push<E>(
        &mut self,
        piece: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.extend_from_slice(piece);
        while self.scanned < self.buffer.len() {
            if self.string.is_some() {
                if !self.skip_string() {
                    break;
                }
                continue;
            }
            let at = self.scanned;
            self.scanned += 1;
            match self.buffer[at] {
                b'"' => self.string = Some(at),
                b'{' | b'[' => self.open(at),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if let Some(start) = self.complete() {
                        item(&self.buffer[start..=at])?;
                    }
                }
                b',' if self.depth == TOP => self.member = Member::Key,
                _ => {}
            }
        }
        self.forget();
        Ok(())
    }

    /// The list's metadata, when the list was complete.
    pub(super) fn finish(self) -> Result<ListMetadata, Error> {
        let complete = self.depth == 0 && self.string.is_none() && self.member != Member::Key;
        if !complete {
            return Err(Error::Unfinished);
        }
        if self.metadata.is_empty() {
            return Ok(ListMetadata::default());
        }
        serde_json::from_slice(&self.metadata).map_err(Error::Metadata)
    }

    fn open(&mut self, at: usize) {
        let starts_element = match self.member {
            Member::Metadata => self.depth == TOP,
            Member::Items => self.depth == IN_ITEMS,
            Member::Key | Member::Other => false,
        };
        if starts_element {
            self.element = Some(at);
        }
        self.depth += 1;
    }

    /// After a closing bracket: the start of the item that it ended.
    fn complete(&mut self) -> Option<usize> {
        match self.member {
            Member::Metadata if self.depth == TOP => {
                if let Some(start) = self.element.take() {
                    self.metadata = self.buffer[start..self.scanned].to_vec();
                }
                None
            }
            Member::Items if self.depth == IN_ITEMS => self.element.take(),
            Member::Key | Member::Metadata | Member::Items | Member::Other => None,
        }
    }

    /// Moves behind the string's end; false when the end has not arrived yet.
    fn skip_string(&mut self) -> bool {
        let Some(start) = self.string else { return true };
        let from = self.scanned.max(start + 1);
        let Some(found) = memchr2(b'"', b'\\', &self.buffer[from..]) else {
            self.scanned = self.buffer.len();
            return false;
        };
        let at = from + found;
        if self.buffer[at] == b'\\' {
            if at + 1 == self.buffer.len() {
                // The escaped character is in the next piece.
                self.scanned = at;
                return false;
            }
            self.scanned = at + 2;
            return true;
        }
        self.scanned = at + 1;
        self.string = None;
        if self.depth == TOP && self.member == Member::Key {
            self.member = match &self.buffer[start + 1..at] {
                b"metadata" => Member::Metadata,
                b"items" => Member::Items,
                _ => Member::Other,
            };
        }
        true
    }

    /// Drops what is behind the scan and not part of an element or a key.
    fn forget(&mut self) {
        let keep = self.element.or(self.string).unwrap_or(self.scanned);
        if keep == 0 {
            return;
        }
        self.buffer.drain(..keep);
        self.scanned -= keep;
        self.element = self.element.map(|start| start - keep);
        self.string = self.string.map(|start| start - keep);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use pretty_assertions::assert_eq;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(text: &str, sizes: &[usize]) -> Result<(Vec<Value>, ListMetadata), Error> {
        let mut splitter = Splitter::new();
        let mut items = Vec::new();
        let mut rest = text.as_bytes();
        let mut sizes = sizes.iter().copied().cycle();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
            splitter
                .push(piece, |item| {
                    items.push(serde_json::from_slice(item).unwrap());
                    Ok::<_, Infallible>(())
                })
                .unwrap();
            rest = tail;
        }
        Ok((items, splitter.finish()?))
    }

    fn next(token: &str) -> ListMetadata {
        ListMetadata { next: Some(token.into()), remaining_item_count: Some(7) }
    }

    #[test]
    fn metadata_may_stand_before_or_behind_the_items() {
        let metadata = r#""metadata":{"resourceVersion":"1","continue":"abc","remainingItemCount":7}"#;
        let items = r#""items":[{"a":{"items":[{}]}},{"b":[[],{}]}]"#;
        let expected = (vec![json!({"a": {"items": [{}]}}), json!({"b": [[], {}]})], next("abc"));
        for text in [
            format!(r#"{{"kind":"PodList","apiVersion":"v1",{metadata},{items}}}"#),
            format!(r#"{{"apiVersion":"v1",{items},"kind":"List",{metadata}}}"#),
            format!("{{ {items} ,\n {metadata} }}\n"),
        ] {
            assert_eq!(split(&text, &[]).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn strings_hide_brackets_quotes_and_names() {
        let text =
            r#"{"kind":"items","metadata":{"continue":"x\"}"},"items":[{"a":"]}\\"},{"metadata":"\"{["}]}"#;
        let (items, metadata) = split(text, &[]).unwrap();
        assert_eq!(items, [json!({"a": "]}\\"}), json!({"metadata": "\"{["})]);
        assert_eq!(metadata.next.as_deref(), Some("x\"}"));
    }

    #[test]
    fn an_empty_list_may_be_null() {
        for items in ["null", "[]"] {
            let text = format!(r#"{{"metadata":{{}},"items":{items}}}"#);
            assert_eq!(split(&text, &[]).unwrap(), (vec![], ListMetadata::default()));
        }
    }

    #[test]
    fn a_list_that_breaks_off_is_an_error() {
        let text = r#"{"metadata":{},"items":[{"a":1},{"b":2}]}"#;
        for end in 0..text.len() {
            assert!(matches!(split(&text[..end], &[]), Err(Error::Unfinished)), "{}", &text[..end]);
        }
    }

    #[test]
    fn memory_holds_one_item_and_not_the_page() {
        let item = format!(r#"{{"data":"{}"}}"#, "x".repeat(1000));
        let mut splitter = Splitter::new();
        let mut found = 0;
        let mut push = |splitter: &mut Splitter, text: &str| {
            splitter
                .push(text.as_bytes(), |_| {
                    found += 1;
                    Ok::<_, Infallible>(())
                })
                .unwrap();
            assert!(splitter.buffer.len() < 1200);
        };
        push(&mut splitter, r#"{"metadata":{},"items":["#);
        for _ in 0..5_000 {
            push(&mut splitter, &item);
            push(&mut splitter, ",");
        }
        push(&mut splitter, &item);
        push(&mut splitter, "]}");
        assert_eq!(found, 5_001);
        assert!(splitter.buffer.capacity() < 10_000);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]:,é\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\{]{0,5}|items|metadata", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-z]{0,5}|items|metadata", value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn any_list_in_any_pieces_gives_its_items(
            items in prop::collection::vec(object(), 0..5),
            other in value(),
            sizes in prop::collection::vec(1_usize..40, 1..6),
        ) {
            let list = json!({"a": other, "items": items, "kind": other, "metadata": {"continue": "token"}});
            let (found, metadata) = split(&list.to_string(), &sizes).unwrap();
            prop_assert_eq!(found, items);
            prop_assert_eq!(metadata.next.as_deref(), Some("token"));
        }
    }
}
