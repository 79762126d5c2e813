//! What the code calls of the API server, as one list, and the roles that allow just that.
//!
//! In: nothing; out: the rules of each role, and the objects that grant them. Whoever adds a call adds its right here:
//! the tests run every daemon under these roles and fail where one is forbidden. Rights are cut by what an administrator
//! decides on (safety rules, "Least rights"): looking on, backing up, restoring, running hooks, moving files of volumes.

use std::fmt;

mod manifests;

pub use manifests::{Grant, manifests, rules};

/// A role that is bound by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Reads policies and what became of them, and writes the status of PolicySets. All others build on it.
    Observe,
    /// Makes, keeps and deletes backups.
    Backup,
    /// Restores. It may create whatever a backup may hold, roles included, so it is as mighty as an administrator.
    Restore,
    /// Reads policies in ConfigMaps of other namespaces. Bound in these.
    Policies,
    /// Runs commands in containers. Bound in the namespaces whose pods may have hooks.
    Hooks,
    /// Moves the files of volumes; for the agent of each node.
    NodeAgent,
    /// Creates and brings up to date the CustomResourceDefinitions of velero.io and holdfast.dev.
    InstallCrds,
}

impl Role {
    /// In the order in which they are told.
    pub const ALL: [Role; 7] = [
        Role::Observe,
        Role::Backup,
        Role::Restore,
        Role::Policies,
        Role::Hooks,
        Role::NodeAgent,
        Role::InstallCrds,
    ];

    /// As its objects are named behind `holdfast-`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Observe => "observe",
            Role::Backup => "backup",
            Role::Restore => "restore",
            Role::Policies => "policies",
            Role::Hooks => "hooks",
            Role::NodeAgent => "node-agent",
            Role::InstallCrds => "install-crds",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a right holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In the namespace that the daemon works in.
    Home,
    /// Everywhere.
    Cluster,
}

/// One line of a role.
#[derive(Debug, Clone, Copy)]
pub struct Right {
    pub role: Role,
    pub reach: Reach,
    pub group: &'static str,
    pub resources: &'static [&'static str],
    pub verbs: &'static [&'static str],
    /// What calls it, for whoever reads the role.
    pub caller: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];
const KEEP: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
const VELERO: &str = "velero.io";
const HOLDFAST: &str = "holdfast.dev";
const DEFINITIONS: &str = "apiextensions.k8s.io";
const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
const GROUP_SNAPSHOTS: &str = "groupsnapshot.storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The rights of a role that hold in one place.
struct Of(Role, Reach);

impl Of {
    const fn on(
        &self,
        group: &'static str,
        resources: &'static [&'static str],
        verbs: &'static [&'static str],
        caller: &'static str,
    ) -> Right {
        Right { role: self.0, reach: self.1, group, resources, verbs, caller }
    }
}

const OBSERVE: Of = Of(Role::Observe, Reach::Cluster);
const OBSERVE_HOME: Of = Of(Role::Observe, Reach::Home);
const BACKUP: Of = Of(Role::Backup, Reach::Cluster);
const BACKUP_HOME: Of = Of(Role::Backup, Reach::Home);
const RESTORE: Of = Of(Role::Restore, Reach::Cluster);
const POLICIES: Of = Of(Role::Policies, Reach::Cluster);
const HOOKS: Of = Of(Role::Hooks, Reach::Cluster);
const AGENT: Of = Of(Role::NodeAgent, Reach::Cluster);
const AGENT_HOME: Of = Of(Role::NodeAgent, Reach::Home);
const INSTALL: Of = Of(Role::InstallCrds, Reach::Cluster);

