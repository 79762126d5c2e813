//! A way into a pod through the API server, as `holdfast logs` takes it where the bucket is out of reach.

use holdfast::cli::logs::forward::to_pod;
use holdfast_tests::waiting::until;
use serde_json::json;

use crate::{pods, shared};

pub(super) async fn a_port_on_a_pods_own_loopback_answers_through_the_api_server() {
    let testbed = shared().await;
    let namespace = testbed.namespace("forward").await.unwrap();
    let client = testbed.client().unwrap();
    let mut pod = pods::idle("server", &["server"]);
    let serve =
        "mkdir /tmp/www && echo from-the-pod > /tmp/www/log && exec httpd -f -p 127.0.0.1:8080 -h /tmp/www";
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", serve]);
    pods::run(&client, &namespace, pod).await;
    // The container runs before its server listens.
    let fetch = async || {
        let address = to_pod(&client, &namespace, "server", 8080).await?;
        let answer = reqwest::get(format!("http://{address}/log")).await;
        Ok(match answer {
            Ok(answer) => Some(answer.text().await?),
            Err(_) => None,
        })
    };
    let text = until("the pod's answer", pods::PATIENCE, fetch).await.unwrap();
    assert_eq!(text, "from-the-pod\n");
    let absent = to_pod(&client, &namespace, "nobody", 8080).await.unwrap_err();
    assert_eq!(absent.to_string(), "cannot reach port 8080 of pod nobody through the API server");
}
