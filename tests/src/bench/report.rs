//! The figures of a run, as one table or as JSON.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::daemon::Cost;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The daemon before it has done anything.
    Idle,
    RawPost {
        in_flight: usize,
    },
    RawGet {
        in_flight: usize,
    },
    RawList,
    Backup,
    /// Many backups that were asked for at once.
    ManyBackups,
    Restore,
    /// Into a cluster that has all of it.
    RestoreExisting,
    ParseYaml,
    RenderPolicies,
}

pub struct Measurement {
    pub step: Step,
    pub objects: u64,
    pub elapsed: Duration,
    /// Of the daemon, where it did the step.
    pub cost: Option<Cost>,
}

pub struct Report {
    pub measurements: Vec<Measurement>,
}

impl Step {
    fn title(self) -> String {
        match self {
            Step::Idle => "daemon, idle".to_owned(),
            Step::RawPost { in_flight } => format!("bare POST, {in_flight} in flight"),
            Step::RawGet { in_flight } => format!("bare GET, {in_flight} in flight"),
            Step::RawList => "bare LIST, one connection".to_owned(),
            Step::Backup => "backup".to_owned(),
            Step::ManyBackups => "backups asked for at once".to_owned(),
            Step::Restore => "restore".to_owned(),
            Step::RestoreExisting => "restore, all there".to_owned(),
            Step::ParseYaml => "reading, parsing as YAML".to_owned(),
            Step::RenderPolicies => "checking and rendering".to_owned(),
        }
    }

    /// Whether this bare step sets the pace for the other.
    fn paces(self, other: Step) -> bool {
        match other {
            Step::Idle
            | Step::RawPost { .. }
            | Step::RawGet { .. }
            | Step::RawList
            | Step::ManyBackups
            | Step::ParseYaml => false,
            Step::Backup => self == Step::RawList,
            Step::Restore => matches!(self, Step::RawPost { .. }),
            Step::RestoreExisting => matches!(self, Step::RawGet { .. }),
            Step::RenderPolicies => self == Step::ParseYaml,
        }
    }
}

impl Measurement {
    pub(super) fn line(&self) -> String {
        let Measurement { step, objects, elapsed, cost: _ } = self;
        format!("{}: {objects} objects in {:.2} s", step.title(), elapsed.as_secs_f64())
    }

    fn rate(&self) -> f64 {
        self.objects as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Report {
    /// The bare step that a measurement is compared with: of those since the last one of its own kind, the fastest.
    fn base(&self, index: usize) -> Option<&Measurement> {
        let step = self.measurements[index].step;
        let before = self.measurements[..index].iter().rev();
        before
            .take_while(|other| other.step != step)
            .filter(|other| other.step.paces(step))
            .max_by(|one, other| one.rate().total_cmp(&other.rate()))
    }

    /// The share of the bare step's rate.
    fn ratio(&self, index: usize) -> Option<f64> {
        Some(self.measurements[index].rate() / self.base(index)?.rate())
    }

    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<26}{:>9}{:>9}{:>11}{:>8}{:>11}{:>8}{:>15}\n",
            "", "objects", "seconds", "objects/s", "ratio", "peak MiB", "CPU s", "CPU µs/object"
        );
        for (index, measurement) in self.measurements.iter().enumerate() {
            let ratio = self.ratio(index).map(|ratio| format!("{:.0} %", ratio * 100.0));
            let peak = measurement.cost.map(|cost| format!("{:.1}", cost.peak_memory as f64 / 1_048_576.0));
            let processor = measurement.cost.map(|cost| format!("{:.2}", cost.processor_time.as_secs_f64()));
            let each = measurement.cost.filter(|_| measurement.objects > 0).map(|cost| {
                format!("{:.0}", cost.processor_time.as_secs_f64() * 1e6 / measurement.objects as f64)
            });
            let line = format!(
                "{:<26}{:>9}{:>9.2}{:>11.0}{:>8}{:>11}{:>8}{:>15}",
                measurement.step.title(),
                measurement.objects,
                measurement.elapsed.as_secs_f64(),
                measurement.rate(),
                ratio.unwrap_or_default(),
                peak.unwrap_or_default(),
                processor.unwrap_or_default(),
                each.unwrap_or_default(),
            );
            table.push_str(line.trim_end());
            table.push('\n');
        }
        table
    }

    pub fn json(&self) -> Value {
        let rows = self.measurements.iter().enumerate().map(|(index, measurement)| {
            json!({
                "step": measurement.step,
                "objects": measurement.objects,
                "seconds": measurement.elapsed.as_secs_f64(),
                "objectsPerSecond": measurement.rate(),
                "comparedWith": self.base(index).map(|base| base.step),
                "ratio": self.ratio(index),
                "peakBytes": measurement.cost.map(|cost| cost.peak_memory),
                "processorSeconds": measurement.cost.map(|cost| cost.processor_time.as_secs_f64()),
            })
        });
        Value::Array(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let cost = Cost { peak_memory: 20 << 20, processor_time: Duration::from_millis(250) };
        let measurement = |step, seconds, cost| Measurement {
            step,
            objects: 1000,
            elapsed: Duration::from_secs(seconds),
            cost,
        };
        Report {
            measurements: vec![
                measurement(Step::RawPost { in_flight: 16 }, 3, None),
                measurement(Step::RawPost { in_flight: 32 }, 2, None),
                measurement(Step::RawList, 1, None),
                measurement(Step::Backup, 4, Some(cost)),
                measurement(Step::RawList, 2, None),
                measurement(Step::Backup, 4, Some(cost)),
                measurement(Step::Restore, 4, Some(cost)),
            ],
        }
    }

    #[test]
    fn a_table_compares_each_step_with_its_bare_one() {
        assert_eq!(
            report().table(),
            "                            objects  seconds  objects/s   ratio   peak MiB   CPU s  CPU µs/object\n\
             bare POST, 16 in flight        1000     3.00        333\n\
             bare POST, 32 in flight        1000     2.00        500\n\
             bare LIST, one connection      1000     1.00       1000\n\
             backup                         1000     4.00        250    25 %       20.0    0.25            250\n\
             bare LIST, one connection      1000     2.00        500\n\
             backup                         1000     4.00        250    50 %       20.0    0.25            250\n\
             restore                        1000     4.00        250    50 %       20.0    0.25            250\n"
        );
    }

    #[test]
    fn json_has_a_row_a_step() {
        let json = report().json();
        assert_eq!(json[6]["step"], "restore");
        assert_eq!(json[6]["comparedWith"], json!({"raw-post": {"in_flight": 32}}));
        assert_eq!(json[6]["ratio"], 0.5);
        assert_eq!(json[0]["peakBytes"], Value::Null);
    }
}
