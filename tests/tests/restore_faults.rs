//! What a restore does when the API server refuses, hesitates or breaks off: each told apart, and sent again only where
//! that can't do harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holdfast_tests::restores::{Bench, Restored, archive, config_map, object};
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Answered in the API server's place, with this reason.
    Refused(u16, &'static str),
    /// Sent on, and the answer is lost.
    AnswerLost,
}

/// Writes by method and name of their object, with the faults that are still to come.
#[derive(Clone, Default)]
struct Faults {
    due: Arc<Mutex<BTreeMap<String, Vec<Fault>>>>,
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Faults {
    /// The first requests for the object end like this.
    fn of(self, request: &str, faults: &[Fault]) -> Self {
        self.due.lock().unwrap().insert(request.to_owned(), faults.iter().rev().copied().collect());
        self
    }

    fn seen(&self, request: &str) -> u32 {
        self.seen.lock().unwrap().get(request).copied().unwrap_or_default()
    }

    fn client(&self, inner: &Client) -> Client {
        let (faults, inner) = (self.clone(), inner.clone());
        Client::new(
            tower::service_fn(move |request| {
                let (faults, inner) = (faults.clone(), inner.clone());
                async move { faults.answer(request, inner).await }
            }),
            "default",
        )
    }

    async fn answer(&self, request: Request<Body>, inner: Client) -> std::io::Result<Response<Body>> {
        let lost = || std::io::Error::other("the connection broke");
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(|_| lost())?;
        let key = key(&parts.method, parts.uri.path(), &body);
        let fault = {
            *self.seen.lock().unwrap().entry(key.clone()).or_default() += 1;
            self.due.lock().unwrap().get_mut(&key).and_then(Vec::pop)
        };
        if let Some(Fault::Refused(code, reason)) = fault {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                "message": format!("{reason} by the test"),
            });
            let answer = Response::builder().status(StatusCode::from_u16(code).unwrap());
            return Ok(answer.body(Body::from(status.to_string().into_bytes())).unwrap());
        }
        let answer = inner.send(Request::from_parts(parts, Body::from(body))).await;
        match fault {
            Some(Fault::AnswerLost) => Err(lost()),
            Some(Fault::Refused(..)) | None => answer.map_err(|_| lost()),
        }
    }
}

/// `POST a`, `PUT a/status`.
fn key(method: &Method, path: &str, body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match *method {
        Method::POST => format!("POST {}", object["metadata"]["name"].as_str().unwrap_or_default()),
        _ => {
            let tail: Vec<&str> = path.rsplit('/').take(2).collect();
            match tail[..] {
                ["status", name] => format!("{method} {name}/status"),
                [name, ..] => format!("{method} {name}"),
                [] => method.to_string(),
            }
        }
    }
}

async fn restore(bench: &Bench, name: &str, spec: Value, faults: &Faults) -> Restored {
    let metadata = json!({"name": name, "namespace": "default"});
    let run = bench.run_of(metadata, spec, faults.client(&bench.client)).await;
    let outcome = holdfast::engine::restore::run(run).await.unwrap();
    bench.restored(name, outcome).await
}

fn errors(restored: &Restored, target: &str) -> Vec<String> {
    let errors = restored.results["errors"]["namespaces"][target].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_told_apart_and_only_those_that_may_pass_are_sent_again() {
    use Fault::{AnswerLost, Refused};
    let bench = Bench::start().await;
    let target = bench.unused_name("faults").await;
    let names = ["throttled", "faulty", "broken", "invalid", "forbidden", "lost", "conflict", "fine"];
    bench.put_backup("faults", &archive(&names.map(|name| config_map("src", name))));
    let faults = Faults::default()
        .of("POST throttled", &[Refused(429, "TooManyRequests"); 2])
        .of("POST faulty", &[Refused(500, "InternalError"); 2])
        .of("POST broken", &[Refused(500, "InternalError"); 9])
        .of("POST invalid", &[Refused(422, "Invalid"); 9])
        .of("POST forbidden", &[Refused(403, "Forbidden"); 9])
        .of("POST conflict", &[Refused(409, "Conflict"); 9])
        .of("POST lost", &[AnswerLost]);
    let spec = json!({"backupName": "faults", "namespaceMapping": {"src": target}});
    let restored = restore(&bench, "rs-faults", spec, &faults).await;

    let created = ["faulty", "fine", "lost", "throttled"].map(|name| format!("{target}/{name}(created)"));
    let failed =
        ["broken", "conflict", "forbidden", "invalid"].map(|name| format!("{target}/{name}(failed)"));
    let mut expected = [created, failed].concat();
    expected.sort();
    assert_eq!(restored.list["v1/ConfigMap"], expected, "{}", restored.results);
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 4));
    let mut told = errors(&restored, &target);
    told.sort();
    for (error, (name, reason)) in told.iter().zip([
        ("broken", "InternalError"),
        ("conflict", "Conflict"),
        ("forbidden", "Forbidden"),
        ("invalid", "Invalid"),
    ]) {
        assert_eq!(error, &format!("error restoring configmaps/{target}/{name}: {reason} by the test"));
    }
    let tries = ["throttled", "faulty", "broken", "invalid", "forbidden", "conflict", "lost", "fine"]
        .map(|name| faults.seen(&format!("POST {name}")));
    assert_eq!(tries, [3, 3, 3, 1, 1, 1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_on_a_status_is_tried_again_with_the_version_that_is_there() {
    let bench = Bench::start().await;
    let target = bench.unused_name("conflict").await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "src", "name": "front"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
    });
    bench.put_backup("status", &archive(&[object("services", service)]));
    let spec = json!({
        "backupName": "status", "namespaceMapping": {"src": target},
        "restoreStatus": {"includedResources": ["services"]},
    });
    let faults = Faults::default().of("PUT front/status", &[Fault::Refused(409, "Conflict"); 2]);
    let restored = restore(&bench, "rs-status", spec, &faults).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 0), "{}", restored.results);
    assert_eq!(faults.seen("PUT front/status"), 3);
    let live = bench.get(&format!("/api/v1/namespaces/{target}/services/front")).await;
    assert_eq!(live["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_object_that_can_t_be_read_is_a_warning_and_the_rest_goes_on() {
    let bench = Bench::start().await;
    let target = bench.unused_name("unread").await;
    bench.put_backup("unread", &archive(&["a", "b"].map(|name| config_map("src", name))));
    let spec = json!({"backupName": "unread", "namespaceMapping": {"src": target}});
    bench.restore("rs-unread-1", spec.clone()).await;
    let faults = Faults::default().of("GET a", &[Fault::Refused(403, "Forbidden"); 9]);
    let restored = restore(&bench, "rs-unread-2", spec, &faults).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (1, 0), "{}", restored.results);
    let warnings = restored.results["warnings"]["namespaces"][&target].to_string();
    assert!(warnings.contains("unable to retrieve in-cluster version"), "{warnings}");
    assert_eq!(
        restored.list["v1/ConfigMap"],
        [format!("{target}/a(failed)"), format!("{target}/b(skipped)")]
    );
}
