//! Flags that several commands take alike, and what follows from them.

use std::path::PathBuf;

use anyhow::Context as _;
use kube::Client;
use serde::Serialize;

use crate::app;

/// Where a command looks.
#[derive(Debug, clap::Args)]
pub struct ClusterFlags {
    /// The namespace of the resources of velero.io, and of Holdfast.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = "velero")]
    pub namespace: String,
    #[command(flatten)]
    pub access: Access,
}

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Access {
    /// How to reach the cluster; without it $KUBECONFIG, ~/.kube/config or the pod's service account.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it the current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// How a command writes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[value(alias = "table")]
    Text,
    Json,
    Yaml,
}

impl Output {
    /// What is there as JSON, in the language that is asked for.
    pub fn written(self, json: String) -> String {
        match self {
            Output::Text | Output::Json => json,
            Output::Yaml => {
                let value: serde_json::Value = serde_json::from_str(&json).expect("JSON of our own is JSON");
                holdfast_policy::yaml::to_string(&value).expect("a tree of JSON values is YAML")
            }
        }
    }

    /// The same, of a value.
    pub fn value(self, value: &impl Serialize) -> anyhow::Result<String> {
        let json = serde_json::to_string_pretty(value).context("writing the answer as JSON")?;
        Ok(self.written(json + "\n"))
    }
}

impl ClusterFlags {
    /// Carries out what needs the cluster.
    pub fn with_client<T>(&self, act: impl AsyncFnOnce(Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
        // Fails only where a provider is installed already, which then is this one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async { act(app::connect(&self.access).await?).await })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Output;

    #[test]
    fn the_same_answer_comes_in_both_languages() {
        let answer = json!({"name": "on", "runs": [1]});
        assert_eq!(
            Output::Json.value(&answer).unwrap(),
            "{\n  \"name\": \"on\",\n  \"runs\": [\n    1\n  ]\n}\n"
        );
        assert_eq!(Output::Yaml.value(&answer).unwrap(), "name: 'on'\nruns:\n- 1\n");
    }
}
