//! The resource policy of a restore: filters by kind, name and label, in the ConfigMap that the Restore names. It is
//! read when the Restore is validated and again when its run starts.

use holdfast_policy::resource_policy::{IncludeExcludePolicy, ResourcePolicy};
use holdfast_policy::velero;

use crate::cluster::Cluster;
use crate::engine::backup::{PolicySource, ReadError};

/// Reads what a Restore names as its policy, in its own namespace.
pub async fn read_policy(cluster: &Cluster, restore: &velero::Restore) -> Result<PolicySource, ReadError> {
    let home = restore.metadata.namespace.as_deref().unwrap_or_default();
    PolicySource::read(cluster, home, named(&restore.spec)).await
}

/// The filters, or all that is wrong with them.
pub(super) fn parse(source: &PolicySource) -> Result<ResourcePolicy, Vec<String>> {
    let policy = source.parse()?;
    let ResourcePolicy { include_exclude, volume_policies, cluster_scoped: _, namespaced: _ } = &policy;
    let mut problems = Vec::new();
    let mut refuse = |section: &str| {
        problems.push(format!("{section} is of backups, and a restore takes filter policies only"));
    };
    if *include_exclude != IncludeExcludePolicy::default() {
        refuse("includeExcludePolicy");
    }
    if !volume_policies.is_empty() {
        refuse("volumePolicies");
    }
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
}

/// What validation says about the policy, in Velero's form.
pub(super) fn problems(spec: &velero::RestoreSpec, source: &PolicySource) -> Vec<String> {
    let found = match &spec.resource_policy {
        Some(reference) if named(spec).is_none() => {
            vec![format!("a policy is a ConfigMap, not a {}", reference.kind)]
        }
        Some(_) | None => parse(source).err().unwrap_or_default(),
    };
    found.into_iter().map(|problem| format!("invalid restore resource policies: {problem}")).collect()
}

fn named(spec: &velero::RestoreSpec) -> Option<&str> {
    let reference = spec.resource_policy.as_ref()?;
    reference.kind.eq_ignore_ascii_case("configmap").then_some(reference.name.as_str())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn told(kind: &str, source: &PolicySource) -> Vec<String> {
        let spec = serde_json::from_value(json!({"resourcePolicy": {"kind": kind, "name": "p"}})).unwrap();
        problems(&spec, source)
    }

    fn found(text: &str) -> PolicySource {
        let data = [("policy.yaml".to_owned(), text.to_owned())].into();
        PolicySource::Found { name: "p".to_owned(), data }
    }

    #[test]
    fn only_filters_of_a_config_map_are_taken() {
        let filters = "version: v1\nclusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv]}]}\n";
        let volumes = "version: v1\nvolumePolicies: [{conditions: {}, action: {type: skip}}]\n";
        let lists = "version: v1\nincludeExcludePolicy: {includedNamespaceScopedResources: [pods]}\n";
        let starts = "invalid restore resource policies: ";
        assert_eq!(told("configmap", &found(filters)), [""; 0]);
        let table = [
            ("ConfigMap", found(volumes), "volumePolicies is of backups"),
            ("ConfigMap", found(lists), "includeExcludePolicy is of backups"),
            ("ConfigMap", found("version: v2"), "ConfigMap p: version"),
            ("ConfigMap", PolicySource::Missing { name: "p".to_owned() }, "ConfigMap p not found"),
            ("Secret", PolicySource::NotNamed, "a policy is a ConfigMap, not a Secret"),
        ];
        for (kind, source, expected) in table {
            let told = told(kind, &source);
            assert!(told.len() == 1 && told[0].starts_with(&format!("{starts}{expected}")), "{told:?}");
        }
    }
}
