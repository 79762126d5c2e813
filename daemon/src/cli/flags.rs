//! Flags that several commands take alike.

use std::path::PathBuf;

/// Where a command looks.
#[derive(Debug, clap::Args)]
pub struct ClusterFlags {
    /// The namespace of the resources of velero.io, and of Holdfast.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = "velero")]
    pub namespace: String,
    /// How to reach the cluster; without it $KUBECONFIG, ~/.kube/config or the pod's service account.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

/// How a command writes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}
