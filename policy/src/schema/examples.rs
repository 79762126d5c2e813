//! An example and a unit for each field that its type alone doesn't give one: for editors and for the reference.

use serde_json::{Map, Value};

/// Definition, field, and the example as YAML.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("BackupCommand", "exec", "{container: db, command: [sync]}"),
    ("BackupEntry", "hooks", "[{name: flush, pre: [{exec: {command: [sync]}}]}]"),
    ("BackupEntry", "labels", "{ticket: OPS-1234}"),
    ("BackupEntry", "location", "default"),
    ("BackupEntry", "name", "before-1-37"),
    ("BackupEntry", "select", "{namespaces: {include: [shop-eu]}}"),
    ("BackupEntry", "volumes", "{snapshotVolumes: true}"),
    ("BackupExec", "container", "db"),
    ("BackupExec", "onError", "Continue"),
    ("BackupExec", "timeout", "2m"),
    ("BackupHook", "name", "flush"),
    ("BackupHook", "post", "[{exec: {command: [rm, -f, /tmp/lock]}}]"),
    ("BackupHook", "pre", "[{exec: {container: db, command: [sync]}}]"),
    ("BackupHook", "select", "{labelSelector: {matchLabels: {app: db}}}"),
    ("BackupPolicySpec", "backups", "[{name: before-1-37}]"),
    ("BackupPolicySpec", "hooks", "[{name: flush, pre: [{exec: {command: [sync]}}]}]"),
    ("BackupPolicySpec", "itemOperationTimeout", "8h"),
    ("BackupPolicySpec", "locations", "[near, far]"),
    ("BackupPolicySpec", "retention", "{keepLast: 3, daily: 7, weekly: 4}"),
    ("BackupPolicySpec", "schedules", "[{name: nightly, cron: 0 1 * * *, timeZone: Europe/Berlin}]"),
    ("BackupPolicySpec", "select", "{namespaces: {include: [\"shop-*\"], exclude: [shop-tmp]}}"),
    ("BackupPolicySpec", "suspend", "true"),
    ("BackupPolicySpec", "ttl", "2160h"),
    ("BackupPolicySpec", "volumes", "{snapshotVolumes: true, snapshotLocations: [ebs]}"),
    ("CsiCondition", "driver", "ebs.csi.aws.com"),
    ("CsiCondition", "volumeAttributes", "{protocol: nfs}"),
    ("DefaultsSpec", "drift", "Report"),
    ("DefaultsSpec", "itemOperationTimeout", "8h"),
    ("DefaultsSpec", "ttl", "2160h"),
    ("GivenBackup", "phase", "PartiallyFailed"),
    ("HookSelect", "labelSelector", "{matchLabels: {app: db}}"),
    ("HookSelect", "namespaces", "{include: [\"shop-*\"]}"),
    ("HookSelect", "resources", "{include: [pods]}"),
    ("JsonPatch", "from", "/metadata/labels/old"),
    ("JsonPatch", "operation", "replace"),
    ("JsonPatch", "value", "\"1\""),
    ("LabelExpression", "key", "tier"),
    ("LabelExpression", "operator", "In"),
    ("LabelExpression", "values", "[db, cache]"),
    ("LabelSelector", "matchExpressions", "[{key: tier, operator: In, values: [db, cache]}]"),
    ("Metadata", "annotations", "{owner: team-commerce}"),
    ("Metadata", "labels", "{team: commerce}"),
    ("Metadata", "name", "shop"),
    ("ModifierConditions", "labelSelector", "{matchLabels: {tier: db}}"),
    ("ModifierConditions", "matches", "[{path: /spec/replicas, value: \"3\"}]"),
    ("ModifierConditions", "namespaces", "[shop-eu]"),
    ("ModifierRule", "conditions", "{groupResource: deployments.apps}"),
    ("ModifierRule", "mergePatches", "[{patchData: \"spec: {replicas: 1}\"}]"),
    ("ModifierRule", "patches", "[{operation: replace, path: /spec/replicas, value: \"1\"}]"),
    ("ModifierRule", "strategicPatches", "[{patchData: \"spec: {replicas: 1}\"}]"),
    ("NfsCondition", "path", "/export/shop"),
    ("NfsCondition", "server", "nfs.example.org"),
    ("Patterns", "exclude", "[shop-tmp]"),
    ("Patterns", "include", "[\"shop-*\"]"),
    ("PolicyTestSpec", "objects", "[{kind: Pod, namespace: shop-eu, name: db-0, labels: {tier: db}}]"),
    (
        "PolicyTestSpec",
        "retention",
        "[{schedule: shop-nightly, now: \"2026-11-23T12:00:00Z\", backups: [{started: \"2026-11-22T00:00:00Z\", expect: Kept}]}]",
    ),
    (
        "PolicyTestSpec",
        "runs",
        "[{schedule: shop-nightly, after: \"2026-11-23T12:00:00Z\", due: [\"2026-11-24T00:00:00Z\"]}]",
    ),
    ("PolicyTestSpec", "selection", "[{policy: shop, expect: Included, objects: [Pod/shop-eu/db-0]}]"),
    ("Remap", "nodes", "{node-a: node-b}"),
    ("RestoreCommand", "exec", "{container: db, command: [/bin/reindex]}"),
    (
        "RestoreCommand",
        "init",
        "{initContainers: [{name: wait, image: \"busybox:1.36\", command: [sleep, \"1\"]}]}",
    ),
    ("RestoreExec", "container", "db"),
    ("RestoreExec", "execTimeout", "2m"),
    ("RestoreExec", "onError", "Continue"),
    ("RestoreExec", "waitForReady", "true"),
    ("RestoreExec", "waitTimeout", "5m"),
    ("RestoreFrom", "location", "far"),
    ("RestoreHook", "name", "reindex"),
    ("RestoreHook", "postHooks", "[{exec: {command: [/bin/reindex]}}]"),
    ("RestoreHook", "select", "{labelSelector: {matchLabels: {app: db}}}"),
    ("RestoreInit", "initContainers", "[{name: wait, image: \"busybox:1.36\", command: [sleep, \"1\"]}]"),
    ("RestoreInit", "timeout", "5m"),
    ("RestorePolicySpec", "approval", "Automatic"),
    ("RestorePolicySpec", "existingResourcePolicy", "Update"),
    ("RestorePolicySpec", "from", "{policy: shop, schedule: nightly}"),
    ("RestorePolicySpec", "hooks", "[{name: reindex, postHooks: [{exec: {command: [/bin/reindex]}}]}]"),
    ("RestorePolicySpec", "itemOperationTimeout", "8h"),
    (
        "RestorePolicySpec",
        "modifiers",
        "[{conditions: {groupResource: deployments.apps}, mergePatches: [{patchData: \"spec: {replicas: 1}\"}]}]",
    ),
    ("RestorePolicySpec", "remap", "{namespaces: {shop-eu: staging-eu}}"),
    ("RestorePolicySpec", "restoreStatus", "{include: [workflows.argoproj.io]}"),
    ("RestorePolicySpec", "select", "{namespaces: {include: [shop-eu]}}"),
    ("RestorePolicySpec", "volumes", "{restorePVs: true}"),
    ("RestoreSelect", "includeClusterResources", "Never"),
    ("RestoreSelect", "labelSelector", "{matchLabels: {tier: db}}"),
    ("RestoreSelect", "namespaces", "{include: [shop-eu, shop-us]}"),
    ("RestoreSelect", "orLabelSelectors", "[{matchLabels: {tier: db}}, {matchLabels: {tier: cache}}]"),
    ("RestoreSelect", "resources", "{exclude: [nodes]}"),
    ("RestoreVolumes", "parallelFilesDownload", "4"),
    ("RestoreVolumes", "preserveNodePorts", "true"),
    ("RestoreVolumes", "restorePVs", "false"),
    ("RestoreVolumes", "writeSparseFiles", "true"),
    ("Retention", "daily", "7"),
    ("Retention", "hourly", "24"),
    ("Retention", "keepLast", "3"),
    ("Retention", "minimumGood", "1"),
    ("Retention", "monthly", "12"),
    ("Retention", "weekly", "4"),
    ("Retention", "yearly", "2"),
    ("RetentionCase", "backups", "[{started: \"2026-11-22T00:00:00Z\", expect: Kept, because: Daily}]"),
    ("ScheduleEntry", "catchUp", "None"),
    ("ScheduleEntry", "concurrencyPolicy", "Queue"),
    ("ScheduleEntry", "hooks", "[{name: flush, pre: [{exec: {command: [sync]}}]}]"),
    ("ScheduleEntry", "labels", "{content: objects}"),
    ("ScheduleEntry", "location", "far"),
    ("ScheduleEntry", "name", "nightly"),
    ("ScheduleEntry", "retention", "{daily: 7}"),
    ("ScheduleEntry", "select", "{namespaces: {include: [shop-eu]}}"),
    ("ScheduleEntry", "skipImmediately", "true"),
    ("ScheduleEntry", "suspend", "true"),
    ("ScheduleEntry", "volumes", "{snapshotVolumes: false}"),
    ("SecretKey", "key", "cloud"),
    ("SecretKey", "name", "cloud-credentials"),
    ("Select", "clusterResources", "{include: [storageclasses.storage.k8s.io]}"),
    ("Select", "includeClusterResources", "Never"),
    ("Select", "labelSelector", "{matchLabels: {tier: db}}"),
    ("Select", "namespacedResources", "{exclude: [events]}"),
    ("Select", "namespaces", "{include: [\"shop-*\"], exclude: [shop-tmp]}"),
    ("Select", "orLabelSelectors", "[{matchLabels: {tier: db}}, {matchLabels: {tier: cache}}]"),
    ("Select", "resources", "{exclude: [events]}"),
    ("SnapshotLocationSpec", "credential", "{name: cloud-credentials, key: cloud}"),
    ("StorageLocationSpec", "accessMode", "ReadOnly"),
    ("StorageLocationSpec", "backupSyncPeriod", "5m"),
    ("StorageLocationSpec", "caCert", "\"-----BEGIN CERTIFICATE-----\\n…\\n-----END CERTIFICATE-----\\n\""),
    ("StorageLocationSpec", "caCertRef", "{name: bucket-ca, key: ca.crt}"),
    ("StorageLocationSpec", "credential", "{name: cloud-credentials, key: cloud}"),
    ("StorageLocationSpec", "default", "true"),
    ("StorageLocationSpec", "takeOver", "prod-eu-1"),
    ("StorageLocationSpec", "validationFrequency", "5m"),
    ("ValueMatch", "value", "\"3\""),
    ("VolumeAction", "parameters", "{driver: fast}"),
    ("VolumeAction", "type", "skip"),
    ("VolumeConditions", "csi", "{driver: ebs.csi.aws.com}"),
    ("VolumeConditions", "nfs", "{server: nfs.example.org}"),
    ("VolumeConditions", "pvcAccessModes", "[ReadWriteMany]"),
    ("VolumeConditions", "pvcLabels", "{tier: db}"),
    ("VolumeConditions", "pvcPhase", "[Pending, Lost]"),
    ("VolumeConditions", "pvcVolumeMode", "Block"),
    ("VolumeConditions", "storageClass", "[gp2, gp3]"),
    ("VolumeConditions", "volumeTypes", "[emptyDir, nfs]"),
    ("VolumeRule", "action", "{type: skip}"),
    ("VolumeRule", "conditions", "{capacity: \"100Gi,\"}"),
    ("Volumes", "csiSnapshotTimeout", "30m"),
    ("Volumes", "dataMover", "velero"),
    ("Volumes", "defaultVolumesToFsBackup", "true"),
    ("Volumes", "parallelFilesUpload", "8"),
    ("Volumes", "rules", "[{conditions: {capacity: \"100Gi,\"}, action: {type: skip}}]"),
    ("Volumes", "snapshotMoveData", "true"),
    ("Volumes", "snapshotVolumes", "true"),
    ("Volumes", "volumeGroupSnapshotLabelKey", "example.org/volume-group"),
];

