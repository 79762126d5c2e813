//! What publishing costs: a change is one request, and nothing to do is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::publish::object::{CONTENT_HASH, Kind};
use holdfast_tests::Testbed;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::client::ClientBuilder;
use pretty_assertions::assert_eq;
use serde_json::json;
use tower::ServiceBuilder;

use crate::stage::{Stage, nightly};

const MANY: usize = 300;

#[tokio::test]
async fn a_change_of_one_policy_among_many_is_one_request() -> anyhow::Result<()> {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let count = ServiceBuilder::new().map_request(move |request: http::Request<_>| {
        // The watches go on by themselves.
        if request.method() != http::Method::GET {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        request
    });
    let config = Testbed::shared().await?.client_config()?;
    let mut stage = Stage::set_with(ClientBuilder::try_from(config)?.with_layer(&count).build()).await?;
    let mut desired: Vec<_> =
        (0..MANY).map(|number| stage.schedule(&format!("shop-{number:03}"), "h1", nightly())).collect();
    assert_eq!(stage.publish(&desired).await?.changes(), MANY);
    let list = ListParams::default();
    let before = stage.api(Kind::Schedule).list(&list).await?.items;

    requests.store(0, Ordering::SeqCst);
    assert_eq!(stage.publish(&desired).await?.changes(), 0);
    assert_eq!(requests.load(Ordering::SeqCst), 0, "nothing is applied again");
    desired[7].content_hash = "h2".to_owned();
    desired[7].value["metadata"]["labels"][CONTENT_HASH] = json!("h2");
    desired[7].value["spec"]["template"]["ttl"] = json!("48h0m0s");
    assert_eq!(stage.publish(&desired).await?.changes(), 1);
    assert_eq!(requests.load(Ordering::SeqCst), 1);

    let after = stage.api(Kind::Schedule).list(&list).await?.items;
    let touched = before.iter().zip(&after).filter(|(before, after)| {
        assert_eq!(before.name_any(), after.name_any());
        before.resource_version() != after.resource_version()
    });
    let touched: Vec<String> = touched.map(|(_, after)| after.name_any()).collect();
    assert_eq!(touched, ["shop-007"]);
    Ok(())
}
