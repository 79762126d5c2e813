//! The CustomResourceDefinitions of the thirteen kinds, as objects and as one YAML text.
//!
//! Schemas come from the Rust types; names, short names and printer columns are here. No kind has a status
//! subresource, and neither spec nor status is required, as in Velero's own CRDs.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresources,
    CustomResourceValidation, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::labels;
use super::structural::schema_of;
use super::{
    Backup, BackupRepository, BackupStorageLocation, DataDownload, DataUpload, DeleteBackupRequest,
    DownloadRequest, Kind, PodVolumeBackup, PodVolumeRestore, Restore, Schedule, ServerStatusRequest,
    VolumeSnapshotLocation,
};
use crate::yaml;

/// How the paths of the API name a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

impl Served {
    const fn of<K: Kind>() -> Served {
        Served { group: K::GROUP, version: K::VERSION, plural: K::PLURAL }
    }

    /// `velero.io/v1`.
    pub fn group_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// The name of its CustomResourceDefinition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The names of [`crds`], for those who need no schemas.
pub const SERVED: [Served; 13] = [
    Served::of::<Backup>(),
    Served::of::<Restore>(),
    Served::of::<Schedule>(),
    Served::of::<BackupStorageLocation>(),
    Served::of::<VolumeSnapshotLocation>(),
    Served::of::<DeleteBackupRequest>(),
    Served::of::<DownloadRequest>(),
    Served::of::<ServerStatusRequest>(),
    Served::of::<BackupRepository>(),
    Served::of::<PodVolumeBackup>(),
    Served::of::<PodVolumeRestore>(),
    Served::of::<DataUpload>(),
    Served::of::<DataDownload>(),
];

/// All thirteen, always in this order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        crd::<Backup>(Display::default()),
        crd::<Restore>(Display::default()),
        crd::<Schedule>(Display {
            columns: vec![
                phase("Status"),
                column("Schedule", ".spec.schedule", "string"),
                column("LastBackup", ".status.lastBackup", "date"),
                age(),
                column("Paused", ".spec.paused", "boolean"),
            ],
            ..Display::default()
        }),
        crd::<BackupStorageLocation>(Display {
            short_name: Some("bsl"),
            columns: vec![
                phase("Phase"),
                column("Last Validated", ".status.lastValidationTime", "date"),
                age(),
                column("Default", ".spec.default", "boolean"),
            ],
        }),
        crd::<VolumeSnapshotLocation>(Display { short_name: Some("vsl"), ..Display::default() }),
        crd::<DeleteBackupRequest>(Display {
            columns: vec![column("BackupName", ".spec.backupName", "string"), phase("Status")],
            ..Display::default()
        }),
        crd::<DownloadRequest>(Display::default()),
        crd::<ServerStatusRequest>(Display { short_name: Some("ssr"), ..Display::default() }),
        crd::<BackupRepository>(Display {
            columns: vec![age(), column("Repository Type", ".spec.repositoryType", "string")],
            ..Display::default()
        }),
        crd::<PodVolumeBackup>(Display {
            columns: vec![
                phase("Status"),
                started(),
                bytes_done(),
                total_bytes(),
                incremental_bytes(),
                storage_location(),
                age(),
                // The status has no such field: Velero's column is always blank, and so is ours.
                node(),
                column("Uploader", ".spec.uploaderType", "string"),
            ],
            ..Display::default()
        }),
        crd::<PodVolumeRestore>(Display {
            columns: vec![
                phase("Status"),
                started(),
                bytes_done(),
                total_bytes(),
                storage_location(),
                age(),
                node(),
                column("Uploader Type", ".spec.uploaderType", "string"),
            ],
            ..Display::default()
        }),
        crd::<DataUpload>(Display {
            columns: vec![
                phase("Status"),
                started(),
                bytes_done(),
                total_bytes(),
                incremental_bytes(),
                storage_location(),
                age(),
                node(),
            ],
            ..Display::default()
        }),
        crd::<DataDownload>(Display {
            columns: vec![
                phase("Status"),
                started(),
                bytes_done(),
                total_bytes(),
                storage_location(),
                age(),
                node(),
            ],
            ..Display::default()
        }),
    ]
}

