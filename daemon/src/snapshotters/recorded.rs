//! A provider for tests: it writes down what it is asked for.

use std::sync::Mutex;
use std::time::Duration;

use super::*;

#[derive(Default)]
pub(crate) struct Recorded {
    /// The snapshot that can't be deleted.
    pub(crate) refused: &'static str,
    /// After this a snapshot is whole.
    pub(crate) takes: Duration,
    pub(crate) calls: Mutex<Vec<String>>,
}

impl Recorded {
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn call(&self, text: String) {
        self.calls.lock().unwrap().push(text);
    }
}

#[async_trait]
impl VolumeSnapshotter for Recorded {
    fn volume_id(&self, _volume: &Value) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn set_volume_id(&self, _volume: &mut Value, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn facts(&self, _subject: &Subject) -> Result<VolumeFacts, Error> {
        Ok(VolumeFacts::default())
    }

    async fn create_snapshot(&self, _subject: &Subject, binding: &Binding) -> Result<String, Error> {
        self.call(format!("create of {}", binding.volume));
        Ok(format!("of {}", binding.volume))
    }

    async fn wait(&self, _snapshot: &str) -> Result<(), Error> {
        tokio::time::sleep(self.takes).await;
        Ok(())
    }

    async fn create_volume(&self, wanted: &Wanted) -> Result<String, Error> {
        self.call(format!("volume of {}", wanted.snapshot));
        Ok(wanted.token.clone())
    }

    async fn delete_all_of(&self, backup_uid: &str) -> Result<(), Error> {
        self.call(format!("delete all of {backup_uid}"));
        Ok(())
    }

    async fn delete_snapshot(&self, snapshot: &str, _binding: &Binding) -> Result<(), Error> {
        self.call(format!("delete {snapshot}"));
        if snapshot == self.refused { Err(Error(format!("{snapshot} is refused"))) } else { Ok(()) }
    }

    async fn tidy(&self) -> Result<(), Error> {
        self.call("tidy".to_owned());
        Ok(())
    }
}
