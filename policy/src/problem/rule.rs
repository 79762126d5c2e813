//! The rules that documents are held to: each has a name for people and tools, and a severity.

/// How bad breaking a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The set is refused.
    Error,
    /// The set is refused under `--strict` only, which makes an error of it.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

macro_rules! rules {
    ($($variant:ident $severity:ident $code:literal $summary:literal,)*) => {
        /// A rule that documents are held to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $(#[doc = $summary] $variant,)* }

        impl Rule {
            pub const ALL: &'static [Rule] = &[$(Rule::$variant,)*];

            /// Stable name, for tools.
            pub fn code(self) -> &'static str {
                match self { $(Rule::$variant => $code,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Rule::$variant => Severity::$severity,)* }
            }

            /// What the rule demands, in one sentence.
            pub fn summary(self) -> &'static str {
                match self { $(Rule::$variant => $summary,)* }
            }
        }
    };
}

rules! {
    Syntax Error "syntax" "Files are well-formed YAML 1.2",
    Limit Error "limit" "Files stay within bounds of size, depth and alias expansion",
    DuplicateKey Error "duplicate-key" "A key stands once in a mapping",
    NotAPolicy Error "not-a-policy" "Documents have an apiVersion and kind of the policy language",
    UnknownField Error "unknown-field" "Fields are those of the schema",
    MissingField Error "missing-field" "Required fields are there",
    WrongType Error "wrong-type" "Values have the type of the schema",
    WrongValue Error "wrong-value" "Values are among those that the schema allows",
    Duration Error "duration" "Durations are Go durations with units",
    Name Error "name" "Names are Kubernetes names and short enough for what is generated",
    Label Error "label" "Labels are Kubernetes labels, and not those that Holdfast and Velero use themselves",
    DuplicateDocument Error "duplicate-document" "A name stands once among the documents of a kind",
    DuplicateName Error "duplicate-name" "A name stands once in its list",
    SameObject Error "same-object" "Two documents don't generate the same object",
    Cron Error "cron" "Cron expressions parse and fire",
    TimeZone Error "time-zone" "Time zones are IANA names",
    DayRule Warning "day-rule" "Day of month and day of week are not both restricted, as Velero's versions disagree about it",
    FilterModels Error "filter-models" "The two models of resource filters don't mix",
    Exclusive Error "exclusive" "Of fields that exclude each other one is given",
    Glob Error "glob" "Globs can match something",
    Selector Error "selector" "Label selectors are Kubernetes label selectors",
    OrderedResources Error "ordered-resources" "orderedResources names resources and objects",
    HookCommand Error "hook-command" "Hooks have commands",
    HookFails Note "hook-fails" "A failing hook without onError leaves its pod out of the archive",
    RetentionEmpty Error "retention-empty" "Retention keeps something",
    RetentionBeyondTtl Error "retention-beyond-ttl" "Retention stays within the ttl",
    TtlShort Warning "ttl-short" "Backups live longer than the time between two runs",
    RunTimes Warning "run-times" "Jitter, deadline and maximum runtime fit the schedule's period",
    UndeclaredLocation Warning "undeclared-location" "Locations that policies name are declared",
    UndeclaredPolicy Warning "undeclared-policy" "Policies that restores name are declared",
    DefaultLocation Error "default-location" "One storage location at most is the default",
    Provider Error "provider" "Providers are known",
    ProviderConfig Error "provider-config" "Configuration keys are those of the provider",
    LiteralCredential Error "literal-credential" "Credentials are references to Secrets",
    Certificate Error "certificate" "Certificates are PEM text or base64",
    VolumeRule Error "volume-rule" "Volume rules are ones that Velero accepts",
    ModifierRule Error "modifier-rule" "Resource modifier rules are ones that Velero accepts",
    RestoreSource Error "restore-source" "A restore names one backup, or one schedule of one policy",
    RestoreTarget Error "restore-target" "Two restores don't go into one namespace",
    RemapUnused Error "remap-unused" "Namespaces that are remapped are restored",
    RestoreApproval Error "restore-approval" "A restore that updates objects is approved by a person",
    NoBackups Warning "no-backups" "A backup policy has schedules or backups",
    Unenforced Warning "unenforced" "Velero honours what policies say that it carries out",
    HookNamespace Error "hook-namespace" "Hooks run in namespaces where hooks are allowed",
    PolicyTest Error "policy-test" "Tests of policies say what they expect, of objects and policies that are there",
    Expectation Error "expectation" "Policies do what tests expect of them",
    Untrusted Error "untrusted" "Sources outside Holdfast's namespace stay in their own",
}
