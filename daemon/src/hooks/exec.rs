//! One command in one container, by the pods/exec subresource over WebSocket.
//!
//! Takes a pod's name, a container and words; gives what the command wrote, as far as it is kept, and how it ended.
//! A command that outlasts its time goes on in the container: Kubernetes knows no way to end it.

use crate::causes::with_causes;
use std::time::Duration;

use futures::future::join;
use holdfast_policy::duration::GoDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What is kept of each stream. Hooks print a line or two; one that prints its whole database must not fill our memory.
const KEPT_BYTES: usize = 16 * 1024;
/// How long what was written before the end may take to arrive after it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a hook may take that doesn't say.
pub const DEFAULT_TIMEOUT: GoDuration = GoDuration::from_secs(30);

/// A command to run.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    pub words: &'a [String],
    /// Zero is the default, a negative one is for ever.
    pub timeout: GoDuration,
}

/// What a command wrote. Each stream keeps its beginning.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Output {
    pub stdout: Stream,
    pub stderr: Stream,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stream {
    kept: Vec<u8>,
    dropped: u64,
}

/// Why a command did not end well. The words are those that people know from Velero where it has some.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("command is required")]
    NoCommand,
    #[error("no such container: {0:?}")]
    NoSuchContainer(String),
    #[error("the pod has no containers")]
    NoContainers,
    /// The API server or the kubelet would not start it.
    #[error("{0}")]
    Refused(String),
    #[error("cannot reach the container: {0}")]
    Unreachable(String),
    #[error("timed out after {0}")]
    TimedOut(GoDuration),
    #[error("command terminated with exit code {0}")]
    Exit(i32),
    #[error("error executing remote command: {0}")]
    Remote(String),
    #[error("the connection ended before the command did: {0}")]
    Broken(String),
}

impl Stream {
    /// The text; says so where some of it was not kept.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        match self.dropped {
            0 => text.into_owned(),
            dropped => format!("{text}… ({dropped} more bytes)"),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let (kept, dropped) = bytes.split_at(bytes.len().min(KEPT_BYTES - self.kept.len()));
        self.kept.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
    }
}

/// Runs a command to its end, or as long as its time-out allows.
pub async fn run(client: &kube::Client, command: Command<'_>) -> (Output, Result<(), Error>) {
    let mut output = Output::default();
    if command.words.is_empty() {
        return (output, Err(Error::NoCommand));
    }
    let limit = GoDuration::set_or(Some(command.timeout), DEFAULT_TIMEOUT);
    let ended = match limit.as_std() {
        None => execute(client, command, &mut output).await,
        Some(time) => {
            timeout(time, execute(client, command, &mut output)).await.unwrap_or(Err(Error::TimedOut(limit)))
        }
    };
    (output, ended)
}

async fn execute(client: &kube::Client, command: Command<'_>, output: &mut Output) -> Result<(), Error> {
    let Command { namespace, pod, container, words, timeout: _ } = command;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = AttachParams::default().container(container);
    let mut process = pods.exec(pod, words, &parameters).await.map_err(refusal)?;
    let status = process.take_status();
    let read = join(drain(process.stdout(), &mut output.stdout), drain(process.stderr(), &mut output.stderr));
    tokio::pin!(read);
    let ended = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    tokio::pin!(ended);
    // Both streams may end before the status is known, and where the connection breaks off they never do.
    let (status, rest) = tokio::select! {
        status = &mut ended => (status, Some(read)),
        _ = &mut read => (ended.await, None),
    };
    if let Some(rest) = rest {
        // Whatever has not arrived by then is not kept.
        let _late = timeout(LAST_WORDS, rest).await;
    }
    match status {
        Some(status) => verdict(&status),
        None => Err(Error::Broken(match process.join().await {
            Ok(()) => "nothing was said of how it ended".to_owned(),
            Err(error) => with_causes(&error),
        })),
    }
}

/// Reads to the end, so that the command is never held up by output that nobody takes.
async fn drain(source: Option<impl AsyncRead + Unpin>, stream: &mut Stream) {
    let Some(mut source) = source else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        stream.push(&buffer[..read]);
    }
}

fn refusal(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => Error::Refused(status.message.clone()),
        other => Error::Unreachable(with_causes(&other)),
    }
}

fn verdict(status: &Status) -> Result<(), Error> {
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let causes = || status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code = causes().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = code.and_then(|cause| cause.message.as_deref()?.parse().ok());
    match code {
        Some(code) if status.reason.as_deref() == Some("NonZeroExitCode") => Err(Error::Exit(code)),
        Some(_) | None => Err(Error::Remote(status.message.clone().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_keeps_its_beginning_and_says_what_is_missing() {
        let mut stream = Stream::default();
        stream.push(b"ready\n");
        assert_eq!(stream.text(), "ready\n");
        stream.push(&vec![b'x'; KEPT_BYTES]);
        stream.push(b"yyy");
        assert_eq!(stream.kept.len(), KEPT_BYTES);
        assert!(stream.text().ends_with("x… (9 more bytes)"), "{}", stream.text().len());
    }

    #[test]
    fn the_end_of_a_command_is_told_in_the_words_of_velero() {
        let status = |value| serde_json::from_value::<Status>(value).unwrap();
        assert!(verdict(&status(json!({"status": "Success"}))).is_ok());
        let exit = status(json!({
            "status": "Failure", "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code: exit status 7",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
        }));
        assert_eq!(verdict(&exit).unwrap_err().to_string(), "command terminated with exit code 7");
        let remote =
            status(json!({"status": "Failure", "reason": "InternalError", "message": "no such file"}));
        assert_eq!(verdict(&remote).unwrap_err().to_string(), "error executing remote command: no such file");
    }
}
