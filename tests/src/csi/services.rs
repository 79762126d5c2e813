//! The services of a CSI driver: identity, controller and node. That of groups is [`groups`].

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;

use super::grpc::{Code, Handler, Status, unary};
use super::messages::*;
use super::state::{self, Origin, State};
use super::{NAME, groups};
use crate::node;

/// `PluginCapability.Service`: CONTROLLER_SERVICE, GROUP_CONTROLLER_SERVICE.
const PLUGIN: [i32; 2] = [1, 3];
/// CREATE_DELETE_VOLUME, CREATE_DELETE_SNAPSHOT, LIST_SNAPSHOTS, CLONE_VOLUME.
const CONTROLLER: [i32; 4] = [1, 5, 6, 7];

/// Where the volumes of pods are mounted.
#[derive(Clone, Copy)]
pub(super) enum Mounts {
    Here,
    /// In the mount namespace of this process.
    Beside(u32),
}

/// All of them, for one socket.
pub(super) fn csi(state: Arc<State>, mounts: Mounts) -> Handler {
    Arc::new(move |method, request| {
        let state = state.clone();
        // It copies folders, which may take a while.
        let answering = tokio::task::spawn_blocking(move || answer(&state, mounts, &method, &request));
        let ended = |answer: Result<_, tokio::task::JoinError>| {
            answer.unwrap_or_else(|error| Err(Status::new(Code::Internal, error.to_string())))
        };
        answering.map(ended).boxed()
    })
}

fn answer(state: &State, mounts: Mounts, method: &str, request: &Bytes) -> Result<Bytes, Status> {
    let method = method.trim_start_matches("/csi.v1.");
    if let Some(method) = method.strip_prefix("GroupController/") {
        return groups::answer(state, method, request);
    }
    match method {
        "Identity/GetPluginInfo" => unary(request, |Empty {}| {
            Ok(PluginInfo { name: NAME.to_owned(), vendor_version: "1".to_owned() })
        }),
        "Identity/GetPluginCapabilities" => unary(request, |Empty {}| Ok(Capabilities::of(&PLUGIN))),
        "Identity/Probe" => {
            unary(request, |Empty {}| Ok(ProbeResponse { ready: Some(BoolValue { value: true }) }))
        }
        "Controller/ControllerGetCapabilities" => {
            unary(request, |Empty {}| Ok(Capabilities::of(&CONTROLLER)))
        }
        "Controller/CreateVolume" => unary(request, |request| create_volume(state, request)),
        "Controller/DeleteVolume" => unary(request, |request: DeleteVolumeRequest| {
            state.delete_volume(given(&request.volume_id, "volume_id")?).map(|()| Empty {})
        }),
        "Controller/ValidateVolumeCapabilities" => unary(request, |request| validate(state, request)),
        "Controller/CreateSnapshot" => unary(request, |request: CreateSnapshotRequest| {
            let source = given(&request.source_volume_id, "source_volume_id")?;
            let snapshot = state.create_snapshot(given(&request.name, "name")?, source)?;
            Ok(SnapshotEntry { snapshot: Some(message(snapshot)) })
        }),
        "Controller/DeleteSnapshot" => unary(request, |request: DeleteSnapshotRequest| {
            state.delete_snapshot(given(&request.snapshot_id, "snapshot_id")?).map(|()| Empty {})
        }),
        "Controller/ListSnapshots" => unary(request, |request| list_snapshots(state, &request)),
        "Node/NodeGetCapabilities" => unary(request, |Empty {}| Ok(Capabilities::of(&[]))),
        "Node/NodeGetInfo" => unary(request, |Empty {}| Ok(NodeInfo { node_id: node::NAME.to_owned() })),
        "Node/NodePublishVolume" => unary(request, |request| publish(state, mounts, &request)),
        "Node/NodeUnpublishVolume" => unary(request, |request| unpublish(mounts, &request)),
        other => Err(Status::new(Code::Unimplemented, format!("there is no {other}"))),
    }
}

/// A field that must not be empty.
pub(super) fn given<'a>(value: &'a str, field: &str) -> Result<&'a str, Status> {
    match value {
        "" => Err(Status::new(Code::InvalidArgument, format!("{field} is missing"))),
        value => Ok(value),
    }
}

fn create_volume(state: &State, request: CreateVolumeRequest) -> Result<CreateVolumeResponse, Status> {
    let CreateVolumeRequest { name, capacity_range, volume_capabilities, volume_content_source } = request;
    given(&name, "name")?;
    if volume_capabilities.is_empty() {
        return Err(Status::new(Code::InvalidArgument, "volume_capabilities are missing"));
    }
    let (required, limit) = capacity_range.map_or((0, 0), |range| (range.required_bytes, range.limit_bytes));
    let origin = match &volume_content_source {
        Some(VolumeContentSource { snapshot: Some(source), volume: _ }) => {
            Some(Origin::Snapshot(source.id.clone()))
        }
        Some(VolumeContentSource { snapshot: None, volume: Some(source) }) => {
            Some(Origin::Volume(source.id.clone()))
        }
        Some(VolumeContentSource { snapshot: None, volume: None }) | None => None,
    };
    let state::Volume { id, bytes, origin: _ } = state.create_volume(&name, required, limit, origin)?;
    let volume = Volume { capacity_bytes: bytes, volume_id: id, content_source: volume_content_source };
    Ok(CreateVolumeResponse { volume: Some(volume) })
}

