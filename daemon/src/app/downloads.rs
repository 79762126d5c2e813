//! The listener for downloads: where it is, and how it finds the bucket of a location.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use holdfast_policy::velero;
use kube::{Api, Client};

use super::listen;
use super::{Options, Parts};
use crate::controllers::stores::Stores;
use crate::downloads::serve::OpenError;
use crate::downloads::{Downloads, Links, secret, serve};

/// Serves downloads where they are wanted, and gives how URLs for them are made.
pub(super) async fn start(
    client: &Client,
    options: &Options,
    parts: &mut Parts,
) -> anyhow::Result<Option<Links>> {
    let Some((listener, address)) = listen::bind(&options.download_address).await? else { return Ok(None) };
    tracing::info!(%address, "serving downloads");
    let tickets = secret::tickets(client, &options.namespace).await?;
    let locations: Api<velero::BackupStorageLocation> = Api::namespaced(client.clone(), &options.namespace);
    let stores = Stores::new(client, &options.namespace);
    // Reads the location itself: a replica that only stands by watches nothing.
    let open = move |name: String| {
        let (locations, stores) = (locations.clone(), stores.clone());
        async move {
            let Some(location) = locations.get_opt(&name).await? else { return Ok(None) };
            Ok::<_, OpenError>(Some(stores.open(&location).await?))
        }
    };
    let downloads = Downloads { tickets: tickets.clone(), clock: options.clock.clone(), open };
    parts.start(async move { Ok(serve(listener, downloads).await?) });
    Ok(Some(Links { tickets, base: base(address) }))
}

/// How the listener is reached from this machine.
fn base(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_interfaces_is_reached_by_this_machine_s_own() {
        assert_eq!(base("127.0.0.1:4711".parse().unwrap()), "http://127.0.0.1:4711");
        assert_eq!(base("[::]:8086".parse().unwrap()), "http://127.0.0.1:8086");
        assert_eq!(base("[fd00::1]:8086".parse().unwrap()), "http://[fd00::1]:8086");
    }
}
