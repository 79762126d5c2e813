//! Which VolumeSnapshotLocations a backup uses: one of each provider (reference: velero-api.md 5, velero-backup.md 7.3). Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The names as they are to stand in the spec, or what is wrong with them. `named` is what the spec says, `known` the provider of
/// each location, `defaults` the location of each provider that counts where it has several.
pub(crate) fn resolve(
    named: &[String],
    known: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> Result<Vec<String>, Vec<String>> {
    let mut problems = Vec::new();
    let mut chosen: BTreeMap<&str, &str> = BTreeMap::new();
    for name in named {
        let Some(provider) = known.get(name) else {
            problems.push(format!(
                "volume snapshot location {name} does not exist: create it, or leave it out of volumeSnapshotLocations"
            ));
            continue;
        };
        let provider = plain(provider);
        match chosen.get(provider) {
            Some(first) if first != name => problems.push(format!(
                "volume snapshot locations {first} and {name} are both of provider {provider}: a backup uses one of each"
            )),
            Some(_) => {}
            None => {
                chosen.insert(provider, name);
            }
        }
    }
    let providers: BTreeSet<&str> = known.values().map(|provider| plain(provider)).collect();
    for provider in providers {
        if chosen.contains_key(provider) {
            continue;
        }
        let of_provider = known.iter().filter(|(_, other)| plain(other) == provider);
        let names: Vec<&str> = of_provider.map(|(name, _)| name.as_str()).collect();
        match (names.as_slice(), defaults.get(provider)) {
            ([], _) => {}
            ([only], _) => {
                chosen.insert(provider, only);
            }
            ([..], Some(default)) if known.contains_key(default) => {
                chosen.insert(provider, default);
            }
            ([..], Some(default)) => problems.push(format!(
                "volume snapshot location {default}, the default of provider {provider}, does not exist"
            )),
            ([..], None) => problems.push(format!(
                "provider {provider} has several volume snapshot locations ({}): name one in volumeSnapshotLocations, or \
                 start the server with --default-volume-snapshot-locations {provider}:NAME",
                names.join(", ")
            )),
        }
    }
    if problems.is_empty() { Ok(chosen.into_values().map(str::to_owned).collect()) } else { Err(problems) }
}

fn plain(provider: &str) -> &str {
    provider.strip_prefix("velero.io/").unwrap_or(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(
        named: &[&str],
        known: &[(&str, &str)],
        defaults: &[(&str, &str)],
    ) -> Result<Vec<String>, usize> {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        resolve(&named, &map(known), &map(defaults)).map_err(|problems| problems.len())
    }

    #[test]
    fn one_location_of_each_provider_is_used() {
        let known = &[("ebs", "aws"), ("far", "velero.io/aws"), ("disk", "local")];
        let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(resolved(&[], &known[..1], &[]), names(&["ebs"]));
        assert_eq!(resolved(&["far"], known, &[]), names(&["far", "disk"]));
        assert_eq!(resolved(&[], known, &[("aws", "far")]), names(&["far", "disk"]));
        assert_eq!(resolved(&[], known, &[]), Err(1));
        assert_eq!(resolved(&[], known, &[("aws", "gone")]), Err(1));
        assert_eq!(resolved(&["ebs", "far"], known, &[]), Err(1));
        assert_eq!(resolved(&["ebs", "ebs"], known, &[]), names(&["ebs", "disk"]));
        assert_eq!(resolved(&["gone"], known, &[("aws", "ebs")]), Err(1));
        assert_eq!(resolved(&[], &[], &[]), names(&[]));
    }
}