/// What numbers count. Durations carry their units, and instants their zone.
const UNITS: &[(&str, &str, &str)] = &[
    ("RestoreVolumes", "parallelFilesDownload", "files"),
    ("Retention", "daily", "days"),
    ("Retention", "hourly", "hours"),
    ("Retention", "keepLast", "backups"),
    ("Retention", "minimumGood", "backups"),
    ("Retention", "monthly", "months"),
    ("Retention", "weekly", "weeks"),
    ("Retention", "yearly", "years"),
    ("Volumes", "parallelFilesUpload", "files"),
];

/// Adds the examples of this table to the definitions.
pub(super) fn add(definitions: &mut Map<String, Value>) {
    for (definition, field, example) in EXAMPLES {
        let example: Value = crate::yaml::from_str(example).expect("the examples are YAML");
        let place = definitions
            .get_mut(*definition)
            .and_then(|definition| definition.get_mut("properties")?.get_mut(*field)?.as_object_mut());
        if let Some(place) = place {
            place.entry("examples").or_insert_with(|| Value::from(vec![example]));
        }
    }
}

/// What the number counts.
pub(super) fn unit(definition: &str, field: &str) -> Option<&'static str> {
    UNITS.iter().find(|(of, name, _)| (*of, *name) == (definition, field)).map(|(_, _, unit)| *unit)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn fields() -> Vec<(String, String, Value)> {
        let mut definitions = super::super::definitions();
        add(&mut definitions);
        let properties = |(name, definition): (String, Value)| {
            let properties = definition["properties"].as_object().cloned().unwrap_or_default();
            properties.into_iter().map(move |(field, schema)| (name.clone(), field, schema))
        };
        definitions.into_iter().flat_map(properties).collect()
    }

    #[test]
    fn every_field_has_an_example_that_the_schema_accepts() {
        let definitions = super::super::definitions();
        let mut wrong = Vec::new();
        for (definition, field, mut schema) in fields() {
            let examples = schema["examples"].as_array().cloned().unwrap_or_default();
            if examples.is_empty() {
                wrong.push(format!("{definition}.{field} has none"));
            }
            schema["$defs"] = Value::Object(definitions.clone());
            for example in
                examples.iter().filter(|example| !jsonschema::draft202012::is_valid(&schema, example))
            {
                wrong.push(format!("{definition}.{field}: {example}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn the_tables_name_fields_that_there_are() {
        let fields = fields();
        let of = |definition: &str, field: &str| {
            fields.iter().find(|(of, name, _)| (of.as_str(), name.as_str()) == (definition, field))
        };
        for (definition, field, example) in EXAMPLES {
            let (_, _, schema) = of(definition, field).unwrap_or_else(|| panic!("{definition}.{field}"));
            let example: Value = crate::yaml::from_str(example).unwrap();
            assert_eq!(
                schema["examples"],
                json!([example]),
                "{definition}.{field} has an example of its own"
            );
        }
        for (definition, field, schema) in &fields {
            assert_eq!(
                schema["type"] == "integer",
                unit(definition, field).is_some(),
                "{definition}.{field}"
            );
        }
    }
}
