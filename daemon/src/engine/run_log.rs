//! The log of one backup or restore: takes what the run reports, keeps it as gzipped text in a temporary
//! file, and gives the log, the results document and the counts at the end. Uploading them is left to the run.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::LogFormat;
use crate::clock::Clock;

mod line;
mod results;

use line::Line;
use results::{Results, Verdicts};

/// What kind of run writes the log; decides the name of the owner's field and the form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    Backup,
    Restore,
}

/// The run that a log is of.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub kind: RunKind,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Under which heading of the results document a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The run as a whole.
    Velero,
    /// A cluster-scoped object.
    Cluster,
    /// An object of this namespace.
    Namespace(String),
}

impl Place {
    /// The heading for an object of `namespace`, or for a cluster-scoped one.
    pub fn of(namespace: Option<&str>) -> Self {
        match namespace {
            Some(namespace) => Self::Namespace(namespace.to_owned()),
            None => Self::Cluster,
        }
    }
}

/// A warning or an error: constant text, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    text: String,
    resource: Option<String>,
    name: Option<String>,
    cause: Option<String>,
}

impl Message {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), resource: None, name: None, cause: None }
    }

    pub fn resource(self, resource: impl Into<String>) -> Self {
        Self { resource: Some(resource.into()), ..self }
    }

    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    pub fn cause(self, cause: &dyn Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }
}

impl<T: Into<String>> From<T> for Message {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// How many warnings and errors were reported so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub warnings: u64,
    pub errors: u64,
}

/// What the run uploads of its log.
#[derive(Debug)]
pub struct Finished {
    /// The log's text, gzipped.
    pub log_gz: Bytes,
    /// The results document, gzipped.
    pub results_gz: Bytes,
    pub counts: Counts,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create the temporary file of the log of {run}")]
    Create { run: String, source: io::Error },
    #[error("cannot write the temporary file of the log of {run}")]
    Write { run: String, source: io::Error },
    #[error("cannot read back the temporary file of the log of {run}")]
    Read { run: String, source: io::Error },
    #[error("cannot encode the results of {run}")]
    Encode { run: String, source: io::Error },
}

/// Shared by everything that works for one run; clones write to the same log.
#[derive(Clone)]
pub struct RunLog {
    kind: RunKind,
    run: Arc<str>,
    format: LogFormat,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

struct State {
    /// None once the log is finished.
    spool: Option<GzEncoder<BufWriter<File>>>,
    /// The first failure to write; told when the log is finished.
    failure: Option<io::Error>,
    warnings: Verdicts,
    errors: Verdicts,
    /// What a dry run found, object by object.
    plan: Option<Verdicts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Warning,
    Error,
}

impl RunLog {
    pub fn start(owner: Owner<'_>, format: LogFormat, clock: Clock) -> Result<Self, Error> {
        let Owner { kind, namespace, name } = owner;
        let run = format!("{namespace}/{name}");
        let file = tempfile::tempfile().map_err(|source| Error::Create { run: run.clone(), source })?;
        let spool = GzEncoder::new(BufWriter::new(file), Compression::fast());
        let state = State {
            spool: Some(spool),
            failure: None,
            warnings: Verdicts::default(),
            errors: Verdicts::default(),
            plan: None,
        };
        Ok(Self { kind, run: run.into(), format, clock, state: Arc::new(Mutex::new(state)) })
    }

    pub fn info(&self, text: &str, fields: &[(&str, &str)]) {
        let mut line = self.line("info", text);
        fields.iter().for_each(|(name, value)| line.field(name, value));
        self.state().write(&line.finish(self.format));
    }

    pub fn warning(&self, place: Place, message: impl Into<Message>) {
        self.report(Severity::Warning, place, message.into());
    }

    pub fn error(&self, place: Place, message: impl Into<Message>) {
        self.report(Severity::Error, place, message.into());
    }

