//! The listener for the page: where it is, who may look, and what it shows in which mode.

use std::path::Path;

use anyhow::Context as _;
use kube::Client;

use super::Options;
use super::listen::{self, Health};
use super::parts::Parts;
use super::records::{Records, policy_sets, watch};
use crate::cli::version;
use crate::cluster::Cluster;
use crate::web::{self, Copies, Page, Setting, Token};

/// Serves the page where it is wanted. It has nothing to show until it is given copies.
pub(super) async fn start(
    client: &Client,
    options: &Options,
    health: &Health,
    parts: &mut Parts,
) -> anyhow::Result<Option<Page>> {
    let Some((listener, address)) = listen::bind(&options.web_address).await? else { return Ok(None) };
    let token = options.web_token_file.as_deref().map(token).transpose()?;
    match token {
        Some(_) => tracing::info!(%address, "serving the page to those who know the token"),
        None if address.ip().is_loopback() => tracing::info!(%address, "serving the page"),
        None => {
            tracing::warn!(%address, "serving the page to whoever reaches it: --web-token-file is not given")
        }
    }
    let health = health.clone();
    let page = Page::new(Setting {
        version: version::TEXT,
        namespace: options.namespace.clone(),
        token,
        readiness: Box::new(move || health.words().1),
        cluster: Cluster::new(client.clone()),
        clock: options.clock.clone(),
    });
    let served = page.clone();
    parts.start(async move { Ok(web::serve(listener, served).await?) });
    Ok(Some(page))
}

fn token(path: &Path) -> anyhow::Result<Token> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token of the page from {}", path.display()))?;
    Token::new(&text).with_context(|| format!("cannot use the token in {}", path.display()))
}

/// Shows what the controllers look at.
pub(super) fn show(page: &Page, records: &Records) {
    page.show(Copies {
        policy_sets: records.policy_sets.clone(),
        locations: records.locations.clone(),
        schedules: records.schedules.clone(),
        backups: records.backups.clone(),
        restores: records.restores.clone(),
        deletion_requests: records.deletion_requests.clone(),
    });
}

/// Shows what is watched for the page alone, where no controllers run.
pub(super) fn show_alone(page: &Page, client: &Client, namespace: &str, parts: &mut Parts) {
    page.show(Copies {
        policy_sets: policy_sets(client, namespace, parts),
        locations: watch(client, namespace, Vec::new(), parts),
        schedules: watch(client, namespace, Vec::new(), parts),
        backups: watch(client, namespace, Vec::new(), parts),
        restores: watch(client, namespace, Vec::new(), parts),
        deletion_requests: watch(client, namespace, Vec::new(), parts),
    });
}
