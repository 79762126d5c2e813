//! The DataUploads of a backup that are in the cluster, and how they are given up.
//!
//! In: the uid of a backup, by whose label they are known. Out: none is under way any more. May be done again. A cluster
//! that does not know the kind has none.

use futures::{StreamExt, TryStreamExt, stream};
use holdfast_policy::velero::DataUpload;
use holdfast_policy::velero::labels::BACKUP_UID;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::cluster::patience::until_answered;
use crate::cluster::write::FIELD_MANAGER;

/// Objects that are given up at once.
const AT_ONCE: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list DataUploads")]
    List(#[source] Box<kube::Error>),
    #[error("cannot give up DataUpload {name}")]
    Cancel { name: String, source: Box<kube::Error> },
    #[error("cannot delete DataUpload {name}")]
    Delete { name: String, source: Box<kube::Error> },
}

/// Has the agent give up what it has not ended, and deletes all of them: the objects go when the agent lets go of them.
/// What they have left in the repository is not told to anybody, and goes with Velero's maintenance of it.
pub async fn clear(client: &Client, namespace: &str, backup_uid: &str) -> Result<(), Error> {
    let found = list(client, namespace, backup_uid).await.map_err(|error| Error::List(Box::new(error)))?;
    let api: Api<DataUpload> = Api::namespaced(client.clone(), namespace);
    let clearing = stream::iter(&found).map(Ok).try_for_each_concurrent(AT_ONCE, async |upload| {
        let name = upload.name_any();
        if !upload.status_phase().has_ended() {
            let cancelled = unless_gone(until_answered(|| cancel(&api, &name)).await);
            cancelled.map_err(|source| Error::Cancel { name: name.clone(), source: Box::new(source) })?;
        }
        let parameters = DeleteParams::default();
        let deleted = unless_gone(until_answered(|| api.delete(&name, &parameters)).await);
        deleted.map_err(|source| Error::Delete { name, source: Box::new(source) })
    });
    clearing.await
}

pub(super) async fn list(
    client: &Client,
    namespace: &str,
    backup_uid: &str,
) -> kube::Result<Vec<DataUpload>> {
    let api: Api<DataUpload> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default().labels(&format!("{BACKUP_UID}={backup_uid}"));
    match until_answered(|| api.list(&parameters)).await {
        Ok(list) => Ok(list.items),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(super) async fn cancel(api: &Api<DataUpload>, name: &str) -> kube::Result<DataUpload> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(json!({"spec": {"cancel": true}}))).await
}

fn unless_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
