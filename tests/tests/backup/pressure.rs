//! Refusals that the API server's own priority and fairness makes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast::cluster::Cluster;
use holdfast::engine::backup;
use holdfast_tests::Testbed;
use http::{Request, StatusCode, header};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::faults::{config_maps, create_config_maps, expected_config_maps};
use crate::files::create;
use crate::runs::Bench;

/// A refusal with 429, and when the same was asked for again.
#[derive(Clone, Debug)]
struct Throttled {
    path: String,
    at: Instant,
    retry_after: Duration,
    again: Option<Duration>,
}

#[derive(Clone, Default)]
struct Throttles(Arc<Mutex<Vec<Throttled>>>);

impl Throttles {
    fn all(&self) -> MutexGuard<'_, Vec<Throttled>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the same API server whose refusals are noted.
    fn noted(&self, real: Client) -> Client {
        let throttles = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (real, throttles) = (real.clone(), throttles.clone());
            async move {
                let path = request.uri().to_string();
                for earlier in throttles.all().iter_mut().filter(|it| it.path == path && it.again.is_none()) {
                    earlier.again = Some(earlier.at.elapsed());
                }
                let answer = real.send(request).await?;
                if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                    let seconds = answer.headers().get(header::RETRY_AFTER);
                    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
                    let retry_after = Duration::from_secs(seconds.unwrap_or_default());
                    throttles.all().push(Throttled { path, at: Instant::now(), retry_after, again: None });
                }
                Ok::<_, kube::Error>(answer)
            }
        });
        Client::new(service, "default")
    }
}

/// The client of a service account that may do everything, and of which the API server serves hardly anything at a time.
async fn of_little_priority(testbed: &Testbed, namespace: &str) -> anyhow::Result<Client> {
    let client = testbed.client()?;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    create(&accounts, json!({"metadata": {"name": "modest"}})).await?;
    let account = json!({"kind": "ServiceAccount", "name": "modest", "namespace": namespace});
    let role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({"metadata": {"name": "modest"}, "roleRef": role, "subjects": [account]});
    create(&Api::<ClusterRoleBinding>::all(client.clone()), binding).await?;
    let limited = json!({
        "nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    });
    let level = json!({"metadata": {"name": "modest"}, "spec": {"type": "Limited", "limited": limited}});
    create(&Api::<PriorityLevelConfiguration>::all(client.clone()), level).await?;
    let subject =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": "modest", "namespace": namespace}});
    let everything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
    });
    let rule = json!({"subjects": [subject], "resourceRules": [everything]});
    let schema = json!({
        "metadata": {"name": "modest"},
        "spec": {
            "matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "modest"}, "rules": [rule],
        },
    });
    create(&Api::<FlowSchema>::all(client.clone()), schema).await?;
    let token = accounts
        .create_token_request("modest", &PostParams::default(), &TokenRequest::default())
        .await
        .context("asking for a token")?;
    let mut config = testbed.client_config()?;
    // Otherwise the client library waits by itself, and nobody sees what it was told.
    config.default_retry = false;
    config.auth_info = kube::config::AuthInfo {
        token: token.status.and_then(|status| status.token).map(Into::into),
        ..kube::config::AuthInfo::default()
    };
    Ok(Client::try_from(config)?)
}

/// A webhook that never answers, asked about each ConfigMap that is created in the namespace.
async fn silent_webhook(client: &Client, namespace: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}/", listener.local_addr()?);
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"],
    });
    let webhook = json!({
        "name": "silent.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "timeoutSeconds": 30, "failurePolicy": "Ignore", "clientConfig": {"url": url}, "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    });
    let webhooks = json!({"metadata": {"name": "silent"}, "webhooks": [webhook]});
    create(&Api::<MutatingWebhookConfiguration>::all(client.clone()), webhooks).await?;
    Ok(listener)
}

/// Creates ConfigMaps whose creation hangs, until the API server turns away what else this client asks for.
async fn take_all_seats(client: &Client, namespace: &str) -> anyhow::Result<JoinSet<()>> {
    let mut seated = JoinSet::new();
    for number in 0..10_000 {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let object = json!({"metadata": {"name": format!("hangs-{number}")}});
        let object: ConfigMap = serde_json::from_value(object)?;
        seated.spawn(async move { drop(api.create(&PostParams::default(), &object).await) });
        let probe = http::Request::get("/api/v1/namespaces/default").body(Vec::new())?;
        match client.request_text(probe).await {
            Err(kube::Error::Api(status)) if status.code == 429 => return Ok(seated),
            answer => drop(answer.context("probing")?),
        }
    }
    anyhow::bail!("the API server turns nobody away")
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_priority_and_fairness_are_waited_out_for_as_long_as_the_server_asks() {
    let testbed = Testbed::start().await.unwrap();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("fair").await.unwrap();
    let elsewhere = testbed.namespace("hangs").await.unwrap();
    create_config_maps(&client, &namespace).await.unwrap();
    let modest = of_little_priority(&testbed, &namespace).await.unwrap();
    let webhook = silent_webhook(&client, &elsewhere).await.unwrap();
    let mut bench = Bench::new(&testbed).await.unwrap();
    let throttles = Throttles::default();
    bench.cluster = Cluster::new(throttles.noted(modest.clone()));
    let backup = bench.prepare("fair", config_maps(&namespace)).await.unwrap();

    let seated = take_all_seats(&modest, &elsewhere).await.unwrap();
    let run = tokio::spawn(backup::run(bench.run_of(&backup)));
    while throttles.all().is_empty() {
        assert!(!run.is_finished(), "the run was not turned away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever hangs is let go: the connections to the webhook end with it, and so do the creations.
    drop(seated);
    drop(webhook);
    let outcome = run.await.unwrap().unwrap();
    let ran = bench.ran(backup, outcome);
    let mut items = ran.items().unwrap();
    items.sort();
    assert_eq!(items, expected_config_maps(&namespace));
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 0));
    for throttled in throttles.all().iter() {
        assert!(throttled.retry_after >= Duration::from_secs(1), "{throttled:?}");
        assert!(throttled.again.is_some_and(|again| again >= throttled.retry_after), "{throttled:?}");
    }
}
