//! Times and sizes as people read them. Pure.

use chrono::TimeDelta;

/// As kubectl tells ages: two units at most.
pub fn span(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: &str, small: i64, next: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{next}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => two(minutes, "m", if minutes < 10 { seconds % 60 } else { 0 }, "s"),
        7200..172_800 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", if days < 8 { hours % 24 } else { 0 }, "h"),
    }
}

/// A size as people read it.
pub fn bytes(count: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Some(count) = count else { return "-".to_owned() };
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        let spans =
            [0, 119, 120, 150, 3600, 7260, 90_000, 200_000, 864_000].map(|it| span(TimeDelta::seconds(it)));
        assert_eq!(spans, ["0s", "119s", "2m", "2m30s", "60m", "2h1m", "25h", "2d7h", "10d"]);
        assert_eq!(
            [None, Some(12), Some(2048), Some(5 << 30)].map(bytes),
            ["-", "12 B", "2.0 KiB", "5.0 GiB"]
        );
    }
}
