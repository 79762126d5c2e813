//! A list whose state the API server's store has forgotten, as it forgets all states after some minutes.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use holdfast::engine::backup;
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::faults::{config_maps, create_config_maps, expected_config_maps, is_next_page};
use crate::files::create;
use crate::interposed::{Gate, Way, cluster_seen_by};
use crate::runs::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_state_etcd_has_forgotten_is_taken_up_and_nothing_is_lost_or_doubled() {
    let mut testbed = Testbed::start().await.unwrap();
    // Later pages come from etcd, and not from what the API server remembers.
    testbed.restart_api_server_with(&["--feature-gates=ListFromCacheSnapshot=false"]).await.unwrap();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("compacted").await.unwrap();
    create_config_maps(&client, &namespace).await.unwrap();
    let mut bench = Bench::new(&testbed).await.unwrap();
    let pages = Arc::new(Mutex::new(Vec::new()));
    let (gate, seen) = (Gate::new(), pages.clone());
    let in_the_way = gate.clone();
    bench.cluster = cluster_seen_by(client.clone(), move |path| {
        let gate = in_the_way.clone();
        let is_next_page = is_next_page(&path);
        if is_next_page {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
        async move {
            if is_next_page {
                gate.pass().await;
            }
            Way::Through
        }
        .boxed()
    });
    let backup = bench.prepare("compacted", config_maps(&namespace)).await.unwrap();
    let run = tokio::spawn(backup::run(bench.run_of(&backup)));
    gate.reached().await;
    // Its name is behind all others.
    let late = json!({"metadata": {"name": "object-late"}});
    create(&Api::<ConfigMap>::namespaced(client, &namespace), late).await.unwrap();
    testbed.compact_etcd().await.unwrap();
    gate.open();
    let outcome = run.await.unwrap().unwrap();
    let ran = bench.ran(backup, outcome);
    let mut items = ran.items().unwrap();
    items.sort();
    let mut expected = expected_config_maps(&namespace);
    expected.push(format!("configmaps {namespace}/object-late"));
    assert_eq!(items, expected);
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 0));
    let pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(pages.len(), 2, "a page was refused and asked for with another token: {pages:?}");
    assert!(pages[0] != pages[1]);
}
