//! Signatures of URLs. Pure.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::hmac;

use crate::store::StoredFile;

/// Signs and checks with one key.
#[derive(Clone, Debug)]
pub struct Tickets {
    key: hmac::Key,
}

/// Why a URL is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the signature is not ours")]
    Signature,
    #[error("the URL has expired")]
    Expired,
}

impl Tickets {
    pub fn new(key: &[u8]) -> Self {
        Tickets { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    pub fn sign(&self, location: &str, file: &StoredFile, expires: DateTime<Utc>) -> String {
        let tag = hmac::sign(&self.key, content(location, file, expires.timestamp()).as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    /// Whether a URL with this instant and this signature gives the file now.
    pub fn check(
        &self,
        location: &str,
        file: &StoredFile,
        expires: i64,
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let tag = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Signature)?;
        hmac::verify(&self.key, content(location, file, expires).as_bytes(), &tag)
            .map_err(|_| Refusal::Signature)?;
        if now.timestamp() < expires { Ok(()) } else { Err(Refusal::Expired) }
    }
}

/// What is signed. None of the parts can hold a line break, so that no two URLs have the same content.
fn content(location: &str, file: &StoredFile, expires: i64) -> String {
    format!("holdfast download\n{location}\n{file}\n{expires}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BackupFile, RestoreFile};

    fn logs(backup: &str) -> StoredFile {
        StoredFile::BackupFile { backup: backup.to_owned(), file: BackupFile::Logs }
    }

    #[test]
    fn a_url_gives_its_own_file_until_it_expires() {
        let tickets = Tickets::new(b"one key");
        let expires: DateTime<Utc> = "2026-11-23T10:10:00Z".parse().unwrap();
        let before = expires - chrono::Duration::seconds(1);
        let signature = tickets.sign("default", &logs("nightly"), expires);
        let restore_logs = StoredFile::RestoreFile { restore: "nightly".to_owned(), file: RestoreFile::Logs };
        let stamp = expires.timestamp();
        let other_key = Tickets::new(b"another key").sign("default", &logs("nightly"), expires);
        let cases = [
            ("default", logs("nightly"), stamp, signature.as_str(), before, Ok(())),
            ("default", logs("nightly"), stamp, &signature, expires, Err(Refusal::Expired)),
            ("other", logs("nightly"), stamp, &signature, before, Err(Refusal::Signature)),
            ("default", logs("hourly"), stamp, &signature, before, Err(Refusal::Signature)),
            ("default", restore_logs, stamp, &signature, before, Err(Refusal::Signature)),
            ("default", logs("nightly"), stamp + 60, &signature, before, Err(Refusal::Signature)),
            ("default", logs("nightly"), stamp, &other_key, before, Err(Refusal::Signature)),
            ("default", logs("nightly"), stamp, "", before, Err(Refusal::Signature)),
            ("default", logs("nightly"), stamp, "not base64!", before, Err(Refusal::Signature)),
        ];
        for (location, file, expires, signature, now, expected) in cases {
            let checked = tickets.check(location, &file, expires, signature, now);
            assert_eq!(checked, expected, "{location} {file} {expires} {signature} {now}");
        }
    }
}