    /// A line of a dry run's plan, which stands in the results beside errors and warnings, in their form: whoever reads
    /// results as Velero does reads it too.
    pub fn plan(&self, place: Place, text: String) {
        let mut state = self.state();
        if state.spool.is_some() {
            state.plan.get_or_insert_with(Verdicts::roomy).add(place, text);
        }
    }

    pub fn counts(&self) -> Counts {
        let state = self.state();
        Counts { warnings: state.warnings.count(), errors: state.errors.count() }
    }

    /// Closes the log. What is reported afterwards is counted no more and stands nowhere.
    pub fn finish(&self) -> Result<Finished, Error> {
        let run = || self.run.to_string();
        let mut state = self.state();
        let closed = || io::Error::other("the log was finished before");
        let spool = state.spool.take().ok_or_else(|| Error::Write { run: run(), source: closed() })?;
        if let Some(source) = state.failure.take() {
            return Err(Error::Write { run: run(), source });
        }
        let written =
            spool.finish().and_then(|buffer| buffer.into_inner().map_err(|error| error.into_error()));
        let mut file = written.map_err(|source| Error::Write { run: run(), source })?;
        let mut log = Vec::new();
        file.rewind()
            .and_then(|()| BufReader::new(file).read_to_end(&mut log))
            .map_err(|source| Error::Read { run: run(), source })?;
        let results = Results { errors: &state.errors, warnings: &state.warnings, plan: state.plan.as_ref() };
        let results_gz = results.gzip().map_err(|source| Error::Encode { run: run(), source })?;
        let counts = Counts { warnings: state.warnings.count(), errors: state.errors.count() };
        Ok(Finished { log_gz: log.into(), results_gz, counts })
    }

    fn report(&self, severity: Severity, place: Place, message: Message) {
        let mut line = match severity {
            Severity::Warning => self.line("warning", &message.text),
            Severity::Error => self.line("error", &message.text),
        };
        match &place {
            Place::Velero => {}
            Place::Cluster => line.field("namespace", ""),
            Place::Namespace(namespace) => line.field("namespace", namespace),
        }
        let fields = [("resource", &message.resource), ("name", &message.name), ("error", &message.cause)];
        for (field, value) in fields {
            if let Some(value) = value {
                line.field(field, value);
            }
        }
        let text = match self.kind {
            RunKind::Backup => results::labelled(&message),
            RunKind::Restore => results::plain(&message),
        };
        let mut state = self.state();
        if state.spool.is_none() {
            return;
        }
        state.write(&line.finish(self.format));
        match severity {
            Severity::Warning => state.warnings.add(place, text),
            Severity::Error => state.errors.add(place, text),
        }
    }

