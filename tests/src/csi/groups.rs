//! The group controller: snapshots of several volumes at one point in time. Strict where CSI lets a driver choose: a snapshot
//! of a group goes only with the group, and whoever names a group's snapshots names all of them.

use bytes::Bytes;

use super::grpc::{Code, Status, unary};
use super::messages::*;
use super::services::{given, message};
use super::state::{self, State};

/// CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT.
const CAPABILITIES: [i32; 1] = [1];

pub(super) fn answer(state: &State, method: &str, request: &Bytes) -> Result<Bytes, Status> {
    match method {
        "GroupControllerGetCapabilities" => unary(request, |Empty {}| Ok(Capabilities::of(&CAPABILITIES))),
        "CreateVolumeGroupSnapshot" => unary(request, |request: CreateGroupRequest| {
            let CreateGroupRequest { name, source_volume_ids } = request;
            state.create_group(given(&name, "name")?, &source_volume_ids).map(entry)
        }),
        "GetVolumeGroupSnapshot" => unary(request, |request: GroupRequest| {
            let GroupRequest { group_snapshot_id, snapshot_ids } = request;
            let id = given(&group_snapshot_id, "group_snapshot_id")?;
            let group = state.group(id, &snapshot_ids)?;
            let missing = || Status::new(Code::NotFound, format!("there is no group {id}"));
            group.map(entry).ok_or_else(missing)
        }),
        "DeleteVolumeGroupSnapshot" => unary(request, |request: GroupRequest| {
            let GroupRequest { group_snapshot_id, snapshot_ids } = request;
            let id = given(&group_snapshot_id, "group_snapshot_id")?;
            state.delete_group(id, &snapshot_ids).map(|()| Empty {})
        }),
        other => Err(Status::new(Code::Unimplemented, format!("there is no {other}"))),
    }
}

fn entry(group: state::Group) -> GroupEntry {
    let state::Group { id, snapshots } = group;
    let group = Group {
        group_snapshot_id: id,
        creation_time: snapshots.first().map(|snapshot| Timestamp { seconds: snapshot.created }),
        ready_to_use: snapshots.iter().all(|snapshot| snapshot.is_ready),
        snapshots: snapshots.into_iter().map(message).collect(),
    };
    GroupEntry { group: Some(group) }
}
