//! The settings of one node's programs, as files in its directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::network::Network;
use super::{IMAGE, NETWORK_PLUGINS};

/// What decides the files.
pub(super) struct Settings {
    pub(super) directory: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) shim: PathBuf,
    /// Below this cgroup, in every hierarchy, is everything of the node.
    pub(super) cgroup: String,
    pub(super) network: Network,
}

impl Settings {
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("image.tar")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    pub(super) fn log_files(&self) -> Vec<PathBuf> {
        ["node.log", "containerd.log", "kubelet.log"].map(|name| self.logs().join(name)).to_vec()
    }

    pub(super) fn write(&self) -> anyhow::Result<()> {
        for folder in ["logs", "scratch", "cni", "kubelet", "kubelet-keys", "pod-logs", "plugins"] {
            let folder = self.directory.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        self.put("containerd.toml", self.containerd())?;
        self.put("kubelet.json", self.kubelet())?;
        self.put("cni/10-pods.conflist", self.network())?;
        fs::copy(&self.kubeconfig, self.directory.join("kubeconfig")).context("copying the kubeconfig")?;
        Ok(())
    }

    fn put(&self, name: &str, text: String) -> anyhow::Result<()> {
        fs::write(self.directory.join(name), text).with_context(|| format!("writing {name}"))
    }

    fn within(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn containerd(&self) -> String {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let path = |name: &str| quote(&self.within(name));
        format!(
            "version = 3\n\
             root = {root}\n\
             state = {state}\n\
             disabled_plugins = [\n\
             \x20 'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper',\n\
             \x20 'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.blockfile',\n\
             \x20 'io.containerd.snapshotter.v1.erofs', 'io.containerd.nri.v1.nri',\n\
             \x20 'io.containerd.tracing.processor.v1.otlp',\n\
             ]\n\
             [grpc]\n\
             address = {socket}\n\
             [ttrpc]\n\
             address = {ttrpc}\n\
             [plugins.'io.containerd.internal.v1.opt']\n\
             path = {opt}\n\
             [plugins.'io.containerd.cri.v1.images']\n\
             # The image is small, and this one works on every file system.\n\
             snapshotter = 'native'\n\
             [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
             sandbox = '{IMAGE}'\n\
             [plugins.'io.containerd.cri.v1.runtime']\n\
             # Where a machine forbids to lower oom_score_adj, runc would fail over it.\n\
             restrict_oom_score_adj = true\n\
             netns_mounts_under_state_dir = true\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
             runtime_type = 'io.containerd.runc.v2'\n\
             runtime_path = {shim}\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n\
             SystemdCgroup = false\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
             bin_dirs = ['{NETWORK_PLUGINS}']\n\
             conf_dir = {network}\n",
            root = path("containerd"),
            state = path("containerd-state"),
            socket = path("containerd.sock"),
            ttrpc = path("containerd-ttrpc.sock"),
            opt = path("opt"),
            network = path("cni"),
            shim = quote(&Path::new(&self.shim).display().to_string()),
        )
    }

    fn kubelet(&self) -> String {
        let Settings { cgroup, .. } = self;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "127.0.0.1",
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{cgroup}/pods"),
            "containerRuntimeEndpoint": format!("unix://{}", self.within("containerd.sock")),
            "enforceNodeAllocatable": [],
            // A full disk of the machine must neither evict pods nor collect the only image.
            "evictionHard": {"memory.available": "1Mi"},
            "imageGCHighThresholdPercent": 100,
            "failCgroupV1": false,
            "failSwapOn": false,
            "healthzPort": 0,
            "makeIPTablesUtilChains": false,
            "nodeStatusUpdateFrequency": "2s",
            "podLogsDir": self.within("pod-logs"),
            "resolvConf": "",
            "volumePluginDir": self.within("plugins"),
        });
        format!("{config:#}\n")
    }

    /// Each pod has a pair of interfaces and a route. They go away with the pod; there is no bridge to be removed.
    fn network(&self) -> String {
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{
                        "subnet": self.network.all(),
                        "rangeStart": self.network.first_of_pods(),
                        "gateway": self.network.gateway(),
                    }]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": self.within("addresses"),
                },
            }],
        });
        format!("{network:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_as_the_settings_file_wants_it() {
        let settings = Settings {
            directory: "/tmp/a \"quoted\" place".into(),
            kubeconfig: "/tmp/kubeconfig".into(),
            shim: "/programs/containerd-shim-runc-v2".into(),
            cgroup: "holdfast-abc".into(),
            network: Network::random(),
        };
        let text = settings.containerd();
        assert!(text.contains(r#"root = "/tmp/a \"quoted\" place/containerd""#), "{text}");
    }
}
