//! A way to a port of a pod through the API server, for one connection.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::net::TcpListener;

/// An address on this machine at which the port answers once, also where it listens on the pod's own loopback only.
pub async fn to_pod(client: &Client, namespace: &str, pod: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = || format!("cannot reach port {port} of pod {pod} through the API server");
    let mut forwarder = pods.portforward(pod, &[port]).await.with_context(what)?;
    let mut there = forwarder.take_stream(port).with_context(what)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.with_context(what)?;
    let address = listener.local_addr().with_context(what)?;
    tokio::spawn(async move {
        if let Ok((mut here, _)) = listener.accept().await {
            // Whoever fetches sees an end that came too early.
            drop(tokio::io::copy_bidirectional(&mut here, &mut there).await);
        }
        drop(there);
        drop(forwarder.join().await);
    });
    Ok(address)
}
