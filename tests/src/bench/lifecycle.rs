//! How fast the daemon looks after many backups: one file a figure.
//!
//! Each figure has a control plane and a bucket of its own, so that none pays for another.

mod bucket;
mod expiry;
mod schedules;
mod sync;

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::Cost;

const SCHEDULES: usize = 1_000;

/// One figure.
pub struct Row {
    pub what: &'static str,
    /// Backups, or Schedules.
    pub count: u64,
    pub elapsed: Duration,
    pub cost: Cost,
    pub goal: Goal,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// So many a second, or more.
    PerSecond(f64),
    Within(Duration),
    /// Less than this, of one core and of memory.
    Idle {
        processor_percent: f64,
        memory_mebibytes: f64,
    },
}

pub struct Figures {
    pub rows: Vec<Row>,
}

/// Measures with so many backups in the bucket, of which `expired` go.
pub async fn run(backups: usize, expired: usize) -> anyhow::Result<Figures> {
    let mut rows = sync::measure(backups).await?;
    rows.push(schedules::measure(SCHEDULES).await?);
    rows.push(expiry::measure(expired).await?);
    Ok(Figures { rows })
}

impl Row {
    fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn processor_percent(&self) -> f64 {
        100.0 * self.cost.processor_time.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn peak_mebibytes(&self) -> f64 {
        self.cost.peak_memory as f64 / 1_048_576.0
    }

    fn is_met(&self) -> bool {
        match self.goal {
            Goal::PerSecond(rate) => self.rate() >= rate,
            Goal::Within(limit) => self.elapsed < limit,
            Goal::Idle { processor_percent, memory_mebibytes } => {
                self.processor_percent() < processor_percent && self.peak_mebibytes() < memory_mebibytes
            }
        }
    }
}

impl Goal {
    fn words(self) -> String {
        match self {
            Goal::PerSecond(rate) => format!("{rate:.0} a second"),
            Goal::Within(limit) => format!("{:.1} s", limit.as_secs_f64()),
            Goal::Idle { processor_percent, memory_mebibytes } => {
                format!("{processor_percent:.0} % CPU, {memory_mebibytes:.0} MiB")
            }
        }
    }
}

impl Figures {
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<38}{:>8}{:>9}{:>10}{:>10}{:>8}{:>8}  {}\n",
            "", "count", "seconds", "a second", "peak MiB", "CPU s", "CPU %", "goal"
        );
        for row in &self.rows {
            table.push_str(&format!(
                "{:<38}{:>8}{:>9.2}{:>10.0}{:>10.1}{:>8.2}{:>8.1}  {}{}\n",
                row.what,
                row.count,
                row.elapsed.as_secs_f64(),
                row.rate(),
                row.peak_mebibytes(),
                row.cost.processor_time.as_secs_f64(),
                row.processor_percent(),
                row.goal.words(),
                if row.is_met() { "" } else { ": MISSED" },
            ));
        }
        table
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what,
                "count": row.count,
                "seconds": row.elapsed.as_secs_f64(),
                "perSecond": row.rate(),
                "goal": row.goal.words(),
                "met": row.is_met(),
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
    fn a_table_compares_each_figure_with_its_goal() {
        let cost = Cost { peak_memory: 20 << 20, processor_time: Duration::from_millis(2500) };
        let row = |what, seconds, goal| Row {
            what,
            count: 1000,
            elapsed: Duration::from_secs(seconds),
            cost,
            goal,
        };
        let idle = Goal::Idle { processor_percent: 1.0, memory_mebibytes: 48.0 };
        let figures = Figures {
            rows: vec![row("expired backups gone", 8, Goal::PerSecond(50.0)), row("idle", 100, idle)],
        };
        assert_eq!(
            figures.table(),
            "                                         count  seconds  a second  peak MiB   CPU s   CPU %  goal\n\
             expired backups gone                      1000     8.00       125      20.0    2.50    31.2  50 a second\n\
             idle                                      1000   100.00        10      20.0    2.50     2.5  1 % CPU, 48 MiB: MISSED\n"
        );
        assert_eq!(figures.json()[0]["perSecond"], 125.0);
    }
}