    fn line(&self, level: &'static str, text: &str) -> Line {
        let owner = match self.kind {
            RunKind::Backup => "backup",
            RunKind::Restore => "restore",
        };
        let mut line = Line::start((self.clock)(), level, text);
        line.field(owner, &self.run);
        line
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere while the lock was held leaves at worst a torn line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, line: &str) {
        let Some(spool) = self.spool.as_mut().filter(|_| self.failure.is_none()) else { return };
        if let Err(error) = spool.write_all(line.as_bytes()) {
            self.failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use flate2::read::GzDecoder;
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn log(kind: RunKind) -> RunLog {
        log_in(LogFormat::Text, kind)
    }

    fn log_in(format: LogFormat, kind: RunKind) -> RunLog {
        let now = DateTime::from_timestamp(1_795_441_203, 0).unwrap();
        let owner = Owner { kind, namespace: "velero", name: "gold" };
        RunLog::start(owner, format, Arc::new(move || now)).unwrap()
    }

    fn unzip(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    fn results(finished: &Finished) -> Value {
        serde_json::from_str(&unzip(&finished.results_gz)).unwrap()
    }

    #[test]
    fn a_clean_run_has_empty_results() {
        let finished = log(RunKind::Backup).finish().unwrap();
        assert_eq!(unzip(&finished.results_gz), "{\"errors\":{},\"warnings\":{}}\n");
        assert_eq!(finished.counts, Counts::default());
    }

    #[test]
    fn lines_are_logfmt_with_sorted_fields() {
        let log = log(RunKind::Backup);
        log.info("Retrieved 3 items", &[("resource", "pods"), ("group", "v1"), ("namespace", "")]);
        log.warning(Place::Velero, "Cannot find resource 'shop/absent'.");
        let finished = log.finish().unwrap();
        assert_eq!(
            unzip(&finished.log_gz),
            "time=\"2026-11-23T13:40:03Z\" level=info msg=\"Retrieved 3 items\" backup=velero/gold group=v1 \
             namespace= resource=pods\n\
             time=\"2026-11-23T13:40:03Z\" level=warning msg=\"Cannot find resource 'shop/absent'.\" \
             backup=velero/gold\n"
        );
    }

    #[test]
    fn lines_may_be_objects_with_sorted_keys() {
        let log = log_in(LogFormat::Json, RunKind::Restore);
        log.info("say \"hi\"", &[("resource", "pods")]);
        log.error(Place::of(Some("shop")), Message::new("failed").name("web").cause(&"not found"));
        assert_eq!(
            unzip(&log.finish().unwrap().log_gz),
            "{\"level\":\"info\",\"msg\":\"say \\\"hi\\\"\",\"resource\":\"pods\",\
             \"restore\":\"velero/gold\",\"time\":\"2026-11-23T13:40:03Z\"}\n\
             {\"error.message\":\"not found\",\"level\":\"error\",\"msg\":\"failed\",\"name\":\"web\",\
             \"namespace\":\"shop\",\"restore\":\"velero/gold\",\"time\":\"2026-11-23T13:40:03Z\"}\n"
        );
    }

    #[test]
    fn backup_results_label_the_parts_of_a_message() {
        let log = log(RunKind::Backup);
        let missing = Message::new("Error listing items").resource("gizmos").cause(&"not found");
        log.error(Place::of(Some("shop")), missing);
        log.error(Place::of(None), Message::new("Error backing up item").resource("nodes").name("n1"));
        log.warning(Place::Velero, "Cannot find resource 'shop/absent'.");
        let finished = log.finish().unwrap();
        assert_eq!(
            results(&finished),
            json!({
                "errors": {
                    "cluster": [" resource: /nodes name: /n1 message: /Error backing up item"],
                    "namespaces": {"shop": [" resource: /gizmos message: /Error listing items error: /not found"]},
                },
                "warnings": {"velero": [" message: /Cannot find resource 'shop/absent'."]},
            })
        );
        assert_eq!(finished.counts, Counts { warnings: 1, errors: 2 });
    }

    #[test]
    fn restore_results_are_plain_text() {
        let log = log(RunKind::Restore);
        log.warning(Place::of(Some("shop")), "could not restore, ConfigMap:a already exists");
        log.error(Place::of(None), Message::new("error restoring nodes/n1").cause(&"forbidden"));
        assert_eq!(
            results(&log.finish().unwrap()),
            json!({
                "errors": {"cluster": ["error restoring nodes/n1: forbidden"]},
                "warnings": {"namespaces": {"shop": ["could not restore, ConfigMap:a already exists"]}},
            })
        );
    }

    #[test]
    fn more_messages_than_are_kept_still_count() {
        let log = log(RunKind::Backup);
        (0..20_000).for_each(|n| log.error(Place::of(Some("shop")), format!("error number {n}")));
        let finished = log.finish().unwrap();
        assert_eq!(finished.counts, Counts { warnings: 0, errors: 20_000 });
        let results = results(&finished);
        let kept = results["errors"]["namespaces"]["shop"].as_array().unwrap().len();
        assert!(kept < 20_000, "{kept}");
        let note = format!("{} more messages are in the log only", 20_000 - kept);
        assert_eq!(results["errors"]["velero"], json!([note]));
        assert_eq!(unzip(&finished.log_gz).lines().count(), 20_000);
    }
}
