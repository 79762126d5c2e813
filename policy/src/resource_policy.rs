//! The ConfigMap that a Backup or Restore names as its resource policy: Velero's volume policies, include and exclude
//! lists, and fine-grained filters. Takes the ConfigMap's data, gives the checked policy or everything that is wrong
//! with it. Names of kinds are resolved by who knows what the cluster serves.

use std::collections::BTreeMap;

mod filters;
mod raw;
mod volume;
mod volume_policy;

pub use filters::{KindFilter, NamespaceFilters};
pub use raw::IncludeExcludePolicy;
pub use volume::{Volume, bytes_of};
pub use volume_policy::VolumePolicy;

use raw::Document;

/// One finding about a ConfigMap.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("the ConfigMap must have exactly one key, not {0}")]
    Keys(usize),
    #[error("the text has {0} bytes, more than the {MOST_BYTES} that are read")]
    TooLarge(usize),
    #[error("cannot read the text: {0}")]
    Yaml(crate::yaml::Error),
    #[error("version is {0:?}, but has to be \"v1\"")]
    Version(String),
    #[error("includeExcludePolicy.{list}: {reason}")]
    IncludeExclude { list: &'static str, reason: String },
    #[error("volumePolicies[{index}]: {reason}")]
    VolumePolicy { index: usize, reason: String },
    #[error("clusterScopedFilterPolicy: {0}")]
    ClusterScoped(String),
    #[error("namespacedFilterPolicies[{index}]: {reason}")]
    Namespaced { index: usize, reason: String },
}

/// An API server stores no larger object than about this.
const MOST_BYTES: usize = 1_500_000;

/// A checked policy. The default one changes nothing.
#[derive(Clone, Debug, Default)]
pub struct ResourcePolicy {
    pub include_exclude: IncludeExcludePolicy,
    /// The first that matches decides.
    pub volume_policies: Vec<VolumePolicy>,
    pub cluster_scoped: Vec<KindFilter>,
    pub namespaced: Vec<NamespaceFilters>,
}

impl ResourcePolicy {
    pub fn parse(data: &BTreeMap<String, String>) -> Result<Self, Vec<Invalid>> {
        let mut texts = data.values();
        let (Some(text), None) = (texts.next(), texts.next()) else {
            return Err(vec![Invalid::Keys(data.len())]);
        };
        if text.len() > MOST_BYTES {
            return Err(vec![Invalid::TooLarge(text.len())]);
        }
        let document: Document = crate::yaml::from_str(text).map_err(|error| vec![Invalid::Yaml(error)])?;
        let Document {
            version,
            include_exclude_policy,
            volume_policies,
            cluster_scoped_filter_policy,
            namespaced_filter_policies,
        } = document;
        let mut found = Vec::new();
        if version != "v1" {
            found.push(Invalid::Version(version));
        }
        let include_exclude = include_exclude_policy.unwrap_or_default();
        found.extend(include_exclude.problems());
        let mut policies = Vec::new();
        for (index, raw) in volume_policies.into_iter().enumerate() {
            match VolumePolicy::new(raw) {
                Ok(policy) => policies.push(policy),
                Err(reason) => found.push(Invalid::VolumePolicy { index, reason }),
            }
        }
        let mut report = |invalid| found.push(invalid);
        let cluster_scoped = cluster_scoped_filter_policy
            .map(|raw| filters::cluster_scoped(raw, &mut report))
            .unwrap_or_default();
        let namespaced = filters::namespaced(namespaced_filter_policies, &mut report);
        if found.is_empty() {
            Ok(Self { include_exclude, volume_policies: policies, cluster_scoped, namespaced })
        } else {
            Err(found)
        }
    }

    /// Whether it has filters of resources, which only the newer filter model knows.
    pub fn needs_newer_filters(&self) -> Vec<&'static str> {
        let sections = [
            ("includeExcludePolicy", !self.include_exclude.is_empty()),
            ("clusterScopedFilterPolicy", !self.cluster_scoped.is_empty()),
            ("namespacedFilterPolicies", !self.namespaced.is_empty()),
        ];
        sections.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }

    /// Adds the policies that a server gives to every backup, behind the backup's own, which therefore win.
    pub fn append_global(&mut self, global: &[VolumePolicy]) {
        self.volume_policies.extend_from_slice(global);
    }

    /// The policy that decides about a volume, if one does.
    pub fn volume_policy(&self, volume: &Volume) -> Option<&VolumePolicy> {
        self.volume_policies.iter().find(|policy| policy.matches(volume))
    }
}

#[cfg(test)]
mod tests;
