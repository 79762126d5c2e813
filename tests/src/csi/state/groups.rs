//! Groups of snapshots: all of one point in time, made and deleted together.

use super::super::grpc::{Code, Status};
use super::{Content, Fault, Snapshot, State, missing, remove};

/// Snapshots of one point in time.
pub(in super::super) struct Group {
    pub(in super::super) id: String,
    pub(in super::super) snapshots: Vec<Snapshot>,
}

impl Content {
    /// The snapshots of a group, of whom all have to be named or none.
    fn members(&self, group: &str, named: &[String]) -> Result<Vec<Snapshot>, Status> {
        let is_member = |snapshot: &&Snapshot| snapshot.group.as_deref() == Some(group);
        let ready =
            |snapshot: &Snapshot| Snapshot { is_ready: self.is_ready(&snapshot.source), ..snapshot.clone() };
        let members: Vec<Snapshot> = self.snapshots.values().filter(is_member).map(ready).collect();
        let is_named = |snapshot: &Snapshot| named.contains(&snapshot.id);
        match named.is_empty()
            || members.is_empty()
            || (members.len() == named.len() && members.iter().all(is_named))
        {
            true => Ok(members),
            false => Err(Status::new(Code::InvalidArgument, format!("group {group} has other snapshots"))),
        }
    }
}

impl State {
    /// All of them, or none.
    pub(in super::super) fn create_group(&self, name: &str, sources: &[String]) -> Result<Group, Status> {
        let mut content = self.content();
        if let Some(id) = content.groups.get(name).cloned() {
            let snapshots = content.members(&id, &[])?;
            let is_same = snapshots.len() == sources.len()
                && snapshots.iter().all(|snapshot| sources.contains(&snapshot.source));
            return match is_same {
                true => Ok(Group { id, snapshots }),
                false => Err(Status::new(Code::AlreadyExists, format!("group {name} is of other volumes"))),
            };
        }
        for source in sources {
            content.volumes.values().find(|volume| volume.id == *source).ok_or_else(|| missing(source))?;
            if let Some(Fault::Refused(reason)) = content.faults.get(source) {
                return Err(Status::new(Code::Internal, reason.clone()));
            }
        }
        let id = format!("group-{}", uuid::Uuid::new_v4());
        let taken = sources
            .iter()
            .map(|source| self.copy(&mut content, &format!("{name}/{source}"), source, Some(id.clone())));
        let snapshots = taken.collect::<Result<_, _>>()?;
        content.groups.insert(name.to_owned(), id.clone());
        Ok(Group { id, snapshots })
    }

    pub(in super::super) fn group(&self, id: &str, named: &[String]) -> Result<Option<Group>, Status> {
        let content = self.content();
        let snapshots = content.members(id, named)?;
        let is_there = content.groups.values().any(|group| group == id);
        Ok(is_there.then(|| Group { id: id.to_owned(), snapshots }))
    }

    pub(in super::super) fn delete_group(&self, id: &str, named: &[String]) -> Result<(), Status> {
        let mut content = self.content();
        for snapshot in content.members(id, named)? {
            content.snapshots.retain(|_, other| other.id != snapshot.id);
            remove(&self.directory.join("snapshots").join(&snapshot.id))?;
        }
        content.groups.retain(|_, group| group != id);
        Ok(())
    }
}