/// [`crds`] as one text of several documents, for `kubectl apply`.
pub fn crds_yaml() -> String {
    crds().iter().map(crd_yaml).collect()
}

/// One document, with the line that separates it from the one before.
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    format!("---\n{}", yaml::to_string(crd).expect("a CRD has nothing that YAML can't say"))
}

/// How kubectl shows a kind.
#[derive(Default)]
struct Display {
    short_name: Option<&'static str>,
    columns: Vec<CustomResourceColumnDefinition>,
}

fn crd<K: Kind>(display: Display) -> CustomResourceDefinition {
    let Display { short_name, columns } = display;
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", K::PLURAL, K::GROUP)),
            labels: Some(BTreeMap::from([(
                labels::COMPONENT.to_owned(),
                labels::COMPONENT_VELERO.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: K::GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: K::KIND.to_owned(),
                list_kind: Some(format!("{}List", K::KIND)),
                plural: K::PLURAL.to_owned(),
                singular: Some(K::KIND.to_ascii_lowercase()),
                short_names: short_name.map(|name| vec![name.to_owned()]),
                ..CustomResourceDefinitionNames::default()
            },
            scope: "Namespaced".to_owned(),
            versions: vec![CustomResourceDefinitionVersion {
                name: K::VERSION.to_owned(),
                served: true,
                storage: true,
                schema: Some(CustomResourceValidation { open_api_v3_schema: Some(root_schema::<K>()) }),
                // Empty, so none is enabled: Velero's CRDs have it wherever they have columns.
                subresources: (!columns.is_empty()).then(CustomResourceSubresources::default),
                additional_printer_columns: (!columns.is_empty()).then_some(columns),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn root_schema<K: Kind>() -> JSONSchemaProps {
    let described = |description: &str, type_: &str| JSONSchemaProps {
        description: Some(description.to_owned()),
        type_: Some(type_.to_owned()),
        ..JSONSchemaProps::default()
    };
    JSONSchemaProps {
        properties: Some(BTreeMap::from([
            ("apiVersion".to_owned(), described("Group and version of this kind.", "string")),
            ("kind".to_owned(), described("Name of this kind.", "string")),
            (
                "metadata".to_owned(),
                JSONSchemaProps { type_: Some("object".to_owned()), ..JSONSchemaProps::default() },
            ),
            ("spec".to_owned(), schema_of::<K::Spec>()),
            ("status".to_owned(), schema_of::<K::Status>()),
        ])),
        ..described(K::DESCRIPTION, "object")
    }
}

fn column(name: &str, json_path: &str, type_: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        json_path: json_path.to_owned(),
        type_: type_.to_owned(),
        ..CustomResourceColumnDefinition::default()
    }
}

fn byte_count(name: &str, json_path: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition { format: Some("int64".to_owned()), ..column(name, json_path, "integer") }
}

fn phase(name: &str) -> CustomResourceColumnDefinition {
    column(name, ".status.phase", "string")
}

fn age() -> CustomResourceColumnDefinition {
    column("Age", ".metadata.creationTimestamp", "date")
}

fn started() -> CustomResourceColumnDefinition {
    column("Started", ".status.startTimestamp", "date")
}

fn bytes_done() -> CustomResourceColumnDefinition {
    byte_count("Bytes Done", ".status.progress.bytesDone")
}

fn total_bytes() -> CustomResourceColumnDefinition {
    byte_count("Total Bytes", ".status.progress.totalBytes")
}

/// Shown by `kubectl get -o wide` only.
fn incremental_bytes() -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        priority: Some(10),
        ..byte_count("Incremental Bytes", ".status.incrementalBytes")
    }
}

fn storage_location() -> CustomResourceColumnDefinition {
    column("Storage Location", ".spec.backupStorageLocation", "string")
}

fn node() -> CustomResourceColumnDefinition {
    column("Node", ".status.node", "string")
}
