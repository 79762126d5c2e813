//! How fast the daemon looks after many backups: one file a figure.
//!
//! Each figure has a control plane and a bucket of its own, so that none pays for another.

mod expiry;

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::Cost;

/// One figure.
pub struct Row {
    pub what: &'static str,
    pub backups: u64,
    pub elapsed: Duration,
    pub cost: Cost,
    /// What the figure should be at least, in backups a second.
    pub target: f64,
}

pub struct Figures {
    pub rows: Vec<Row>,
}

/// Measures with so many backups.
pub async fn run(backups: usize) -> anyhow::Result<Figures> {
    Ok(Figures { rows: vec![expiry::measure(backups).await?] })
}

impl Row {
    fn rate(&self) -> f64 {
        self.backups as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Figures {
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<34}{:>9}{:>9}{:>11}{:>9}{:>11}{:>8}\n",
            "", "backups", "seconds", "backups/s", "target", "peak MiB", "CPU s"
        );
        for row in &self.rows {
            table.push_str(&format!(
                "{:<34}{:>9}{:>9.2}{:>11.0}{:>9.0}{:>11.1}{:>8.2}\n",
                row.what,
                row.backups,
                row.elapsed.as_secs_f64(),
                row.rate(),
                row.target,
                row.cost.peak_memory as f64 / 1_048_576.0,
                row.cost.processor_time.as_secs_f64(),
            ));
        }
        table
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what,
                "backups": row.backups,
                "seconds": row.elapsed.as_secs_f64(),
                "backupsPerSecond": row.rate(),
                "target": row.target,
                "peakBytes": row.cost.peak_memory,
                "processorSeconds": row.cost.processor_time.as_secs_f64(),
            })
        });
        Value::Array(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compares_each_figure_with_its_target() {
        let cost = Cost { peak_memory: 20 << 20, processor_time: Duration::from_millis(2500) };
        let row = Row {
            what: "expired backups gone",
            backups: 1000,
            elapsed: Duration::from_secs(8),
            cost,
            target: 50.0,
        };
        let figures = Figures { rows: vec![row] };
        assert_eq!(
            figures.table(),
            "                                    backups  seconds  backups/s   target   peak MiB   CPU s\n\
             expired backups gone                   1000     8.00        125       50       20.0    2.50\n"
        );
        assert_eq!(figures.json()[0]["backupsPerSecond"], 125.0);
    }
}
