//! A histogram of durations with Velero's buckets. Pure.

use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds in seconds: a minute to four hours, and everything.
const BOUNDS: [f64; 10] =
    [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0, 14400.0, f64::INFINITY];

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Durations {
    counts: [u64; BOUNDS.len()],
    pub(super) sum: f64,
    pub(super) count: u64,
}

impl Durations {
    pub(super) fn observe(&mut self, seconds: f64) {
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
            self.count += 1;
            self.sum += seconds;
        }
    }

    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &self.buckets(), None)
    }

    /// Upper bounds with what lies between them.
    fn buckets(&self) -> [(f64, u64); BOUNDS.len()] {
        std::array::from_fn(|index| (BOUNDS[index], self.counts[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for seconds in [0.5, 60.0, 61.0, 100_000.0] {
            durations.observe(seconds);
        }
        let filled: Vec<(f64, u64)> =
            durations.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(60.0, 2), (300.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((durations.count, durations.sum), (4, 100_121.5));
    }
}
