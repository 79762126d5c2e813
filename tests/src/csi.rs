//! A small CSI driver for the tests, and what stands beside a driver in a cluster.
//!
//! [`CsiDriver`] keeps volumes and snapshots as folders: a snapshot is a copy, and so is a volume made from one. It runs in
//! this process on a thread of its own, so that a test that blocks does not stop it, and several clusters may use it at
//! once. [`CsiDriver::join`] puts it into a cluster: the custom resources of snapshots, snapshot-controller, csi-snapshotter,
//! a provisioner, and what registers it with the kubelet where there is a node.

mod groups;
mod grpc;
mod messages;
mod services;
mod sidecars;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::oneshot;

use crate::process::Group;
use crate::programs::{self, Program};
use crate::testbed::Testbed;
use services::Mounts;
pub use sidecars::Member;
use state::State;
pub use state::{Fault, Snapshot};

/// The driver's name, which is also that of its StorageClass, its VolumeSnapshotClass and its VolumeGroupSnapshotClass.
pub const NAME: &str = "disk.holdfast.test";

/// The path of csi-sanity, built first where needed.
pub async fn sanity_program() -> anyhow::Result<PathBuf> {
    programs::locate(Program::CsiSanity).await
}

/// A running driver. Dropping it ends it and removes its volumes and snapshots.
pub struct CsiDriver {
    state: Arc<State>,
    runtime: tokio::runtime::Handle,
    // Dropping it ends the thread.
    _end: oneshot::Sender<()>,
    // Removes its directory, also when this process is killed.
    group: Group,
}

impl CsiDriver {
    pub fn start() -> anyhow::Result<CsiDriver> {
        let group = Group::start("csi-driver")?;
        let state = Arc::new(State::new(group.directory())?);
        let (tell_end, end) = oneshot::channel::<()>();
        let (tell_handle, handle) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime
                && tell_handle.send(runtime.handle().clone()).is_ok()
            {
                // An error says the same: the driver is dropped.
                runtime.block_on(async { end.await.unwrap_or_default() });
            }
        });
        let runtime = handle.recv().context("starting the driver's thread")?;
        Ok(CsiDriver { state, runtime, _end: tell_end, group })
    }

    /// A socket on which the driver answers; mounts are made in the mount namespace of process `beside`, or in ours.
    pub fn socket(&self, name: &str, beside: Option<u32>) -> anyhow::Result<PathBuf> {
        let path = self.group.directory().join(format!("{name}.sock"));
        let mounts = beside.map_or(Mounts::Here, Mounts::Beside);
        self.serve(&path, services::csi(self.state.clone(), mounts))?;
        Ok(path)
    }

    /// Puts the driver into a cluster.
    pub async fn join(&self, testbed: &Testbed) -> anyhow::Result<Member> {
        sidecars::join(self, testbed).await
    }

    /// What the storage holds.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.state.snapshots()
    }

    /// Ids of the volumes that there are.
    pub fn volumes(&self) -> Vec<String> {
        self.state.volumes()
    }

    /// The folder with what a volume holds.
    pub fn volume_folder(&self, id: &str) -> PathBuf {
        self.state.volume_folder(id)
    }

    /// What is wrong with the snapshots of a volume from now on; `None` lifts it.
    pub fn set_fault(&self, volume: &str, fault: Option<Fault>) {
        self.state.set_fault(volume, fault);
    }

    fn serve(&self, socket: &Path, handler: grpc::Handler) -> anyhow::Result<()> {
        let _runtime = self.runtime.enter();
        grpc::serve(socket, handler)
    }
}
