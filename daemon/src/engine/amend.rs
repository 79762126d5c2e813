//! Changes to the record of a backup that is whole: a later expiration, a mark.
//!
//! In: the Backup as the cluster knows it. Out: its `velero-backup.json` says the same, or is left as it is because it is
//! not that of this backup.

use holdfast_policy::velero;
use holdfast_policy::velero::{Amendment, BackupPhase};

use crate::store::{self, BackupStore};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read or write the backup's metadata in the bucket")]
    Store(#[from] store::Error),
    #[error("the bucket's metadata is missing, or that of another run or of a backup that is being deleted")]
    Another,
}

pub async fn amend(store: &BackupStore, backup: &velero::Backup, amendment: &Amendment) -> Result<(), Error> {
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    let recorded = store.read_backup(name).await?.ok_or(Error::Another)?;
    if recorded.metadata.name != backup.metadata.name
        || recorded.status.start_timestamp != backup.status.start_timestamp
        || recorded.status_phase() == BackupPhase::Deleting
    {
        return Err(Error::Another);
    }
    Ok(store.amend_backup(name, amendment).await?)
}
