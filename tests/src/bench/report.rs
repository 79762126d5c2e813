//! The figures of a run, as one table or as JSON.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::daemon::Cost;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    RawPost,
    RawList,
    Backup,
    Restore,
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
    fn title(self) -> &'static str {
        match self {
            Step::RawPost => "bare POST, 32 in flight",
            Step::RawList => "bare LIST, one connection",
            Step::Backup => "backup",
            Step::Restore => "restore",
            Step::ParseYaml => "reading, parsing as YAML",
            Step::RenderPolicies => "checking and rendering",
        }
    }

    /// The bare step that sets the pace.
    fn compared_with(self) -> Option<Step> {
        match self {
            Step::RawPost | Step::RawList | Step::ParseYaml => None,
            Step::Backup => Some(Step::RawList),
            Step::Restore => Some(Step::RawPost),
            Step::RenderPolicies => Some(Step::ParseYaml),
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
    /// The share of the bare step's rate.
    fn ratio(&self, measurement: &Measurement) -> Option<f64> {
        let base = measurement.step.compared_with()?;
        let base = self.measurements.iter().find(|candidate| candidate.step == base)?;
        Some(measurement.rate() / base.rate())
    }

    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<26}{:>9}{:>9}{:>11}{:>8}{:>11}{:>8}\n",
            "", "objects", "seconds", "objects/s", "ratio", "peak MiB", "CPU s"
        );
        for measurement in &self.measurements {
            let ratio = self.ratio(measurement).map(|ratio| format!("{:.0} %", ratio * 100.0));
            let peak = measurement.cost.map(|cost| format!("{:.1}", cost.peak_memory as f64 / 1_048_576.0));
            let processor = measurement.cost.map(|cost| format!("{:.2}", cost.processor_time.as_secs_f64()));
            table.push_str(&format!(
                "{:<26}{:>9}{:>9.2}{:>11.0}{:>8}{:>11}{:>8}\n",
                measurement.step.title(),
                measurement.objects,
                measurement.elapsed.as_secs_f64(),
                measurement.rate(),
                ratio.unwrap_or_default(),
                peak.unwrap_or_default(),
                processor.unwrap_or_default(),
            ));
        }
        table
    }

    pub fn json(&self) -> Value {
        let rows = self.measurements.iter().map(|measurement| {
            json!({
                "step": measurement.step,
                "objects": measurement.objects,
                "seconds": measurement.elapsed.as_secs_f64(),
                "objectsPerSecond": measurement.rate(),
                "comparedWith": measurement.step.compared_with(),
                "ratio": self.ratio(measurement),
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
                measurement(Step::RawPost, 2, None),
                measurement(Step::RawList, 1, None),
                measurement(Step::Backup, 4, Some(cost)),
                measurement(Step::Restore, 4, Some(cost)),
            ],
        }
    }

    #[test]
    fn a_table_compares_each_step_with_its_bare_one() {
        assert_eq!(
            report().table(),
            "                            objects  seconds  objects/s   ratio   peak MiB   CPU s\n\
             bare POST, 32 in flight        1000     2.00        500                           \n\
             bare LIST, one connection      1000     1.00       1000                           \n\
             backup                         1000     4.00        250    25 %       20.0    0.25\n\
             restore                        1000     4.00        250    50 %       20.0    0.25\n"
        );
    }

    #[test]
    fn json_has_a_row_a_step() {
        let json = report().json();
        assert_eq!(json[3]["step"], "restore");
        assert_eq!(json[3]["comparedWith"], "raw-post");
        assert_eq!(json[3]["ratio"], 0.5);
        assert_eq!(json[0]["peakBytes"], Value::Null);
    }
}
