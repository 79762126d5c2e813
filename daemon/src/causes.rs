//! Errors as people read them: with what caused them, on one line.

use std::error::Error;

/// The error and its causes, each said once: many libraries repeat their cause in their own text.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_named_once() {
        let bottom = Layer { text: "connection refused", source: None };
        let middle = Layer { text: "request failed: connection refused", source: Some(Box::new(bottom)) };
        let top = Layer { text: "cannot list", source: Some(Box::new(middle)) };
        assert_eq!(with_causes(&top), "cannot list: request failed: connection refused");
    }
}
