//! Lists and discovery against a real API server, whole and in order, also when answers fail on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use holdfast::cluster::{Cluster, Discovery, Error, Item, ListScope, Resource};
use holdfast_tests::Testbed;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{DeleteParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::json;

const OBJECTS: usize = 23;

/// What becomes of one answer of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Status(StatusCode, String),
    /// The body ends in the middle.
    CutOff,
}

/// A client of the same API server that damages the answers whose number, counted from 0, is given.
fn faulty(
    real: Client,
    faults: impl IntoIterator<Item = (usize, Fault)>,
) -> (Client, Arc<Mutex<Vec<String>>>) {
    let faults: BTreeMap<usize, Fault> = faults.into_iter().collect();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let real = real.clone();
        let number = {
            let mut seen = seen.lock().expect("no test panics while it holds the lock");
            seen.push(request.uri().to_string());
            seen.len() - 1
        };
        let fault = faults.get(&number).cloned();
        async move {
            let answer = real.send(request).await?;
            let body = match fault {
                None => return Ok::<_, kube::Error>(answer.map(BodyExt::boxed_unsync)),
                Some(Fault::Status(code, body)) => {
                    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
                    let answer = Response::builder().status(code).header("retry-after", "1");
                    let answer = answer.body(body.boxed_unsync());
                    return Ok(answer.expect("a status and a body make an answer"));
                }
                Some(Fault::CutOff) => answer.into_body().collect().await?.to_bytes(),
            };
            let pieces: Vec<_> =
                body[..body.len() * 2 / 3].chunks(16 * 1024).map(Bytes::copy_from_slice).collect();
            let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
            Ok(Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync()))
        }
    });
    (Client::new(service, "default"), requests)
}

fn config_maps() -> Resource {
    Resource {
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
        ..Resource::default()
    }
}

/// A namespace with [`OBJECTS`] ConfigMaps besides the one that every namespace has.
async fn namespace_with_objects(testbed: &Testbed) -> anyhow::Result<String> {
    let namespace = testbed.namespace("lists").await?;
    let api = Api::<ConfigMap>::namespaced(testbed.client()?, &namespace);
    for number in 0..OBJECTS {
        // A page is larger than what is handed over at once.
        let data = json!({"text": "x".repeat(120_000)});
        let object = json!({"data": data, "metadata": {"name": format!("object-{number:02}"), "labels": {"half": (number % 2).to_string()}}});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    Ok(namespace)
}

async fn list(cluster: &Cluster, namespace: &str) -> Result<Vec<Item>, Error> {
    let scope = ListScope {
        namespace: Some(namespace.to_owned()),
        label_selector: Some("half".to_owned()),
        page_size: 5,
    };
    let mut pages = cluster.list(&config_maps(), scope);
    let mut all = Vec::new();
    while let Some(items) = pages.next().await? {
        all.extend(items);
    }
    Ok(all)
}

fn names(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.name.as_str()).collect()
}

fn expected() -> Vec<String> {
    (0..OBJECTS).map(|number| format!("object-{number:02}")).collect()
}

/// Lists through a client with these faults.
async fn list_with(faults: impl IntoIterator<Item = (usize, Fault)>) -> (Result<Vec<Item>, Error>, usize) {
    let testbed = Testbed::shared().await.expect("a testbed");
    let namespace = namespace_with_objects(testbed).await.expect("a namespace");
    let (client, requests) = faulty(testbed.client().expect("a client"), faults);
    let items = list(&Cluster::new(client), &namespace).await;
    let requests = requests.lock().expect("no test panics while it holds the lock").len();
    (items, requests)
}

