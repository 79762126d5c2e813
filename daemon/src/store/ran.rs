//! What policies had made once, noted in the bucket: records below `metadata/holdfast/ran/` that are created and never
//! changed, so that a rebuilt cluster knows what ran before it.
//!
//! A Backup has one record, since its name is taken in the bucket for whoever uses it. A Restore has one per cluster: the
//! same policy may restore in several.

use bytes::Bytes;
use serde::Serialize;

use super::layout::{RESTORES, check_name, folder};
use super::{BackupStore, Error};

const RAN: &str = "metadata/holdfast/ran";

/// Something that is made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once<'a> {
    Backup { name: &'a str },
    Restore { name: &'a str, cluster: &'a str },
}

/// What a record says, for people: that it exists is what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<&'a str>,
    pub source: &'a str,
    pub policy: &'a str,
    pub content_hash: &'a str,
    /// When it was noted, in RFC 3339.
    pub noted: String,
}

impl Once<'_> {
    fn key(&self) -> Result<String, Error> {
        match self {
            Once::Backup { name } => check_name(name).map(|()| format!("{RAN}/backups/{name}.json")),
            Once::Restore { name, cluster } => {
                check_name(cluster)?;
                Ok(format!("{}/{cluster}.json", restores(name)?))
            }
        }
    }
}

fn restores(name: &str) -> Result<String, Error> {
    check_name(name).map(|()| format!("{RAN}/restores/{name}"))
}

impl BackupStore {
    /// Whether it ran: because that was noted, or because the bucket holds what it left. Files of a Restore that another
    /// cluster noted are that cluster's.
    pub async fn has_run(&self, once: &Once<'_>) -> Result<bool, Error> {
        if self.exists(once.key()?).await? {
            return Ok(true);
        }
        match once {
            Once::Backup { name } => self.backup_exists(name).await,
            Once::Restore { name, cluster: _ } => {
                Ok(!self.holds_any(&restores(name)?).await?
                    && self.holds_any(&folder(RESTORES, name)?).await?)
            }
        }
    }

    /// Notes that it ran; to find it noted already is as good.
    pub async fn note_run(&self, once: &Once<'_>, record: &Record<'_>) -> Result<(), Error> {
        let key = once.key()?;
        let path = self.path(&key)?;
        self.connection.ensure_present()?;
        let json = serde_json::to_vec_pretty(record).expect("a record of texts is JSON");
        match self.put_new(&path, Bytes::from(json)).await {
            Ok(())
            | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(())
            }
            Err(error) => Err(Error::Write { key, source: error.into() }),
        }
    }

    async fn holds_any(&self, key: &str) -> Result<bool, Error> {
        let path = self.path(key)?;
        self.connection.ensure_present()?;
        let listed = self.connection.probe.list_with_delimiter(Some(&path)).await;
        let listed =
            listed.map_err(|error| Error::List { folder: format!("{key}/"), source: error.into() })?;
        Ok(!listed.objects.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_a_place_of_their_own_and_names_that_lead_elsewhere_are_refused() {
        let key = |once: Once<'_>| once.key().unwrap();
        assert_eq!(key(Once::Backup { name: "b" }), "metadata/holdfast/ran/backups/b.json");
        assert_eq!(
            key(Once::Restore { name: "r", cluster: "prod" }),
            "metadata/holdfast/ran/restores/r/prod.json"
        );
        for once in [
            Once::Backup { name: "../b" },
            Once::Restore { name: "..", cluster: "prod" },
            Once::Restore { name: "r", cluster: "a/b" },
        ] {
            assert!(matches!(once.key(), Err(Error::Name { .. })), "{once:?}");
        }
    }
}
