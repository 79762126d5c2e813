//! JSON patch (RFC 6902) on a tree of values, with indices counted from the end where they are negative.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Add { path: Pointer, value: Value },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Value },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Value },
}

/// A JSON pointer, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    All,
    TestFailed,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("there is nothing at {0:?}")]
    Missing(String),
    #[error("{0:?} is not a place in a list")]
    NotAnIndex(String),
    #[error("{0:?} leads into a value that has no parts")]
    NoParts(String),
}

impl Pointer {
    /// A path starts with a slash, or is empty for the whole document.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let tokens = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
            None if text.is_empty() => Vec::new(),
            None => return None,
        };
        Some(Self { text: text.to_owned(), tokens })
    }

    pub(crate) fn get<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.tokens.iter().try_fold(document, |value, token| match value {
            Value::Object(map) => map.get(token),
            Value::Array(list) => list.get(existing_index(token, list.len())?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// The value that holds what the pointer names, and the last token.
    fn parent<'a>(&self, document: &'a mut Value) -> Result<Option<(&'a mut Value, &str)>, Error> {
        let Some((last, parents)) = self.tokens.split_last() else { return Ok(None) };
        let mut value = document;
        for token in parents {
            value = match value {
                Value::Object(map) => map.get_mut(token),
                Value::Array(list) => {
                    let index = existing_index(token, list.len());
                    index.and_then(|index| list.get_mut(index))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            }
            .ok_or_else(|| self.missing())?;
        }
        Ok(Some((value, last)))
    }

    fn missing(&self) -> Error {
        Error::Missing(self.text.clone())
    }
}

fn existing_index(token: &str, length: usize) -> Option<usize> {
    let index = match token.strip_prefix('-') {
        Some(from_end) => length.checked_sub(from_end.parse().ok()?)?,
        None => token.parse().ok()?,
    };
    (index < length).then_some(index)
}

/// Applies all operations, or stops at the first one that fails; the document is then half patched.
pub(crate) fn apply(document: &mut Value, operations: &[Operation]) -> Result<Applied, Error> {
    for operation in operations {
        match operation {
            Operation::Add { path, value } => add(document, path, value.clone())?,
            Operation::Remove { path } => {
                remove(document, path)?;
            }
            Operation::Replace { path, value } => {
                path.get(document).ok_or_else(|| path.missing())?;
                replace(document, path, value.clone())?;
            }
            Operation::Move { from, path } => {
                let value = remove(document, from)?;
                add(document, path, value)?;
            }
            Operation::Copy { from, path } => {
                let value = from.get(document).ok_or_else(|| from.missing())?.clone();
                add(document, path, value)?;
            }
            Operation::Test { path, value } => {
                if !test(document, path, value) {
                    return Ok(Applied::TestFailed);
                }
            }
        }
    }
    Ok(Applied::All)
}

/// A null matches what is absent.
pub(crate) fn test(document: &Value, path: &Pointer, value: &Value) -> bool {
    path.get(document).unwrap_or(&Value::Null) == value
}

fn add(document: &mut Value, path: &Pointer, value: Value) -> Result<(), Error> {
    let Some((parent, last)) = path.parent(document)? else {
        *document = value;
        return Ok(());
    };
    match parent {
        Value::Object(map) => {
            map.insert(last.to_owned(), value);
        }
        Value::Array(list) => {
            let index = match last {
                "-" => Some(list.len()),
                other => existing_index(other, list.len() + 1),
            };
            list.insert(index.ok_or_else(|| Error::NotAnIndex(path.text.clone()))?, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Error::NoParts(path.text.clone()));
        }
    }
    Ok(())
}

fn replace(document: &mut Value, path: &Pointer, value: Value) -> Result<(), Error> {
    match path.parent(document)? {
        None => *document = value,
        Some((Value::Array(list), last)) => {
            let index = existing_index(last, list.len()).ok_or_else(|| path.missing())?;
            list[index] = value;
        }
        Some((Value::Object(map), last)) => {
            map.insert(last.to_owned(), value);
        }
        Some(_) => return Err(Error::NoParts(path.text.clone())),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &Pointer) -> Result<Value, Error> {
    let Some((parent, last)) = path.parent(document)? else { return Ok(std::mem::take(document)) };
    match parent {
        Value::Object(map) => map.remove(last).ok_or_else(|| path.missing()),
        Value::Array(list) => {
            let index = existing_index(last, list.len()).ok_or_else(|| path.missing())?;
            Ok(list.remove(index))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(path.missing()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn patched(document: Value, operation: Operation) -> Result<Value, Error> {
        let mut document = document;
        apply(&mut document, &[operation]).map(|_| document)
    }

    #[test]
    fn operations_do_as_the_table_says() {
        use Operation::{Add, Copy, Move, Remove, Replace};
        let document = || json!({"a/b": 1, "list": [1, 2, 3]});
        let table = [
            (Add { path: pointer("/new"), value: json!(1) }, json!({"a/b": 1, "list": [1, 2, 3], "new": 1})),
            (Add { path: pointer("/list/1"), value: json!(9) }, json!({"a/b": 1, "list": [1, 9, 2, 3]})),
            (Add { path: pointer("/list/-"), value: json!(9) }, json!({"a/b": 1, "list": [1, 2, 3, 9]})),
            (Replace { path: pointer("/list/-1"), value: json!(9) }, json!({"a/b": 1, "list": [1, 2, 9]})),
            (Remove { path: pointer("/a~1b") }, json!({"list": [1, 2, 3]})),
            (Remove { path: pointer("/list/-3") }, json!({"a/b": 1, "list": [2, 3]})),
            (
                Move { from: pointer("/list/0"), path: pointer("/first") },
                json!({"a/b": 1, "list": [2, 3], "first": 1}),
            ),
            (
                Copy { from: pointer("/list/0"), path: pointer("/first") },
                json!({"a/b": 1, "list": [1, 2, 3], "first": 1}),
            ),
        ];
        for (operation, expected) in table {
            assert_eq!(patched(document(), operation.clone()), Ok(expected), "{operation:?}");
        }
    }

    #[test]
    fn what_is_not_there_can_t_be_removed_replaced_or_added_to() {
        use Operation::{Add, Copy, Move, Remove, Replace};
        let operations = [
            Remove { path: pointer("/no") },
            Remove { path: pointer("/list/7") },
            Replace { path: pointer("/no"), value: json!(1) },
            Add { path: pointer("/no/such"), value: json!(1) },
            Add { path: pointer("/list/7"), value: json!(1) },
            Add { path: pointer("/text/x"), value: json!(1) },
            Move { from: pointer("/no"), path: pointer("/a") },
            Copy { from: pointer("/no"), path: pointer("/a") },
        ];
        for operation in operations {
            assert!(patched(json!({"list": [1], "text": "t"}), operation.clone()).is_err(), "{operation:?}");
        }
    }

    #[test]
    fn a_null_tests_for_absence() {
        assert!(test(&json!({}), &pointer("/a"), &Value::Null));
        assert!(!test(&json!({"a": 1}), &pointer("/a"), &Value::Null));
    }
}
