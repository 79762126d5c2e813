//! Downloads that the daemon serves itself: files of buckets whose provider has no signed URLs.
//!
//! Takes a location and a file, gives a URL that anybody who has it may use for a while; and takes requests for such
//! URLs, gives the file as it is stored. Whether somebody may have a URL is settled before, by who may create a
//! DownloadRequest.

use chrono::{DateTime, Utc};

use crate::store::StoredFile;

pub mod secret;
pub mod serve;
mod ticket;

pub use serve::{Downloads, serve};
pub use ticket::{Refusal, Tickets};

/// Below which path of the listener the files are.
const ROOT: &str = "downloads";

/// Makes URLs of files that this daemon serves.
#[derive(Clone, Debug)]
pub struct Links {
    pub tickets: Tickets,
    /// Where our listener is, as `http://HOST:PORT`, for locations that don't say how it is reached from outside.
    pub base: String,
}

impl Links {
    /// A URL of the file until `expires`. `public` stands in front of the path in place of our own address.
    pub fn link(
        &self,
        location: &str,
        public: Option<&str>,
        file: &StoredFile,
        expires: DateTime<Utc>,
    ) -> String {
        let base = public.unwrap_or(&self.base).trim_end_matches('/');
        let signature = self.tickets.sign(location, file, expires);
        format!("{base}/{ROOT}/{location}/{file}?expires={}&signature={signature}", expires.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BackupFile;

    #[test]
    fn a_location_may_say_how_the_daemon_is_reached_from_outside() {
        let links = Links { tickets: Tickets::new(b"k"), base: "http://127.0.0.1:8086".to_owned() };
        let file = StoredFile::BackupFile { backup: "nightly".to_owned(), file: BackupFile::Logs };
        let expires: DateTime<Utc> = "2026-11-23T10:10:00Z".parse().unwrap();
        let start = |public: Option<&str>| {
            let link = links.link("default", public, &file, expires);
            link.split("&signature=").next().unwrap().to_owned()
        };
        let path = "downloads/default/backups/nightly/nightly-logs.gz?expires=1795428600";
        assert_eq!(start(None), format!("http://127.0.0.1:8086/{path}"));
        assert_eq!(
            start(Some("https://backups.example.com/files/")),
            format!("https://backups.example.com/files/{path}")
        );
    }
}
