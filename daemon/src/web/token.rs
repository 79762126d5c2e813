//! Who may look: those who know the token, as a bearer's or as the password of HTTP's basic authentication, which
//! browsers ask people for.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;

/// Longer ones are refused before they are looked at.
const LONGEST: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the token is empty")]
    Empty,
    #[error("the token is longer than {LONGEST} bytes")]
    Long,
    #[error("no random numbers to compare the token with")]
    Random,
}

/// What a token is compared with: a signature of it under a key that nobody knows, so that the time a comparison takes
/// says nothing about how much of a guess was right.
pub struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl Token {
    /// White space around it is the file's, not the token's.
    pub fn new(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() > LONGEST {
            return Err(Error::Long);
        }
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| Error::Random)?;
        let tag = hmac::sign(&key, text.as_bytes());
        Ok(Token { key, tag })
    }

    /// Whether the header `Authorization` shows that its sender knows it.
    pub(super) fn is_shown_by(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, rest)) = authorization.and_then(|text| text.split_once(' ')) else { return false };
        if rest.len() > 2 * LONGEST {
            return false;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(rest.trim().as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(decoded) = BASE64_STANDARD.decode(rest.trim()) else { return false };
        let colon = decoded.iter().position(|byte| *byte == b':');
        colon.is_some_and(|colon| self.is(&decoded[colon + 1..]))
    }

    fn is(&self, guess: &[u8]) -> bool {
        hmac::verify(&self.key, guess, self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_and_a_browser_show_the_same_token() {
        let token = Token::new("s3cret:with colon\n").unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let good = [
            "Bearer s3cret:with colon".to_owned(),
            basic("me:s3cret:with colon"),
            basic(":s3cret:with colon"),
        ];
        for header in good {
            assert!(token.is_shown_by(Some(&header)), "{header}");
        }
        for header in ["Bearer s3cret", "Bearer ", "bearer", "Digest s3cret:with colon", "Basic !", ""] {
            assert!(!token.is_shown_by(Some(header)), "{header}");
        }
        assert!(!token.is_shown_by(Some(&basic("s3cret:with colon"))));
        assert!(!token.is_shown_by(None));
        assert!(matches!(Token::new(" \n"), Err(Error::Empty)));
    }
}
