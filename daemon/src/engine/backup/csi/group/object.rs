//! The objects that ask for the snapshot of a group. Pure.
//!
//! Where all claims with the group's label are wanted, a VolumeGroupSnapshot that selects by it is enough. Where some are not,
//! it would snapshot these as well, and storage systems need not be able to delete one snapshot of a group. Then the
//! VolumeGroupSnapshot selects nothing, and its content, which names the volumes, is made beside it, under the name by
//! which the snapshot controller looks for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::object::owner;
use super::class::Class;

const PREFIX: &str = "velero-";
const SECRET_NAME: &str = "csi.storage.k8s.io/group-snapshotter-secret-name";
const SECRET_NAMESPACE: &str = "csi.storage.k8s.io/group-snapshotter-secret-namespace";
/// No claim has it.
const NOBODY: &str = "holdfast.dev/named-by-content";

/// Of what is asked for.
pub(super) struct Wanted<'a> {
    pub(super) api_version: String,
    pub(super) backup: &'a str,
    pub(super) backup_uid: &'a str,
    pub(super) namespace: &'a str,
    pub(super) label: &'a str,
    pub(super) value: &'a str,
    pub(super) class: &'a Class,
    /// Makes the name one that nobody has.
    pub(super) suffix: &'a str,
}

/// Who says which volumes are in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chooser {
    Label,
    Content,
}

/// A class has a template for its Secret that holds what nobody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {parameter} of VolumeGroupSnapshotClass {class} can't be resolved: {template}")]
pub(in crate::engine::backup) struct Unresolved {
    class: String,
    parameter: &'static str,
    template: String,
}

impl Wanted<'_> {
    pub(super) fn name(&self) -> String {
        // Values of labels may hold what names may not.
        let value = self.value.to_lowercase().replace('_', "-");
        format!("{PREFIX}{value}-{}", self.suffix)
    }

    pub(super) fn snapshot(&self, chooser: Chooser) -> Value {
        let mut marks = owner(self.backup, self.backup_uid);
        marks.insert(self.label.to_owned(), self.value.to_owned());
        let selector = match chooser {
            Chooser::Label => json!({self.label: self.value}),
            Chooser::Content => json!({NOBODY: self.suffix}),
        };
        json!({
            "apiVersion": self.api_version,
            "kind": "VolumeGroupSnapshot",
            "metadata": {"name": self.name(), "namespace": self.namespace, "labels": marks},
            "spec": {
                "volumeGroupSnapshotClassName": self.class.metadata.name,
                "source": {"selector": {"matchLabels": selector}},
            },
        })
    }

    /// The content of the VolumeGroupSnapshot with this uid, as the snapshot controller would make it.
    pub(super) fn content(&self, uid: &str, volume_handles: &[String]) -> Result<Value, Unresolved> {
        let (name, own_name) = (content_name(uid), self.name());
        let mut annotations = BTreeMap::new();
        let known = [
            ("${volumegroupsnapshotcontent.name}", name.as_str()),
            ("${volumegroupsnapshot.namespace}", self.namespace),
            ("${volumegroupsnapshot.name}", own_name.as_str()),
        ];
        for (parameter, annotation, known) in [
            (SECRET_NAME, "groupsnapshot.storage.kubernetes.io/deletion-secret-name", &known[..]),
            // Who makes VolumeGroupSnapshots does not say whose Secret is taken.
            (SECRET_NAMESPACE, "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace", &known[..2]),
        ] {
            let Some(template) = self.class.parameters.get(parameter) else { continue };
            annotations.insert(annotation, self.resolve(parameter, template, known)?);
        }
        Ok(json!({
            "apiVersion": self.api_version,
            "kind": "VolumeGroupSnapshotContent",
            "metadata": {
                "name": name, "labels": owner(self.backup, self.backup_uid), "annotations": annotations,
            },
            "spec": {
                "deletionPolicy": self.class.deletion_policy,
                "driver": self.class.driver,
                "volumeGroupSnapshotClassName": self.class.metadata.name,
                "source": {"volumeHandles": volume_handles},
                "volumeGroupSnapshotRef": {
                    "apiVersion": self.api_version, "kind": "VolumeGroupSnapshot",
                    "namespace": self.namespace, "name": own_name, "uid": uid,
                },
            },
        }))
    }

    fn resolve(
        &self,
        parameter: &'static str,
        template: &str,
        known: &[(&str, &str)],
    ) -> Result<String, Unresolved> {
        let resolved =
            known.iter().fold(template.to_owned(), |text, (token, value)| text.replace(token, value));
        match resolved.contains('$') {
            true => Err(Unresolved {
                class: self.class.metadata.name.clone(),
                parameter,
                template: template.to_owned(),
            }),
            false => Ok(resolved),
        }
    }
}

