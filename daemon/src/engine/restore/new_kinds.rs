//! The kinds that restored CRDs bring: waited for in discovery, so that their objects can follow.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::plan::Wave;
use super::run::Run;
use crate::cluster::Error;
use crate::engine::run_log::Place;

/// An established CRD is in discovery within a second or two.
const IN_DISCOVERY_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(250);

impl Run {
    /// Reads anew what the cluster serves, where this restore has changed it.
    pub(crate) async fn discover_new_kinds(&mut self, definitions: &Wave) -> Result<(), Error> {
        let new: Vec<usize> = definitions
            .steps
            .iter()
            .map(|step| step.position)
            .filter(|at| self.records.is_new(*at))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + IN_DISCOVERY_WITHIN;
        loop {
            self.discovery = self.cluster.discover().await?;
            // A CRD is named after its resource.
            let missing: Vec<&str> = new
                .iter()
                .map(|at| &*self.index.items[*at].name)
                .filter(|name| self.discovery.by_group_resource(name).is_none())
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline || self.cancel.is_cancelled() {
                let text = format!("the API server does not serve {} yet", missing.join(", "));
                self.log.warning(Place::Cluster, text);
                return Ok(());
            }
            sleep(ASK_EVERY).await;
        }
    }
}
