//! The kubelet's registration of a plug-in: a socket in a folder that it watches, on which it asks what there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures::FutureExt as _;

use super::grpc::{Code, Handler, Status, unary};
use super::messages::{Empty, Registered, RegistrationStatus};
use super::{CsiDriver, NAME};

/// Registers the driver's socket with the kubelet whose folder this is.
pub(super) fn register(driver: &CsiDriver, kubelet: &Path, endpoint: PathBuf) -> anyhow::Result<()> {
    let folder = kubelet.join("plugins_registry");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    driver.serve(&folder.join(format!("{NAME}-reg.sock")), registration(endpoint))
}

fn registration(endpoint: PathBuf) -> Handler {
    Arc::new(move |method, request| {
        let answer = match method.trim_start_matches("/pluginregistration.Registration/") {
            "GetInfo" => unary(&request, |Empty {}| {
                Ok(Registered {
                    kind: "CSIPlugin".to_owned(),
                    name: NAME.to_owned(),
                    endpoint: endpoint.display().to_string(),
                    supported_versions: vec!["1.0.0".to_owned()],
                })
            }),
            "NotifyRegistrationStatus" => unary(&request, |status: RegistrationStatus| {
                match status.plugin_registered {
                    true => Ok(Empty {}),
                    // It turns up in the kubelet's log.
                    false => Err(Status::new(Code::Internal, status.error)),
                }
            }),
            other => Err(Status::new(Code::Unimplemented, format!("there is no {other}"))),
        };
        async { answer }.boxed()
    })
}
