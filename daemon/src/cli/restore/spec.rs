//! The fields of a Restore as flags, or a whole Restore in a file.

use std::collections::BTreeMap;

use anyhow::Context as _;
use holdfast_policy::velero;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;

/// What is restored: a backup, or the newest of a schedule.
pub(super) struct Source {
    pub(super) backup: Option<String>,
    pub(super) schedule: Option<String>,
}

/// The fields of a Restore's spec, under the names that the `velero` command has for them.
#[derive(Debug, clap::Args)]
#[group(conflicts_with = "file", multiple = true)]
pub(super) struct SpecArgs {
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    include_namespaces: Vec<String>,
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    exclude_namespaces: Vec<String>,
    #[arg(long, value_name = "RESOURCES", value_delimiter = ',')]
    include_resources: Vec<String>,
    #[arg(long, value_name = "RESOURCES", value_delimiter = ',')]
    exclude_resources: Vec<String>,
    #[arg(long, value_name = "OLD:NEW,…", value_delimiter = ',', value_parser = pair(':'))]
    namespace_mappings: Vec<(String, String)>,
    /// Only objects with these labels.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = pair('='))]
    selector: Vec<(String, String)>,
    #[arg(long)]
    include_cluster_resources: Option<bool>,
    #[arg(long, value_name = "none|update")]
    existing_resource_policy: Option<String>,
    #[arg(long)]
    preserve_nodeports: bool,
    #[arg(long, value_name = "CONFIGMAP")]
    resource_modifier_configmap: Option<String>,
}

fn pair(separator: char) -> impl Fn(&str) -> Result<(String, String), String> + Clone {
    move |text: &str| {
        let parts = text.split_once(separator).filter(|(key, value)| !key.is_empty() && !value.is_empty());
        let (key, value) = parts.ok_or_else(|| format!("write it as A{separator}B"))?;
        Ok((key.to_owned(), value.to_owned()))
    }
}

pub(super) fn read(path: &std::path::Path) -> anyhow::Result<velero::Restore> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is no Restore", path.display()))
}

impl SpecArgs {
    pub(super) fn into_spec(
        self,
        Source { backup, schedule }: Source,
    ) -> anyhow::Result<velero::RestoreSpec> {
        let Self {
            include_namespaces,
            exclude_namespaces,
            include_resources,
            exclude_resources,
            namespace_mappings,
            selector,
            include_cluster_resources,
            existing_resource_policy,
            preserve_nodeports,
            resource_modifier_configmap,
        } = self;
        let modifier = resource_modifier_configmap
            .map(|name| serde_json::from_value(json!({"kind": "ConfigMap", "name": name})))
            .transpose()?;
        let labels: BTreeMap<String, String> = selector.into_iter().collect();
        Ok(velero::RestoreSpec {
            backup_name: backup,
            schedule_name: schedule,
            included_namespaces: include_namespaces,
            excluded_namespaces: exclude_namespaces,
            included_resources: include_resources,
            excluded_resources: exclude_resources,
            namespace_mapping: namespace_mappings.into_iter().collect(),
            label_selector: (!labels.is_empty())
                .then_some(LabelSelector { match_labels: Some(labels), match_expressions: None }),
            include_cluster_resources,
            existing_resource_policy,
            preserve_node_ports: preserve_nodeports.then_some(true),
            resource_modifier: modifier,
            ..velero::RestoreSpec::default()
        })
    }
}
