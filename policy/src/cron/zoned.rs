//! From local times to instants, where a zone's clock jumps.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::civil::Civil;

/// Further than any zone's clock ever jumped: a whole day was left out more than once.
const LONGEST_JUMP: TimeDelta = TimeDelta::hours(26);

/// The next run of an expression whose times of day are fixed: each local time happens at one instant.
pub(super) fn next_fixed(civil: &Civil, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut local = local_of(zone, after).checked_sub_signed(LONGEST_JUMP)?;
    loop {
        local = civil.next_after(local)?;
        let instant = instant_of(zone, local)?;
        if instant > after {
            return Some(instant);
        }
    }
}

/// The next run of an expression with wildcards: every instant whose local time matches.
pub(super) fn next_elapsed(civil: &Civil, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut start = after;
    loop {
        let offset = offset_of(zone, start);
        let local = civil.next_after(start.naive_utc().checked_add_signed(offset)?)?;
        let candidate = local.checked_sub_signed(offset)?.and_utc();
        match first_jump(zone, start, candidate) {
            None => return Some(candidate),
            // The local time right at the jump may match, so the search goes on from just before it.
            Some(jump) => {
                let new_offset = offset_of(zone, jump);
                let just_before = jump.naive_utc().checked_add_signed(new_offset)? - TimeDelta::seconds(1);
                let local = civil.next_after(just_before)?;
                let candidate = local.checked_sub_signed(new_offset)?.and_utc();
                if candidate > after && first_jump(zone, jump, candidate).is_none() {
                    return Some(candidate);
                }
                start = jump;
            }
        }
    }
}

/// The instant of a local time: the first of two, or the end of the gap that it falls into.
fn instant_of(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => Some(instant.to_utc()),
        LocalResult::Ambiguous(first, second) => Some(first.min(second).to_utc()),
        LocalResult::None => {
            let around = local.and_utc();
            first_jump(
                zone,
                around.checked_sub_signed(LONGEST_JUMP)?,
                around.checked_add_signed(LONGEST_JUMP)?,
            )
        }
    }
}

/// The first instant after `start`, up to `end`, with another offset than the one before it.
fn first_jump(zone: Tz, start: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // No zone jumps twice within this time.
    const STRIDE: TimeDelta = TimeDelta::hours(48);
    let offset = offset_of(zone, start);
    let mut before = start;
    while before < end {
        let probe = before.checked_add_signed(STRIDE)?.min(end);
        if offset_of(zone, probe) != offset {
            return Some(bisect(zone, before, probe, offset));
        }
        before = probe;
    }
    None
}

/// The jump between two instants on both sides of it, to the second.
fn bisect(
    zone: Tz,
    mut before: DateTime<Utc>,
    mut behind: DateTime<Utc>,
    offset: TimeDelta,
) -> DateTime<Utc> {
    while behind - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((behind - before).num_seconds() / 2);
        if offset_of(zone, middle) == offset {
            before = middle;
        } else {
            behind = middle;
        }
    }
    // Jumps happen at whole seconds, while a start may have a fraction.
    DateTime::from_timestamp(behind.timestamp(), 0).unwrap_or(behind)
}

fn local_of(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

fn offset_of(zone: Tz, instant: DateTime<Utc>) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()))
}
