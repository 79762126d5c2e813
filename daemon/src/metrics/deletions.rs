//! Who asks for deletions: a rule, or a person. Pure.

use std::collections::HashMap;

use holdfast_policy::retention::Rule;
use holdfast_policy::velero::DeleteBackupRequest;

use crate::controllers::delete_backup_request::progress;
use crate::controllers::watched::Seen;

/// What a request counts for that names no rule.
const PERSON: &str = "person";

/// Requests since this process has watched them. Those of deletions that are over are gone, so there is nothing to count
/// them from after a restart.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    counts: HashMap<&'static str, u64>,
    /// Requests that were counted, by uid, and whether the list under way has them.
    known: HashMap<String, Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
}

impl Deletions {
    pub(super) fn see(&mut self, seen: &Seen<'_, DeleteBackupRequest>) {
        match seen {
            Seen::ListBegins => self.known.values_mut().for_each(|listed| *listed = Listed::No),
            Seen::ListEnds => self.known.retain(|_, listed| *listed == Listed::Yes),
            Seen::Listed(request) | Seen::Changed(request) => {
                let uid = request.metadata.uid.clone().unwrap_or_default();
                if self.known.insert(uid, Listed::Yes).is_none() {
                    *self.counts.entry(asked_by(request)).or_default() += 1;
                }
            }
            Seen::Gone(request) => {
                self.known.remove(request.metadata.uid.as_deref().unwrap_or_default());
            }
        }
    }

    /// A figure for each that may ask.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let all = Rule::ALL.map(Rule::as_str).into_iter().chain([PERSON]);
        all.map(|asked_by| (asked_by, self.counts.get(asked_by).copied().unwrap_or(0))).collect()
    }
}

fn asked_by(request: &DeleteBackupRequest) -> &'static str {
    let rule = progress::rule(request);
    let known = Rule::ALL.into_iter().map(Rule::as_str).find(|known| rule == Some(known));
    known.unwrap_or(PERSON)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn request(uid: &str, rule: Option<&str>) -> DeleteBackupRequest {
        let annotations = rule.map(|rule| json!({progress::RULE: rule}));
        serde_json::from_value(json!({"metadata": {"uid": uid, "annotations": annotations}})).unwrap()
    }

    #[test]
    fn each_request_is_counted_once_for_the_rule_that_it_names() {
        let mut deletions = Deletions::default();
        let (ttl, mine, strange) =
            (request("a", Some("ttl")), request("b", None), request("c", Some("whatever somebody writes")));
        deletions.see(&Seen::ListBegins);
        deletions.see(&Seen::Listed(&ttl));
        deletions.see(&Seen::ListEnds);
        for request in [&ttl, &mine, &strange, &mine] {
            deletions.see(&Seen::Changed(request));
        }
        deletions.see(&Seen::Gone(&ttl));
        deletions.see(&Seen::ListBegins);
        deletions.see(&Seen::Listed(&mine));
        deletions.see(&Seen::ListEnds);
        assert_eq!(deletions.counts(), [("retention", 0), ("keepFailed", 0), ("ttl", 1), ("person", 2)]);
        assert_eq!(deletions.known.len(), 1);
    }
}
