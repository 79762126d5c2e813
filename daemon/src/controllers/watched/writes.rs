//! Writes to the API server, whose answers go into the copy ahead of the watch.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Map, Value};

use super::copy::Change;
use super::difference::difference;
use super::{FIELD_MANAGER, Record, Watched, lock};
use crate::controllers::kept::Kept;

/// Longer than the API server's own limit of a minute for a request that is not a watch.
const REQUEST_TIME_OUT: Duration = Duration::from_secs(75);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {kind} {name}")]
    Refused { verb: &'static str, kind: String, name: String, source: Box<kube::Error> },
    #[error("cannot {verb} {kind} {name}: no answer within {} s", REQUEST_TIME_OUT.as_secs())]
    NoAnswer { verb: &'static str, kind: String, name: String },
    #[error("cannot write {kind} {name} as JSON")]
    Encode { kind: String, name: String, source: serde_json::Error },
}

impl Error {
    /// The HTTP status that the API server refused with.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Error::NoAnswer { .. } | Error::Encode { .. } => None,
        }
    }
}

impl<K: Record> Watched<K> {
    /// Asks the API server, for the rare question that the copy may not answer yet.
    pub async fn fetch(&self, name: &str) -> Result<Option<Arc<K>>, Error> {
        let found = self.answer("get", name, self.api.get_opt(name)).await?;
        Ok(found.map(|object| self.write_through(object)))
    }

    /// Creates an object.
    pub async fn create(&self, object: &K) -> Result<Arc<K>, Error> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.answer("create", &object.name_any(), self.api.create(&parameters, object)).await?;
        Ok(self.write_through(created))
    }

    /// Sends what distinguishes `after` from `before`, if anything, for the object that `before` was read from: one that
    /// was deleted and made again meanwhile is refused with a conflict.
    pub async fn patch(&self, before: &K, after: &K) -> Result<Arc<K>, Error> {
        self.send_patch(before, after, None).await
    }

    /// The same, refused with a conflict too where somebody else has written since `before` was read.
    pub async fn patch_unchanged(&self, before: &K, after: &K) -> Result<Arc<K>, Error> {
        self.send_patch(before, after, before.meta().resource_version.clone()).await
    }

    async fn send_patch(&self, before: &K, after: &K, version: Option<String>) -> Result<Arc<K>, Error> {
        let name = before.name_any();
        let encode = |object: &K| {
            serde_json::to_value(object).map_err(|source| Error::Encode {
                kind: K::kind(&()).into_owned(),
                name: object.name_any(),
                source,
            })
        };
        let Some(mut patch) = difference(&encode(before)?, &encode(after)?) else {
            return Ok(Arc::new(before.clone()));
        };
        let preconditions = Map::from_iter(
            [("uid", before.meta().uid.clone()), ("resourceVersion", version)]
                .into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), Value::String(value?)))),
        );
        if let Value::Object(fields) = &mut patch {
            let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(metadata) = metadata {
                metadata.extend(preconditions);
            }
        }
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched =
            self.answer("patch", &name, self.api.patch(&name, &parameters, &Patch::Merge(patch))).await?;
        Ok(self.write_through(patched))
    }

    /// Deletes exactly this object; one that is gone already is fine.
    pub async fn delete(&self, object: &K) -> Result<(), Error> {
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = object.name_any();
        match self.answer("delete", &name, self.api.delete(&name, &parameters)).await {
            Ok(answer) => {
                // Without a status the answer is the object, which its finalizers keep for now.
                if answer.is_right() {
                    self.forget(object);
                }
                Ok(())
            }
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn answer<T>(
        &self,
        verb: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let kind = K::kind(&()).into_owned();
        match tokio::time::timeout(REQUEST_TIME_OUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                Err(Error::Refused { verb, kind, name: name.to_owned(), source: Box::new(source) })
            }
            Err(_) => Err(Error::NoAnswer { verb, kind, name: name.to_owned() }),
        }
    }

    fn write_through(&self, mut object: K) -> Arc<K> {
        object.managed_fields_mut().clear();
        let (name, kept) = (object.name_any(), K::Kept::keep(object.clone()));
        if lock(&self.copy).wrote(name, kept) == Change::Changed {
            self.ring();
        }
        Arc::new(object)
    }

    /// Takes an object out of the copy that the API server has said is gone, ahead of the watch.
    fn forget(&self, object: &K) {
        let mut copy = lock(&self.copy);
        let name = object.name_any();
        if copy.objects.get(&name).is_some_and(|held| held.uid() == object.meta().uid.as_deref()) {
            copy.objects.remove(&name);
            drop(copy);
            self.ring();
        }
    }
}
