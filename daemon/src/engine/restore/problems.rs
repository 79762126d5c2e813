//! What is wrong before the first object: entries of the archive that can't be read, and parts of the cluster that don't
//! answer. Each is a message of the run's log; the rest goes on.

use super::plan::target_namespace;
use super::settings::Settings;
use crate::archive::{EntryProblem, Severity};
use crate::cluster::Discovery;
use crate::engine::run_log::{Message, Place, RunLog};

/// Groups that the API server could not tell of.
pub(super) fn tell_unknown_groups(log: &RunLog, discovery: &Discovery) {
    for group in &discovery.failed {
        let text = format!("the API server does not say what it serves of {}/{}", group.group, group.version);
        log.warning(Place::Cluster, Message::new(text).cause(&group.reason));
    }
}

/// Bad entries of the archive, as far as they are part of this restore.
pub(super) fn tell_problems(log: &RunLog, settings: &Settings, problems: &[EntryProblem]) {
    for problem in problems {
        let EntryProblem { entry, reason } = problem;
        let place = entry_place(entry);
        if let Some((group_resource, namespace, name)) = place
            && settings.selection.takes_place(group_resource, namespace, name).is_err()
        {
            continue;
        }
        let namespace = place.and_then(|(_, namespace, _)| namespace);
        let place = namespace.map_or(Place::Velero, |source| {
            Place::Namespace(target_namespace(&settings.mapping, source).to_owned())
        });
        let text = Message::new(format!("error decoding {entry}")).cause(reason);
        match reason.severity() {
            Severity::Error => log.error(place, text),
            Severity::Warning => log.warning(place, text),
        }
    }
}

/// Group resource, namespace and name of an entry's path, where it is that of an item.
fn entry_place(entry: &str) -> Option<(&str, Option<&str>, &str)> {
    let parts: Vec<&str> = entry.strip_prefix("resources/")?.split('/').collect();
    let (group_resource, place) = parts.split_first()?;
    // A twin of another version has its version in between.
    let place = match place {
        ["cluster" | "namespaces", ..] => place,
        [_version, rest @ ..] => rest,
        [] => return None,
    };
    let name = |file: &'_ &'_ str| -> Option<()> { (!file.is_empty()).then_some(()) };
    match place {
        ["cluster", file] => {
            name(file)?;
            Some((group_resource, None, file.strip_suffix(".json").unwrap_or(file)))
        }
        ["namespaces", namespace, file] => {
            name(file)?;
            Some((group_resource, Some(namespace), file.strip_suffix(".json").unwrap_or(file)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_entry_is_read_from_its_path() {
        let table = [
            ("resources/pods/namespaces/shop/web.json", Some(("pods", Some("shop"), "web"))),
            (
                "resources/pods/v1-preferredversion/namespaces/shop/web.json",
                Some(("pods", Some("shop"), "web")),
            ),
            ("resources/nodes/cluster/n1.json", Some(("nodes", None, "n1"))),
            ("resources/nodes", None),
            ("metadata/version", None),
            ("../../etc/passwd", None),
        ];
        for (entry, expected) in table {
            assert_eq!(entry_place(entry), expected, "{entry}");
        }
    }
}