/// All of them.
pub const ALL: &[Right] = &[
    OBSERVE.on("", &["namespaces"], &["get", "list"], "the start, and which namespaces policies cover"),
    OBSERVE.on(
        DEFINITIONS,
        &["customresourcedefinitions"],
        &["get", "list"],
        "the check that kinds are there",
    ),
    OBSERVE_HOME.on("", &["configmaps"], READ, "policies, volume policies and resource modifiers"),
    OBSERVE_HOME.on("", &["pods"], READ, "the look for a Velero server beside"),
    OBSERVE_HOME.on(VELERO, &["*"], READ, "what became of policies"),
    OBSERVE_HOME.on(HOLDFAST, &["policysets", "policysets/status"], KEEP, "the status of policies"),
    OBSERVE_HOME.on("", &["events"], &["create", "patch"], "events on policies"),
    OBSERVE_HOME.on("events.k8s.io", &["events"], &["create", "patch"], "events on policies"),
    BACKUP.on("*", &["*"], &["get", "list"], "whatever a backup may hold, Secrets included"),
    BACKUP.on(
        SNAPSHOTS,
        &["volumesnapshots", "volumesnapshotcontents"],
        &["get", "list", "create", "patch", "delete"],
        "CSI snapshots, taken and deleted",
    ),
    BACKUP.on(
        SNAPSHOTS,
        &["volumesnapshotcontents/status"],
        &["patch"],
        "which CSI snapshot is to be deleted",
    ),
    BACKUP.on(
        GROUP_SNAPSHOTS,
        &["volumegroupsnapshots", "volumegroupsnapshotcontents"],
        &["get", "list", "create", "patch", "delete"],
        "CSI snapshots of volume groups, taken and deleted",
    ),
    BACKUP.on(
        GROUP_SNAPSHOTS,
        &["volumegroupsnapshotcontents/status"],
        &["patch"],
        "which group is to be deleted",
    ),
    BACKUP_HOME.on(VELERO, &["*"], KEEP, "the controllers' own resources, and what policies become"),
    BACKUP_HOME.on("", &["configmaps"], KEEP, "volume policies and modifiers that policies hold inline"),
    BACKUP_HOME.on("", &["secrets"], &["get", "create"], "keys of downloads and of repositories"),
    BACKUP_HOME.on(
        "coordination.k8s.io",
        &["leases"],
        &["get", "list", "create", "update", "patch"],
        "who leads, and which nodes have an agent",
    ),
    RESTORE.on("*", &["*"], &["get", "list", "create", "update", "patch"], "whatever a backup may hold"),
    RESTORE.on(
        GROUP_SNAPSHOTS,
        &["volumegroupsnapshotcontents"],
        &["delete"],
        "stand-ins for group snapshots",
    ),
    RESTORE.on("", &["pods"], &["watch"], "containers that hooks wait for"),
    // Without these the API server lets nobody create a role that allows more than its creator may.
    RESTORE.on(RBAC, &["roles", "clusterroles"], &["escalate", "bind"], "roles and bindings of a backup"),
    POLICIES.on("", &["configmaps"], READ, "policies that other namespaces have"),
    POLICIES.on("", &["events"], &["create", "patch"], "events on these"),
    POLICIES.on("events.k8s.io", &["events"], &["create", "patch"], "events on these"),
    HOOKS.on("", &["pods/exec"], &["get", "create"], "commands of hooks"),
    HOOKS.on("", &["pods"], READ, "the pods of hooks"),
    AGENT.on("", &["pods"], READ, "the pods of the agent's node"),
    AGENT.on("", &["persistentvolumes", "persistentvolumeclaims"], &["get"], "where a volume is mounted"),
    AGENT_HOME.on(
        VELERO,
        &["podvolumebackups", "podvolumerestores", "backuprepositories"],
        KEEP,
        "transfers and repositories",
    ),
    AGENT_HOME.on(VELERO, &["backupstoragelocations"], READ, "the buckets of repositories"),
    AGENT_HOME.on("", &["secrets"], &["get", "create"], "credentials of buckets and keys of repositories"),
    AGENT_HOME.on(
        "coordination.k8s.io",
        &["leases"],
        &["get", "create", "update", "patch"],
        "one agent a node",
    ),
    INSTALL.on(DEFINITIONS, &["customresourcedefinitions"], &["get", "create", "patch"], "--install-crds"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backup_and_restore_see_what_they_do_not_name() {
        for right in ALL {
            let everything =
                right.group == "*" || (right.reach == Reach::Cluster && right.resources == ["*"]);
            assert_eq!(
                everything,
                everything && matches!(right.role, Role::Backup | Role::Restore),
                "{right:?}"
            );
        }
    }

    #[test]
    fn looking_on_changes_nothing_but_what_it_tells() {
        let told = ["policysets", "policysets/status", "events"];
        for right in ALL.iter().filter(|right| right.role == Role::Observe) {
            let reads = right.verbs.iter().all(|verb| READ.contains(verb));
            assert!(reads || right.resources.iter().all(|resource| told.contains(resource)), "{right:?}");
        }
    }

    #[test]
    fn nothing_but_restores_goes_beyond_its_own_rights_and_only_hooks_run_commands() {
        for right in ALL {
            assert!(right.role == Role::Restore || !right.verbs.contains(&"escalate"), "{right:?}");
            assert!(right.role == Role::Hooks || !right.resources.contains(&"pods/exec"), "{right:?}");
        }
    }
}
