//! How to reach a control plane: as a kubeconfig and as a client.

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::AuthInfo;

use super::keys;

#[derive(Clone)]
pub(crate) struct Access {
    pub(super) port: u16,
    pub(super) token: String,
    /// The authority that signed the API server's certificate, in DER.
    pub(super) authority: Vec<u8>,
}

impl Access {
    /// One cluster, one user with an inline token.
    pub(super) fn kubeconfig(&self) -> String {
        let authority = BASE64_STANDARD.encode(keys::certificate_pem(&self.authority));
        let Access { port, token, authority: _ } = self;
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: testbed\n\
             \x20 cluster:\n\
             \x20   server: https://127.0.0.1:{port}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: admin\n\
             \x20 user:\n\
             \x20   token: {token}\n\
             contexts:\n\
             - name: testbed\n\
             \x20 context:\n\
             \x20   cluster: testbed\n\
             \x20   user: admin\n\
             current-context: testbed\n"
        )
    }

    pub(crate) fn config(&self) -> anyhow::Result<kube::Config> {
        let url = format!("https://127.0.0.1:{}", self.port).parse().context("the API server's address")?;
        let mut config = kube::Config::new(url);
        config.root_cert = Some(vec![self.authority.clone()]);
        config.auth_info = AuthInfo { token: Some(self.token.clone().into()), ..AuthInfo::default() };
        Ok(config)
    }

    /// A new client each time: a client's requests run on the runtime it was made on, and every test has its own.
    pub(crate) fn client(&self) -> anyhow::Result<kube::Client> {
        install_crypto_provider();
        kube::Client::try_from(self.config()?).context("making a client")
    }
}

/// rustls wants to be told which cryptography to use before the first connection; the first call decides.
pub fn install_crypto_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
