//! A server of AWS' EC2 API on 127.0.0.1. Volumes and snapshots are entries without data there.

use anyhow::Context;

use crate::http_request::{self, Request};
use crate::process::{Group, Launch, Lifetime, Server};
use crate::programs;
use crate::testbed::port;

/// Gone, with all volumes, when the value is dropped and when the process ends.
pub struct Ec2Server {
    port: u16,
    #[expect(dead_code, reason = "held so that the server lives as long as this value")]
    server: Server,
    #[expect(dead_code, reason = "held so that the server lives as long as this value")]
    group: Group,
}

impl Ec2Server {
    pub async fn start() -> anyhow::Result<Ec2Server> {
        let group = Group::start("ec2")?;
        let python = programs::moto().await?;
        let directory = group.directory();
        let launch = |port: u16| Launch {
            name: "moto",
            program: &python,
            arguments: ["-m", "moto.server", "-H", "127.0.0.1", "-p"]
                .map(str::to_owned)
                .into_iter()
                .chain([port.to_string()])
                .collect(),
            environment: vec![("MOTO_EC2_LOAD_DEFAULT_AMIS", "false".to_owned())],
            log: directory.join("moto.log"),
        };
        let ready = async |port, log: &str| log.contains(&format!("http://127.0.0.1:{port}"));
        let (server, port) = port::serve(launch, Lifetime::With(&group), &mut |_| Ok(()), ready)
            .await
            .context("starting moto")?;
        Ok(Ec2Server { port, server, group })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One request of EC2's API in a region, and the XML of its answer.
    pub async fn ask(
        &self,
        region: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let parameters: String = parameters.iter().map(|(key, value)| format!("&{key}={value}")).collect();
        let body = format!("Action={action}&Version=2016-11-15{parameters}");
        // The server takes nothing from a signature but the region.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=anyone/20260101/{region}/ec2/aws4_request, SignedHeaders=host, Signature=none"
        );
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let request = Request { port: self.port, method: "POST", path: "/", headers: &headers, body: &body };
        http_request::send(request).await
    }
}

/// The contents of all elements of a name.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let rest = xml.split(&start).skip(1);
    rest.filter_map(|rest| rest.split_once(&end)).map(|(content, _)| content.to_owned()).collect()
}
