//! The messages of CSI 1.x that the driver reads and writes, with the fields that it looks at; protobuf passes over others.
//! A `oneof` is written as its fields, which is the same on the wire.

use std::collections::HashMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) vendor_version: String,
}

/// `PluginCapability`, `ControllerServiceCapability` and `NodeServiceCapability` have the same form.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Capability {
    #[prost(message, optional, tag = "1")]
    pub(super) kind: Option<CapabilityKind>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CapabilityKind {
    #[prost(int32, tag = "1")]
    pub(super) value: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Capabilities {
    #[prost(message, repeated, tag = "1")]
    pub(super) capabilities: Vec<Capability>,
}

impl Capabilities {
    pub(super) fn of(values: &[i32]) -> Capabilities {
        let capability = |&value: &i32| Capability { kind: Some(CapabilityKind { value }) };
        Capabilities { capabilities: values.iter().map(capability).collect() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProbeResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) ready: Option<BoolValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateVolumeRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) capacity_range: Option<CapacityRange>,
    #[prost(message, repeated, tag = "3")]
    pub(super) volume_capabilities: Vec<VolumeCapability>,
    #[prost(message, optional, tag = "6")]
    pub(super) volume_content_source: Option<VolumeContentSource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CapacityRange {
    #[prost(int64, tag = "1")]
    pub(super) required_bytes: i64,
    #[prost(int64, tag = "2")]
    pub(super) limit_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeCapability {
    #[prost(message, optional, tag = "1")]
    pub(super) block: Option<Empty>,
    #[prost(message, optional, tag = "2")]
    pub(super) mount: Option<Empty>,
    #[prost(message, optional, tag = "3")]
    pub(super) access_mode: Option<AccessMode>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessMode {
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VolumeContentSource {
    #[prost(message, optional, tag = "1")]
    pub(super) snapshot: Option<Source>,
    #[prost(message, optional, tag = "2")]
    pub(super) volume: Option<Source>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Source {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateVolumeResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) volume: Option<Volume>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Volume {
    #[prost(int64, tag = "1")]
    pub(super) capacity_bytes: i64,
    #[prost(string, tag = "2")]
    pub(super) volume_id: String,
    #[prost(message, optional, tag = "4")]
    pub(super) content_source: Option<VolumeContentSource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteVolumeRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValidateVolumeCapabilitiesRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) volume_context: HashMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) volume_capabilities: Vec<VolumeCapability>,
    #[prost(map = "string, string", tag = "4")]
    pub(super) parameters: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValidateVolumeCapabilitiesResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) confirmed: Option<Confirmed>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Confirmed {
    #[prost(map = "string, string", tag = "1")]
    pub(super) volume_context: HashMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) volume_capabilities: Vec<VolumeCapability>,
    #[prost(map = "string, string", tag = "3")]
    pub(super) parameters: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateSnapshotRequest {
    #[prost(string, tag = "1")]
    pub(super) source_volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SnapshotEntry {
    #[prost(message, optional, tag = "1")]
    pub(super) snapshot: Option<Snapshot>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(int64, tag = "1")]
    pub(super) size_bytes: i64,
    #[prost(string, tag = "2")]
    pub(super) snapshot_id: String,
    #[prost(string, tag = "3")]
    pub(super) source_volume_id: String,
    #[prost(message, optional, tag = "4")]
    pub(super) creation_time: Option<Timestamp>,
    #[prost(bool, tag = "5")]
    pub(super) ready_to_use: bool,
    #[prost(string, tag = "6")]
    pub(super) group_snapshot_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateGroupRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) source_volume_ids: Vec<String>,
}

/// Of the deletion of a group as well as of the question what becomes of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupRequest {
    #[prost(string, tag = "1")]
    pub(super) group_snapshot_id: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) snapshot_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupEntry {
    #[prost(message, optional, tag = "1")]
    pub(super) group: Option<Group>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Group {
    #[prost(string, tag = "1")]
    pub(super) group_snapshot_id: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) snapshots: Vec<Snapshot>,
    #[prost(message, optional, tag = "3")]
    pub(super) creation_time: Option<Timestamp>,
    #[prost(bool, tag = "4")]
    pub(super) ready_to_use: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteSnapshotRequest {
    #[prost(string, tag = "1")]
    pub(super) snapshot_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListSnapshotsRequest {
    #[prost(int32, tag = "1")]
    pub(super) max_entries: i32,
    #[prost(string, tag = "2")]
    pub(super) starting_token: String,
    #[prost(string, tag = "3")]
    pub(super) source_volume_id: String,
    #[prost(string, tag = "4")]
    pub(super) snapshot_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListSnapshotsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<SnapshotEntry>,
    #[prost(string, tag = "2")]
    pub(super) next_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodePublishVolumeRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "4")]
    pub(super) target_path: String,
    #[prost(message, optional, tag = "5")]
    pub(super) volume_capability: Option<VolumeCapability>,
    #[prost(bool, tag = "6")]
    pub(super) readonly: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeUnpublishVolumeRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) target_path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeInfo {
    #[prost(string, tag = "1")]
    pub(super) node_id: String,
}
