//! Flags of `velero server` that have no effect here, so that the arguments of its Deployment can be kept: each is
//! taken, and told about once in the log. Flags that nobody knows are refused.
//!
//! The flags are those of velero-api.md 8.1, and the ones that installers of older releases still write.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tracing::warn;

/// How a flag of Velero's is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// `--name VALUE` or `--name=VALUE`.
    Value,
    /// `--name` or `--name=BOOLEAN`.
    Switch,
}

use Takes::{Switch, Value};

const NOT_MADE: &str = "no run has asynchronous operations to ask after";
const NO_REPOSITORY: &str = "repositories of kopia are not opened";
const AS_FAST: &str = "the API server tells how fast it may be asked";

/// The name, how it is written, and why it has no effect.
const FLAGS: [(&str, Takes, &str); 20] = [
    ("backup-repository-configmap", Value, NO_REPOSITORY),
    ("client-burst", Value, AS_FAST),
    ("client-page-size", Value, "lists are read in pages of a fitting size"),
    ("client-qps", Value, AS_FAST),
    ("default-repo-maintain-frequency", Value, NO_REPOSITORY),
    ("disable-informer-cache", Switch, "restores always ask the API server"),
    ("item-block-worker-count", Value, "item blocks need no workers of their own"),
    ("item-operation-sync-frequency", Value, NOT_MADE),
    ("keep-latest-maintenance-jobs", Value, NO_REPOSITORY),
    ("maintenance-job-cpu-limit", Value, NO_REPOSITORY),
    ("maintenance-job-cpu-request", Value, NO_REPOSITORY),
    ("maintenance-job-mem-limit", Value, NO_REPOSITORY),
    ("maintenance-job-mem-request", Value, NO_REPOSITORY),
    ("max-concurrent-k8s-connections", Value, AS_FAST),
    ("plugin-dir", Value, "there are no plug-ins: what they do is built in"),
    ("profiler-address", Value, "there is no profiler"),
    ("repo-maintenance-job-configmap", Value, NO_REPOSITORY),
    ("restore-resource-priorities", Value, "kinds are restored in the order in which they need each other"),
    ("uploader-type", Value, NO_REPOSITORY),
    ("volume-group-snapshot-label-key", Value, "a Backup names the label of its volume groups"),
];

/// Those that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VeleroFlags {
    given: Vec<(&'static str, &'static str)>,
}

impl VeleroFlags {
    /// Says in the log what has no effect.
    pub(super) fn tell(&self) {
        for (name, why) in &self.given {
            warn!(flag = format!("--{name}"), "a flag of Velero's server that has no effect here: {why}");
        }
    }
}

