//! A real S3 server on 127.0.0.1 whose objects are plain files below [`S3Server::root`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::process::{Group, Launch, Lifetime, Server};
use crate::programs::{self, Program};
use crate::testbed::{Testbed, keys, port};

/// The region the server answers for. Requests use path-style addresses.
pub const REGION: &str = "us-east-1";

/// A server of one's own: gone, with its buckets, when the value is dropped and when the process ends.
pub struct S3Server {
    gateway: Gateway,
    #[expect(dead_code, reason = "held so that the server lives as long as this value")]
    group: Group,
}

/// The running server; whether it stays is decided by whoever starts it.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) settings: Settings,
    program: PathBuf,
}

/// How requests come in. The paths are those of PEM files.
pub(crate) enum Speaks {
    Http,
    Https { certificate: PathBuf, key: PathBuf },
}

/// What a client needs.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) endpoint: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl S3Server {
    pub async fn start() -> anyhow::Result<S3Server> {
        S3Server::start_speaking(&Speaks::Http).await
    }

    /// One that shows the certificate of this control plane's API server, which its authority has signed for 127.0.0.1.
    pub async fn start_with_certificate_of(testbed: &Testbed) -> anyhow::Result<S3Server> {
        let (certificate, key) = testbed.certificate();
        S3Server::start_speaking(&Speaks::Https { certificate, key }).await
    }

    async fn start_speaking(speaks: &Speaks) -> anyhow::Result<S3Server> {
        let group = Group::start("s3")?;
        let gateway = start(group.directory(), speaks, Lifetime::With(&group), &mut |_| Ok(()))
            .await
            .context("starting an S3 server")?;
        Ok(S3Server { gateway, group })
    }

    /// `http://127.0.0.1:PORT`, or https where it has a certificate.
    pub fn endpoint(&self) -> &str {
        &self.gateway.settings.endpoint
    }

    pub fn access_key(&self) -> &str {
        &self.gateway.settings.access_key
    }

    pub fn secret_key(&self) -> &str {
        &self.gateway.settings.secret_key
    }

    /// Each folder in it is a bucket, each file below that an object.
    pub fn root(&self) -> &Path {
        &self.gateway.settings.root
    }

    pub async fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        self.gateway.create_bucket(name).await
    }

    pub fn process_id(&self) -> u32 {
        self.gateway.server.id()
    }
}

impl Gateway {
    pub(crate) async fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        let arguments = ["create-bucket", "--bucket", name, "--owner", &self.settings.access_key];
        administer(&self.program, &self.settings, &arguments)
            .await
            .with_context(|| format!("creating bucket {name}"))
    }
}

pub(crate) async fn start(
    directory: &Path,
    speaks: &Speaks,
    lifetime: Lifetime<'_>,
    started: &mut (dyn FnMut(&Server) -> anyhow::Result<()> + Send),
) -> anyhow::Result<Gateway> {
    let program = programs::locate(Program::S3Gateway).await?;
    let settings = Settings {
        root: directory.join("buckets"),
        endpoint: String::new(),
        access_key: keys::random_token(),
        secret_key: keys::random_token(),
    };
    let metadata = directory.join("metadata");
    let logs = directory.join("logs");
    for folder in [&settings.root, &metadata, &logs] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let (scheme, certificate) = match speaks {
        Speaks::Http => ("http", Vec::new()),
        Speaks::Https { certificate, key } => {
            ("https", vec![format!("--cert={}", certificate.display()), format!("--key={}", key.display())])
        }
    };
    let launch = |port| Launch {
        name: "versitygw",
        program: &program,
        arguments: [
            vec!["--quiet".to_owned(), format!("--port=127.0.0.1:{port}"), format!("--region={REGION}")],
            certificate.clone(),
            vec![
                "posix".to_owned(),
                // Extended attributes would be its first choice, but not every file system has them.
                format!("--sidecar={}", metadata.display()),
                settings.root.display().to_string(),
            ],
        ]
        .concat(),
        environment: vec![
            ("ROOT_ACCESS_KEY", settings.access_key.clone()),
            ("ROOT_SECRET_KEY", settings.secret_key.clone()),
        ],
        log: logs.join("versitygw.log"),
    };
    let at = |port| Settings { endpoint: format!("{scheme}://127.0.0.1:{port}"), ..settings.clone() };
    // A request signed with keys that only our server knows: nobody else on that port would accept it.
    let ready = async |port, _: &str| administer(&program, &at(port), &["list-buckets"]).await.is_ok();
    let (server, port) = port::serve(launch, lifetime, started, ready).await?;
    let settings = at(port);
    Ok(Gateway { server, settings, program })
}

async fn administer(program: &Path, settings: &Settings, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        // Whose keys are accepted is ours, whatever certificate it shows.
        .args(["admin", "--allow-insecure", "--region", REGION, "--endpoint-url", &settings.endpoint])
        .args(arguments)
        .env("ADMIN_ACCESS_KEY_ID", &settings.access_key)
        .env("ADMIN_SECRET_ACCESS_KEY", &settings.secret_key)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