fn validate(
    state: &State,
    request: ValidateVolumeCapabilitiesRequest,
) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
    let ValidateVolumeCapabilitiesRequest { volume_id, volume_context, volume_capabilities, parameters } =
        request;
    given(&volume_id, "volume_id")?;
    if volume_capabilities.is_empty() {
        return Err(Status::new(Code::InvalidArgument, "volume_capabilities are missing"));
    }
    if !state.has_volume(&volume_id) {
        return Err(Status::new(Code::NotFound, format!("there is no volume {volume_id}")));
    }
    let confirmed = Confirmed { volume_context, volume_capabilities, parameters };
    Ok(ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed) })
}

fn list_snapshots(state: &State, request: &ListSnapshotsRequest) -> Result<ListSnapshotsResponse, Status> {
    let matches = |asked: &str, value: &str| asked.is_empty() || asked == value;
    let found: Vec<state::Snapshot> = state
        .snapshots()
        .into_iter()
        .filter(|snapshot| {
            matches(&request.source_volume_id, &snapshot.source)
                && matches(&request.snapshot_id, &snapshot.id)
        })
        .collect();
    let first = match request.starting_token.as_str() {
        "" => 0,
        token => token.parse().map_err(|_| Status::new(Code::Aborted, "the token is none of ours"))?,
    };
    let most = usize::try_from(request.max_entries).unwrap_or_default();
    let most = if most == 0 { found.len() } else { most };
    let rest = found.len().saturating_sub(first);
    let next_token = if rest > most { (first + most).to_string() } else { String::new() };
    let page = found.into_iter().skip(first).take(most);
    let entries = page.map(|snapshot| SnapshotEntry { snapshot: Some(message(snapshot)) }).collect();
    Ok(ListSnapshotsResponse { entries, next_token })
}

pub(super) fn message(snapshot: state::Snapshot) -> Snapshot {
    let state::Snapshot { id, name: _, source, bytes, is_ready, created, group } = snapshot;
    Snapshot {
        size_bytes: bytes,
        snapshot_id: id,
        source_volume_id: source,
        creation_time: Some(Timestamp { seconds: created }),
        ready_to_use: is_ready,
        group_snapshot_id: group.unwrap_or_default(),
    }
}

fn publish(state: &State, mounts: Mounts, request: &NodePublishVolumeRequest) -> Result<Empty, Status> {
    let NodePublishVolumeRequest { volume_id, target_path, volume_capability, readonly } = request;
    given(volume_id, "volume_id")?;
    given(target_path, "target_path")?;
    if volume_capability.is_none() {
        return Err(Status::new(Code::InvalidArgument, "volume_capability is missing"));
    }
    if !state.has_volume(volume_id) {
        return Err(Status::new(Code::NotFound, format!("there is no volume {volume_id}")));
    }
    let target = Path::new(target_path);
    std::fs::create_dir_all(target).map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    if run(mounts, "mountpoint", &["-q", target_path]).is_ok() {
        return Ok(Empty {});
    }
    let folder = state.volume_folder(volume_id).display().to_string();
    run(mounts, "mount", &["--bind", &folder, target_path])?;
    if *readonly {
        run(mounts, "mount", &["-o", "remount,bind,ro", target_path])?;
    }
    Ok(Empty {})
}

fn unpublish(mounts: Mounts, request: &NodeUnpublishVolumeRequest) -> Result<Empty, Status> {
    given(&request.volume_id, "volume_id")?;
    let target = given(&request.target_path, "target_path")?;
    if run(mounts, "mountpoint", &["-q", target]).is_ok() {
        run(mounts, "umount", &[target])?;
    }
    match std::fs::remove_dir(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Status::new(Code::Internal, error.to_string()))
        }
        Ok(()) | Err(_) => Ok(Empty {}),
    }
}

fn run(mounts: Mounts, program: &str, arguments: &[&str]) -> Result<(), Status> {
    let mut command = match mounts {
        Mounts::Here => Command::new(program),
        Mounts::Beside(process) => {
            let mut command = Command::new("nsenter");
            command.args([&format!("--target={process}"), "--mount", program]);
            command
        }
    };
    let output = command.args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Status::new(Code::Internal, format!("{program} failed: {said}")))
        }
        Err(error) => Err(Status::new(Code::Internal, format!("running {program}: {error}"))),
    }
}