fn expired(go_on_with: &str) -> Fault {
    let status = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "metadata": {"continue": go_on_with}});
    Fault::Status(StatusCode::GONE, status.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_page_by_page_whole_and_in_order() {
    let (items, requests) = list_with([]).await;
    let items = items.unwrap();
    assert_eq!(names(&items), expected());
    assert_eq!(requests, 5);
    let first: serde_json::Value = serde_json::from_slice(&items[0].json).unwrap();
    assert_eq!((&first["apiVersion"], &first["kind"]), (&json!("v1"), &json!("ConfigMap")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again_and_nothing_doubles() {
    let (items, requests) = list_with([(0, Fault::CutOff), (3, Fault::CutOff)]).await;
    assert_eq!(names(&items.unwrap()), expected());
    assert_eq!(requests, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_faults_are_waited_out() {
    let busy = Fault::Status(StatusCode::TOO_MANY_REQUESTS, String::new());
    let down = Fault::Status(StatusCode::SERVICE_UNAVAILABLE, String::new());
    let started = std::time::Instant::now();
    let (items, requests) = list_with([(1, busy), (3, down)]).await;
    assert_eq!(names(&items.unwrap()), expected());
    assert_eq!(requests, 7);
    assert!(started.elapsed() >= Duration::from_secs(2), "Retry-After was not honoured");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_without_another_starts_the_list_again_and_nothing_is_lost() {
    let (items, _) = list_with([(2, expired(""))]).await;
    let items = items.unwrap();
    let distinct: BTreeSet<&str> = names(&items).into_iter().collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), expected());
    assert_eq!(items.len(), OBJECTS + 10, "what came before the token expired comes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_exchanged_for_the_one_the_server_gives() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = namespace_with_objects(testbed).await.unwrap();
    // The token that a list of the first ten ends with goes on behind them.
    let path = config_maps().path(Some(&namespace), None) + "?limit=10&labelSelector=half";
    let cluster = Cluster::new(testbed.client().unwrap());
    let page: serde_json::Value = serde_json::from_slice(&cluster.read(&path).await.unwrap()).unwrap();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let (client, _) = faulty(testbed.client().unwrap(), [(2, expired(token))]);
    let items = list(&Cluster::new(client), &namespace).await.unwrap();
    assert_eq!(names(&items), expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_error_with_the_servers_words() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "configmaps is forbidden"}).to_string();
    let (items, requests) = list_with([(0, Fault::Status(StatusCode::FORBIDDEN, forbidden))]).await;
    assert_eq!(items.unwrap_err().to_string(), "configmaps is forbidden");
    assert_eq!(requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_as_large_as_the_api_server_takes_comes_whole() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("large").await.unwrap();
    let api = Api::<ConfigMap>::namespaced(testbed.client().unwrap(), &namespace);
    let text = "\"\\{[é<".repeat(130_000);
    let object = json!({"metadata": {"name": "large", "labels": {"half": "1"}}, "data": {"text": text}});
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let items = list(&Cluster::new(testbed.client().unwrap()), &namespace).await.unwrap();
    assert_eq!(names(&items), ["large"]);
    let listed: serde_json::Value = serde_json::from_slice(&items[0].json).unwrap();
    assert_eq!(listed["data"]["text"].as_str().unwrap().len(), text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_knows_every_version_and_prefers_one() {
    let testbed = Testbed::shared().await.unwrap();
    let discovery = Cluster::new(testbed.client().unwrap()).discover().await.unwrap();
    let resolved = |text: &str| discovery.resolve(text).map(Resource::group_resource);
    assert_eq!(resolved("deploy").as_deref(), Some("deployments.apps"));
    assert_eq!(resolved("events").as_deref(), Some("events"));
    assert_eq!(discovery.by_group_resource("horizontalpodautoscalers.autoscaling").unwrap().version, "v2");
    assert!(discovery.by_kind("autoscaling/v1", "HorizontalPodAutoscaler").is_some());
    assert_eq!(discovery.resources[0].group, "");
    assert!(discovery.resources.iter().all(|resource| !resource.plural.contains('/')));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_backend_is_down_is_told_and_the_others_are_known() {
    let testbed = Testbed::start().await.unwrap();
    let services = Api::<APIService>::all(testbed.client().unwrap());
    let spec = json!({
        "group": "down.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "absent"},
    });
    let name = "v1.down.example.org";
    let service = json!({"metadata": {"name": name}, "spec": spec});
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let cluster = Cluster::new(testbed.client().unwrap());
    let mut discovery = cluster.discover().await.unwrap();
    for _ in 0..100 {
        if !discovery.failed.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        discovery = cluster.discover().await.unwrap();
    }
    let failed: Vec<_> = discovery.failed.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(failed, ["down.example.org"]);
    assert!(discovery.by_group_resource("deployments.apps").is_some());
    services.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Definitions add to these, and a file of objects is judged without any cluster.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_told_without_a_cluster_are_those_that_kubernetes_serves() {
    let testbed = Testbed::start().await.unwrap();
    let served = Cluster::new(testbed.client().unwrap()).discover().await.unwrap().resources;
    let told = Discovery::without_a_cluster(&[]).resources;
    let lines = |resources: Vec<Resource>| -> BTreeSet<String> {
        resources
            .into_iter()
            .map(|mut it| {
                it.verbs.sort();
                format!("{it:?}")
            })
            .collect()
    };
    let (served, told) = (lines(served), lines(told));
    assert_eq!(told.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
}
