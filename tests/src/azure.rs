//! A real server of Azure's blob storage on 127.0.0.1.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use crate::http_request::{self, Request};
use crate::process::{Group, Launch, Lifetime, Server};
use crate::programs;
use crate::testbed::{keys, port};

/// The only account of the server.
pub const ACCOUNT: &str = "holdfast";

/// Gone, with its containers, when the value is dropped and when the process ends.
pub struct AzureServer {
    key: String,
    port: u16,
    server: Server,
    #[expect(dead_code, reason = "held so that the server lives as long as this value")]
    group: Group,
}

impl AzureServer {
    pub async fn start() -> anyhow::Result<AzureServer> {
        let group = Group::start("azure")?;
        let script = programs::azurite().await?;
        let key = BASE64_STANDARD.encode(keys::random_token());
        let directory = group.directory();
        let launch = |port: u16| Launch {
            name: "azurite",
            program: Path::new("node"),
            arguments: vec![
                script.display().to_string(),
                "--blobHost=127.0.0.1".to_owned(),
                format!("--blobPort={port}"),
                "--silent".to_owned(),
                "--disableTelemetry".to_owned(),
                // Its database on disk is flushed every second, all of it.
                "--inMemoryPersistence".to_owned(),
                // Clients are newer than the server's own list of versions.
                "--skipApiVersionCheck".to_owned(),
            ],
            environment: vec![("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"))],
            log: directory.join("azurite.log"),
        };
        // A request signed with a key that only our server knows: nobody else on that port would accept it.
        let ready = async |port, _: &str| signed(port, &key, "GET", "", &[("comp", "list")]).await.is_ok();
        let (server, port) = port::serve(launch, Lifetime::With(&group), &mut |_| Ok(()), ready)
            .await
            .context("starting Azurite")?;
        Ok(AzureServer { key, port, server, group })
    }

    /// The account's URL: `http://127.0.0.1:PORT/ACCOUNT`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The account's key, in base64.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub async fn create_container(&self, name: &str) -> anyhow::Result<()> {
        signed(self.port, &self.key, "PUT", &format!("/{name}"), &[("restype", "container")])
            .await
            .with_context(|| format!("creating container {name}"))
    }

    pub fn process_id(&self) -> u32 {
        self.server.id()
    }
}

/// A request without a body, with the account's key as "Authorize with Shared Key" of Azure's documentation has it.
async fn signed(
    port: u16,
    key: &str,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
) -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the server compares the date with its own clock")]
    let now = chrono::Utc::now();
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let version = "2021-10-04";
    let resource: String = query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
    let empty_headers = "\n".repeat(11);
    let text = format!(
        "{method}\n{empty_headers}x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}{path}{resource}"
    );
    let secret = BASE64_STANDARD.decode(key).context("an account key in base64")?;
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
    let authorization = format!("SharedKey {ACCOUNT}:{}", BASE64_STANDARD.encode(signature.as_ref()));
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = format!("/{ACCOUNT}{path}?{}", query.join("&"));
    let headers =
        [("x-ms-date", date.as_str()), ("x-ms-version", version), ("Authorization", &authorization)];
    http_request::send(Request { port, method, path: &path, headers: &headers, body: "" }).await.map(drop)
}