/// The name that the snapshot controller gives the content of a VolumeGroupSnapshot.
pub(in super::super) fn content_name(uid: &str) -> String {
    format!("groupsnapcontent-{uid}")
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::super::super::class::Metadata;
    use super::*;

    fn class(parameters: &[(&str, &str)]) -> Class {
        let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Class {
            metadata: Metadata { name: "fast".to_owned(), ..Metadata::default() },
            driver: "disk.example".to_owned(),
            deletion_policy: "Delete".to_owned(),
            parameters: parameters.collect(),
        }
    }

    fn wanted(class: &Class) -> Wanted<'_> {
        Wanted {
            api_version: "groupsnapshot.storage.k8s.io/v1beta2".to_owned(),
            backup: "nightly",
            backup_uid: "b-uid",
            namespace: "shop",
            label: "velero.io/volume-group",
            value: "My_DB",
            class,
            suffix: "x7k2p",
        }
    }

    #[test]
    fn a_group_is_selected_by_its_label_or_by_nothing() {
        let class = class(&[]);
        let expected = |selector: Value| {
            json!({
                "apiVersion": "groupsnapshot.storage.k8s.io/v1beta2",
                "kind": "VolumeGroupSnapshot",
                "metadata": {
                    "name": "velero-my-db-x7k2p", "namespace": "shop",
                    "labels": {
                        "velero.io/backup-name": "nightly", "velero.io/backup-uid": "b-uid",
                        "velero.io/volume-group": "My_DB",
                    },
                },
                "spec": {
                    "volumeGroupSnapshotClassName": "fast", "source": {"selector": {"matchLabels": selector}},
                },
            })
        };
        let by_label = wanted(&class).snapshot(Chooser::Label);
        assert_eq!(by_label, expected(json!({"velero.io/volume-group": "My_DB"})));
        let by_nothing = wanted(&class).snapshot(Chooser::Content);
        assert_eq!(by_nothing, expected(json!({"holdfast.dev/named-by-content": "x7k2p"})));
    }

    #[test]
    fn a_content_names_its_volumes_and_the_secret_of_its_class() {
        let class = class(&[
            (SECRET_NAME, "${volumegroupsnapshot.name}-key"),
            (SECRET_NAMESPACE, "in-${volumegroupsnapshot.namespace}"),
        ]);
        let content = wanted(&class).content("uid", &["vol-1".to_owned(), "vol-2".to_owned()]).unwrap();
        assert_eq!(content["metadata"]["name"], "groupsnapcontent-uid");
        assert_eq!(
            content["metadata"]["annotations"],
            json!({
                "groupsnapshot.storage.kubernetes.io/deletion-secret-name": "velero-my-db-x7k2p-key",
                "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace": "in-shop",
            })
        );
        assert_eq!(content["spec"]["source"], json!({"volumeHandles": ["vol-1", "vol-2"]}));
        assert_eq!(content["spec"]["volumeGroupSnapshotRef"]["uid"], "uid");
        assert_eq!(content["spec"]["deletionPolicy"], "Delete");
    }

    #[test]
    fn the_namespace_of_a_secret_does_not_follow_from_the_name_of_a_snapshot() {
        let class = class(&[(SECRET_NAMESPACE, "${volumegroupsnapshot.name}")]);
        let error = wanted(&class).content("uid", &[]).unwrap_err();
        assert_eq!(error.template, "${volumegroupsnapshot.name}");
    }
}
