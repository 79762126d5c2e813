//! ServerStatusRequest: the question for the server's version and plugins.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::kind;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};

kind! {
    #[doc = "A question for the server's version and plugins."]
    ServerStatusRequest in "v1" as "serverstatusrequests" {
        spec: ServerStatusRequestSpec,
        status: ServerStatusRequestStatus
    }
}

/// There is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatusRequestSpec {}

text_enum! {
    #[derive(Default)]
    ServerStatusRequestPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Processed = "Processed",
    }
}

/// The server's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerStatusRequestStatus {
    /// State of the request. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<ServerStatusRequestPhase>,
    /// When the server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub processed_timestamp: Option<Time>,
    /// Version of the server.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// Plugins of the server.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub plugins: Vec<PluginInfo>,
}

/// A plugin of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginInfo {
    /// Name of the plugin.
    pub name: String,
    /// What the plugin does, like ObjectStore or BackupItemAction.
    pub kind: String,
}

impl ServerStatusRequest {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> ServerStatusRequestPhase {
        self.status.phase.unwrap_or_default()
    }
}
