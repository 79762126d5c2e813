//! How a Schedule wants to be run, beyond what Velero's spec can say.
//!
//! Takes the `holdfast.dev/` annotations of a Schedule, gives settings or everything that is wrong with them: one that
//! can't be read is refused, because a backup that was thought to be made would not be.

use std::collections::BTreeMap;
use std::str::FromStr;

use holdfast_policy::annotations::{CATCH_UP, CONCURRENCY_POLICY, JITTER, MAX_RUNTIME, STARTING_DEADLINE};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::model::{CatchUp, ConcurrencyPolicy};

/// What a Schedule without annotations gets is what Velero does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub catch_up: CatchUp,
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a run may start; later it counts as missed.
    pub starting_deadline: Option<GoDuration>,
    /// After this a run that has not finished no longer holds up the next.
    pub max_runtime: Option<GoDuration>,
    /// The width of the window over which schedules are spread.
    pub jitter: Option<GoDuration>,
}

impl Settings {
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Settings, Vec<String>> {
        let mut errors = Vec::new();
        let catch_up = choice(annotations, CATCH_UP, &[("None", CatchUp::None), ("Last", CatchUp::Last)]);
        let concurrency_policy = choice(
            annotations,
            CONCURRENCY_POLICY,
            &[("Forbid", ConcurrencyPolicy::Forbid), ("Queue", ConcurrencyPolicy::Queue)],
        );
        let settings = Settings {
            catch_up: catch_up.unwrap_or_else(|error| refuse(&mut errors, error)).unwrap_or(CatchUp::Last),
            concurrency_policy: concurrency_policy
                .unwrap_or_else(|error| refuse(&mut errors, error))
                // Velero starts such a run when the earlier one has got far enough.
                .unwrap_or(ConcurrencyPolicy::Queue),
            starting_deadline: duration(annotations, STARTING_DEADLINE)
                .unwrap_or_else(|error| refuse(&mut errors, error)),
            max_runtime: duration(annotations, MAX_RUNTIME)
                .unwrap_or_else(|error| refuse(&mut errors, error)),
            jitter: duration(annotations, JITTER).unwrap_or_else(|error| refuse(&mut errors, error)),
        };
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

fn refuse<T>(errors: &mut Vec<String>, error: String) -> Option<T> {
    errors.push(error);
    None
}

fn choice<T: Copy>(
    annotations: &BTreeMap<String, String>,
    key: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    match choices.iter().find(|(name, _)| name == text) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(format!("annotation {key}: `{text}` is none of {}", names.join(", ")))
        }
    }
}

fn duration(annotations: &BTreeMap<String, String>, key: &str) -> Result<Option<GoDuration>, String> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    let duration = GoDuration::from_str(text).map_err(|error| format!("annotation {key}: {error}"))?;
    if duration.is_zero() {
        return Ok(None);
    }
    if duration.is_negative() {
        return Err(format!("annotation {key}: `{text}` is negative"));
    }
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn without_annotations_a_schedule_behaves_as_in_velero() {
        let settings = Settings::read(&BTreeMap::new()).unwrap();
        assert_eq!(settings.catch_up, CatchUp::Last);
        assert_eq!(settings.concurrency_policy, ConcurrencyPolicy::Queue);
        assert_eq!(settings.starting_deadline, None);
    }

    #[test]
    fn all_annotations_are_read() {
        let settings = Settings::read(&annotations(&[
            (CATCH_UP, "None"),
            (CONCURRENCY_POLICY, "Forbid"),
            (STARTING_DEADLINE, "1h"),
            (MAX_RUNTIME, "6h0m0s"),
            (JITTER, "5m"),
        ]))
        .unwrap();
        assert_eq!(
            settings,
            Settings {
                catch_up: CatchUp::None,
                concurrency_policy: ConcurrencyPolicy::Forbid,
                starting_deadline: Some(GoDuration::from_secs(3600)),
                max_runtime: Some(GoDuration::from_secs(6 * 3600)),
                jitter: Some(GoDuration::from_secs(300)),
            }
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let errors =
            Settings::read(&annotations(&[(CATCH_UP, "all"), (JITTER, "-5m"), (MAX_RUNTIME, "soon")]))
                .unwrap_err();
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[0], "annotation holdfast.dev/catch-up: `all` is none of None, Last");
        assert!(errors[1].contains(MAX_RUNTIME), "{}", errors[1]);
        assert_eq!(errors[2], "annotation holdfast.dev/jitter: `-5m` is negative");
    }
}
