//! A server of Google Cloud Storage on 127.0.0.1: fake-gcs-server behind the XML API, see `gcsserver/`.

use std::fs;

use anyhow::Context;

use crate::http_request::{self, Request};
use crate::process::{Group, Launch, Lifetime, Server};
use crate::programs::{self, Program};
use crate::testbed::{keys, port};

/// Gone, with its buckets, when the value is dropped and when the process ends.
pub struct GcsServer {
    port: u16,
    admin_token: String,
    service_account: String,
    server: Server,
    #[expect(dead_code, reason = "held so that the server lives as long as this value")]
    group: Group,
}

impl GcsServer {
    pub async fn start() -> anyhow::Result<GcsServer> {
        let group = Group::start("gcs")?;
        let program = programs::locate(Program::GcsServer).await?;
        let admin_token = keys::random_token();
        let directory = group.directory();
        let buckets = directory.join("buckets");
        fs::create_dir_all(&buckets).with_context(|| format!("creating {}", buckets.display()))?;
        let key_file = directory.join("service-account.json");
        let launch = |port: u16| Launch {
            name: "gcsserver",
            program: &program,
            arguments: vec![
                format!("127.0.0.1:{port}"),
                buckets.display().to_string(),
                key_file.display().to_string(),
            ],
            environment: vec![("ADMIN_TOKEN", admin_token.clone())],
            log: directory.join("gcsserver.log"),
        };
        // Asked with a token that only our server knows: nobody else on that port would accept it.
        let ready = async |port, _: &str| {
            administer(port, &admin_token, "GET", "/storage/v1/b?project=holdfast", "").await.is_ok()
        };
        let (server, port) = port::serve(launch, Lifetime::With(&group), &mut |_| Ok(()), ready)
            .await
            .context("starting the server of Google Cloud Storage")?;
        let service_account = fs::read_to_string(&key_file).context("reading the service account's key")?;
        Ok(GcsServer { port, admin_token, service_account, server, group })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key file of the only account that the server lets in, in Google's format.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    pub async fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({ "name": name }).to_string();
        administer(self.port, &self.admin_token, "POST", "/storage/v1/b?project=holdfast", &body)
            .await
            .with_context(|| format!("creating bucket {name}"))
    }

    pub fn process_id(&self) -> u32 {
        self.server.id()
    }
}

async fn administer(port: u16, token: &str, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    http_request::send(Request { port, method, path, headers: &headers, body }).await.map(drop)
}