impl clap::Args for VeleroFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.map(|(name, takes, _)| {
            let flag = Arg::new(name).long(name).hide(true).action(ArgAction::Append);
            match takes {
                Value => flag.num_args(1).allow_hyphen_values(true),
                Switch => flag
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(clap::value_parser!(bool)),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        VeleroFlags::augment_args(command)
    }
}

impl clap::FromArgMatches for VeleroFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<VeleroFlags, clap::Error> {
        let given = |(name, _, why): &(&'static str, Takes, &'static str)| {
            let given = matches.value_source(name) == Some(ValueSource::CommandLine);
            given.then_some((*name, *why))
        };
        Ok(VeleroFlags { given: FLAGS.iter().filter_map(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = VeleroFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use pretty_assertions::assert_eq;

    use crate::cli::{Cli, Command};

    fn given(arguments: &[&str]) -> Result<Vec<&'static str>, clap::Error> {
        let line = ["holdfast"].iter().chain(arguments);
        match Cli::try_parse_from(line)?.command {
            Command::Run(args) => Ok(args.velero.given.iter().map(|(name, _)| *name).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_arguments_of_veleros_deployment_are_taken() {
        let arguments = ["server", "--features=", "--uploader-type=kopia", "--client-qps", "50"];
        assert_eq!(given(&arguments).unwrap(), ["client-qps", "uploader-type"]);
        let older = ["run", "--keep-latest-maintenance-jobs=3", "--maintenance-job-mem-limit", "1Gi"];
        assert_eq!(given(&older).unwrap(), ["keep-latest-maintenance-jobs", "maintenance-job-mem-limit"]);
        assert_eq!(given(&["run"]).unwrap(), Vec::<&str>::new());
    }

    /// All flags of `velero server` of release 1.18, with a value of each.
    const OF_VELERO: [(&str, &str); 40] = [
        ("backup-repository-configmap", "repositories"),
        ("backup-sync-period", "2m"),
        ("client-burst", "100"),
        ("client-page-size", "500"),
        ("client-qps", "100"),
        ("concurrent-backups", "2"),
        ("default-backup-storage-location", "main"),
        ("default-backup-ttl", "24h"),
        ("default-item-operation-timeout", "4h"),
        ("default-repo-maintain-frequency", "1h"),
        ("default-snapshot-move-data", "true"),
        ("default-volume-snapshot-locations", "aws:main"),
        ("default-volumes-to-fs-backup", "false"),
        ("disable-controllers", "gc,schedule"),
        ("disable-informer-cache", "true"),
        ("features", "EnableCSI"),
        ("fs-backup-timeout", "4h"),
        ("garbage-collection-frequency", "1h"),
        ("global-backup-volume-policies-configmap", "volumes"),
        ("item-block-worker-count", "1"),
        ("item-operation-sync-frequency", "10s"),
        ("kubeconfig", "/kubeconfig"),
        ("log-format", "json"),
        ("log-level", "warning"),
        ("max-concurrent-k8s-connections", "30"),
        ("metrics-address", ":8085"),
        ("namespace", "velero"),
        ("plugin-dir", "/plugins"),
        ("profiler-address", "localhost:6060"),
        ("repo-maintenance-job-configmap", "maintenance"),
        ("resource-timeout", "10m"),
        ("restore-only", "false"),
        ("restore-resource-priorities", "namespaces,-,pods"),
        ("schedule-skip-immediately", "true"),
        ("store-validation-frequency", "1m"),
        ("terminating-resource-timeout", "10m"),
        ("uploader-type", "kopia"),
        ("volume-group-snapshot-label-key", "velero.io/volume-group"),
        ("pod-volume-operation-timeout", "4h"),
        ("restic-timeout", "4h"),
    ];

    const SWITCHES: [&str; 5] = [
        "default-snapshot-move-data",
        "default-volumes-to-fs-backup",
        "disable-informer-cache",
        "restore-only",
        "schedule-skip-immediately",
    ];

    #[test]
    fn every_flag_of_velero_s_server_is_taken_in_each_of_its_forms() {
        for (name, value) in OF_VELERO {
            let (flag, whole) = (format!("--{name}"), format!("--{name}={value}"));
            let apart: &[&str] = if SWITCHES.contains(&name) { &[&flag] } else { &[&flag, value] };
            for form in [&[whole.as_str()], apart] {
                let told = given(&[&["server"], form].concat());
                let told = told.unwrap_or_else(|error| panic!("{form:?}: {error}"));
                assert!(told.is_empty() || told == [name], "{form:?}: {told:?}");
            }
        }
    }

    #[test]
    fn switches_are_written_as_velero_writes_them() {
        for line in ["--disable-informer-cache", "--disable-informer-cache=false"] {
            assert_eq!(given(&["run", line]).unwrap(), ["disable-informer-cache"]);
        }
        let ours = [
            "run",
            "--restore-only=false",
            "--schedule-skip-immediately=true",
            "--default-snapshot-move-data",
        ];
        assert_eq!(given(&ours).unwrap(), Vec::<&str>::new());
        assert!(given(&["run", "--restore-only", "false"]).is_err());
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        assert!(given(&["run", "--plugin-dirs=/plugins"]).is_err());
    }
}
