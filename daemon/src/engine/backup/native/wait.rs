//! The end of a run's snapshots: all of them have the same time to become whole.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{AT_ONCE, Taken};
use crate::engine::native::Phase;

/// In the order of their volumes, each with why it is not whole.
pub(super) async fn for_all(taken: Vec<Taken>, time: Duration) -> Vec<(Taken, Option<String>)> {
    let deadline = Instant::now() + time;
    let waits = taken.into_iter().map(|mut taken| async move {
        let snapshot = &taken.record.status.provider_snapshot_id;
        let whole = timeout_at(deadline, taken.location.snapshotter.wait(snapshot)).await;
        let reason = match whole {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it is not whole after {} s", time.as_secs())),
        };
        taken.record.status.phase = if reason.is_none() { Phase::Completed } else { Phase::Failed };
        (taken, reason)
    });
    let mut ended: Vec<_> = stream::iter(waits).buffer_unordered(AT_ONCE).collect().await;
    ended.sort_by(|(a, _), (b, _)| {
        a.record.spec.persistent_volume_name.cmp(&b.record.spec.persistent_volume_name)
    });
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Opened;
    use super::*;
    use crate::engine::native::{SnapshotRecord, SnapshotSpec, SnapshotStatus};
    use crate::snapshotters::recorded::Recorded;

    fn taken(number: usize, takes: Duration) -> Taken {
        let snapshotter = Arc::new(Recorded { takes, ..Recorded::default() });
        let spec =
            SnapshotSpec { persistent_volume_name: format!("pv-{number:02}"), ..SnapshotSpec::default() };
        let status = SnapshotStatus { provider_snapshot_id: number.to_string(), phase: Phase::New };
        Taken {
            location: Opened { name: "ebs".to_owned(), snapshotter },
            record: SnapshotRecord { spec, status },
            claim: None,
            started: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn all_snapshots_have_one_time_however_many_they_are() {
        let time = Duration::from_millis(200);
        let slow = (0..10 * AT_ONCE).map(|number| taken(number, Duration::MAX));
        let all = slow.chain([taken(98, Duration::ZERO), taken(99, Duration::ZERO)]).rev().collect();
        let began = Instant::now();
        let ended = for_all(all, time).await;
        assert!(began.elapsed() < 5 * time, "one after the other they had their time");
        let (slow, quick) = ended.split_at(10 * AT_ONCE);
        let late = Some("it is not whole after 0 s".to_owned());
        for (taken, reason) in slow {
            assert_eq!((taken.record.status.phase, reason), (Phase::Failed, &late));
        }
        let of = |(taken, reason): &(Taken, Option<String>)| (taken.record.status.phase, reason.clone());
        assert_eq!(
            quick.iter().map(of).collect::<Vec<_>>(),
            [(Phase::Completed, None), (Phase::Completed, None)]
        );
        assert_eq!(ended[0].0.record.spec.persistent_volume_name, "pv-00");
    }
}
