//! The resource policy of a backup: the ConfigMap that it names, and the one whose volume policies the server gives
//! to every backup. Both are read when a backup is validated and again when its run starts.

use std::collections::BTreeMap;

use holdfast_policy::resource_policy::ResourcePolicy;
use holdfast_policy::velero::{Backup, BackupSpec, labels};
use serde::Deserialize;

use crate::cluster::{self, Cluster, Resource};

/// What a ConfigMap that was asked for holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PolicySource {
    /// None is asked for.
    #[default]
    NotNamed,
    Missing {
        name: String,
    },
    Found {
        name: String,
        data: BTreeMap<String, String>,
    },
}

/// What decides about the policy of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySources {
    pub own: PolicySource,
    /// Of every backup of the server.
    pub global: PolicySource,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read ConfigMap {name}")]
    Cluster { name: String, source: cluster::Error },
    #[error("ConfigMap {name} cannot be read")]
    Malformed { name: String, source: serde_json::Error },
}

impl PolicySources {
    /// Reads what a backup asks for, and the server's own ConfigMap, where it has one.
    pub async fn read(cluster: &Cluster, backup: &Backup, global: Option<&str>) -> Result<Self, ReadError> {
        let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
        Ok(Self {
            own: PolicySource::read(cluster, namespace, named(&backup.spec)).await?,
            global: PolicySource::read(cluster, namespace, global).await?,
        })
    }

    /// The policy that both give, or all that is wrong with them.
    pub fn parse(&self) -> Result<ResourcePolicy, Vec<String>> {
        match (self.own.parse(), self.global.parse()) {
            (Ok(mut own), Ok(global)) => {
                own.append_global(&global.volume_policies);
                Ok(own)
            }
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
            (Err(mut problems), Err(global)) => {
                problems.extend(global);
                Err(problems)
            }
        }
    }
}

impl PolicySource {
    /// Reads a ConfigMap of the daemon's namespace.
    pub async fn read(cluster: &Cluster, namespace: &str, name: Option<&str>) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct ConfigMap {
            #[serde(default)]
            data: BTreeMap<String, String>,
        }
        let Some(name) = name.map(str::to_owned) else { return Ok(Self::NotNamed) };
        let config_maps = Resource {
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced: true,
            ..Resource::default()
        };
        let found = cluster.get(&config_maps, Some(namespace), &name).await;
        match found.map_err(|source| ReadError::Cluster { name: name.clone(), source })? {
            None => Ok(Self::Missing { name }),
            Some(item) => match serde_json::from_slice::<ConfigMap>(&item.json) {
                Ok(ConfigMap { data }) => Ok(Self::Found { name, data }),
                Err(source) => Err(ReadError::Malformed { name, source }),
            },
        }
    }

    pub fn name(&self) -> Option<&str> {
        match self {
            Self::NotNamed => None,
            Self::Missing { name } | Self::Found { name, data: _ } => Some(name),
        }
    }

    /// The policy in it, or what is wrong with it.
    pub fn parse(&self) -> Result<ResourcePolicy, Vec<String>> {
        match self {
            Self::NotNamed => Ok(ResourcePolicy::default()),
            Self::Missing { name } => Err(vec![format!("ConfigMap {name} not found")]),
            Self::Found { name, data } => ResourcePolicy::parse(data).map_err(|found| {
                found.iter().map(|invalid| format!("ConfigMap {name}: {invalid}")).collect()
            }),
        }
    }
}

/// The ConfigMap that the spec names.
fn named(spec: &BackupSpec) -> Option<&str> {
    let reference = spec.resource_policy.as_ref()?;
    is_config_map(&reference.kind).then_some(reference.name.as_str())
}

fn is_config_map(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("configmap")
}

/// The server's ConfigMap that counted when the backup was validated.
pub(super) fn global_of(backup: &Backup) -> Option<&str> {
    let annotations = backup.metadata.annotations.as_ref()?;
    annotations.get(labels::GLOBAL_VOLUME_POLICY).map(String::as_str)
}

/// What validation says about the policy, in Velero's form.
pub(super) fn problems(spec: &BackupSpec, sources: &PolicySources, is_joint: bool) -> Vec<String> {
    let other = spec.resource_policy.as_ref().map(|policy| &policy.kind).filter(|kind| !is_config_map(kind));
    if let Some(kind) = other {
        // Running without the policy would take, or leave out, what the user decided otherwise about.
        return vec![format!("invalid resource policies: a policy is a ConfigMap, not a {kind}")];
    }
    match sources.parse() {
        Err(problems) => {
            problems.into_iter().map(|problem| format!("invalid resource policies: {problem}")).collect()
        }
        Ok(_) if !is_joint => Vec::new(),
        Ok(_) => sources
            .own
            .parse()
            .map(|policy| policy.needs_newer_filters())
            .unwrap_or_default()
            .into_iter()
            .map(|section| {
                format!(
                    "invalid resource policies: {section} cannot be used with include-resources, exclude-resources \
                     and include-cluster-resources, the old filter parameters"
                )
            })
            .collect(),
    }
}
