//! Whether a pod is a Velero server that is alive. Pure.
//!
//! By what it runs, not by labels: those differ between installers.

use k8s_openapi::api::core::v1::{Container, Pod};

pub fn is_live_server(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    !has_ended && containers.into_iter().any(runs_server)
}

fn runs_server(container: &Container) -> bool {
    let command = container.command.iter().flatten();
    let mut words = command.chain(container.args.iter().flatten()).map(String::as_str).peekable();
    let program = match &container.command {
        Some(command) if !command.is_empty() => words.next(),
        // The image's own program.
        Some(_) | None => container.image.as_deref().map(repository),
    };
    let is_velero = program.is_some_and(|program| program.rsplit('/').next() == Some("velero"));
    is_velero && words.find(|word| !word.starts_with('-')) == Some("server")
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let (folder, last) = image.rsplit_once('/').map_or((0, image), |(folder, last)| (folder.len() + 1, last));
    &image[..folder + last.split(':').next().unwrap_or(last).len()]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_velero_server_is_known_by_what_it_runs() {
        let velero = "velero/velero:v1.18.3";
        let cases: [(&str, Value, Value, &str, bool); 10] = [
            (velero, json!(["/velero"]), json!(["server", "--features="]), "Running", true),
            (velero, json!(["/velero", "server"]), json!(null), "Running", true),
            ("localhost:5000/mirror/velero@sha256:0", json!(null), json!(["server"]), "Running", true),
            (velero, json!(null), json!(["--log-level=debug", "server"]), "Pending", true),
            (velero, json!(["/velero"]), json!(["server"]), "Succeeded", false),
            (velero, json!(["/velero"]), json!(["server"]), "Failed", false),
            (velero, json!(["/velero"]), json!(["node-agent", "server"]), "Running", false),
            (velero, json!(["/velero"]), json!(["repo-maintenance", "--repo-name=x"]), "Running", false),
            ("holdfast:0.1.0", json!(["/holdfast"]), json!(["run"]), "Running", false),
            ("nginx", json!(null), json!(["server"]), "Running", false),
        ];
        for (image, command, args, phase, expected) in cases {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "velero-7d9f"},
                "spec": {"containers": [
                    {"name": "other", "image": "proxy"},
                    {"name": "velero", "image": image, "command": command, "args": args},
                ]},
                "status": {"phase": phase},
            }))
            .unwrap();
            assert_eq!(is_live_server(&pod), expected, "{image} {command} {args} {phase}");
        }
    }
}
