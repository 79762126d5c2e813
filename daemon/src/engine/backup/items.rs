//! Stores one object: asks whether it stays out, takes it up once, runs its actions, stores what they bring
//! along in front of it, and appends it to the archive. An object whose additional object fails, fails too.

use futures::FutureExt;

use super::Error;
use super::collect::Collector;
use super::{csi, volume_info, volume_verdict};
use crate::actions::backup::{self as actions, Action, Bindings, Context, Control, Needs};
use crate::archive::{self, Entries, ItemPath};
use crate::cluster::{self, Item, ListScope, Resource};
use crate::engine::ApiVersions;
use crate::engine::run_log::{Message, Place};
use crate::engine::select::Refusal;

/// A resource with what is the same for all of its objects.
pub(super) struct Subject<'a> {
    pub(super) resource: &'a Resource,
    pub(super) group_resource: String,
    /// `v1/Pod`.
    kind: String,
    role: Role,
    actions: Vec<&'static Action>,
    entries: Entries,
}

/// What the volume info has to do with objects of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Pod,
    Claim,
    Volume,
    Other,
}

/// Whether an object that an action brings along has to pass the filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    ByFilters,
    Always,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Now,
    Before,
    No,
}

/// Why one object is not in the backup; the others go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItemError {
    #[error("action {action} failed: {source}")]
    Action { action: &'static str, source: actions::Error },
    #[error("cannot read the object: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("cannot list cluster role bindings: {0}")]
    Bindings(#[from] BindingsError),
    #[error("cannot get {group_resource} {name}: {source}")]
    Fetch { group_resource: &'static str, name: String, source: cluster::Error },
    #[error("cannot get the object as {api_version}: {source}")]
    InVersion { api_version: &'static str, source: cluster::Error },
    #[error("cannot back up {group_resource} {name}: {source}")]
    Additional { group_resource: &'static str, name: String, source: Box<ItemError> },
    #[error(transparent)]
    VolumePolicy(#[from] volume_verdict::Error),
    #[error(transparent)]
    Snapshot(#[from] super::native::Error),
    #[error(transparent)]
    Csi(#[from] csi::Error),
    #[error("{0}")]
    Name(archive::UnusableName),
    /// The run cannot go on.
    #[error(transparent)]
    Archive(archive::Error),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BindingsError {
    #[error(transparent)]
    List(#[from] cluster::Error),
    #[error(transparent)]
    Read(#[from] actions::Error),
}

impl<'a> Subject<'a> {
    /// A resource in the version that the API server prefers.
    pub(super) fn new(resource: &'a Resource) -> Self {
        Self::with(resource, Entries::PlainAndPreferred)
    }

    pub(super) fn of_another_version(resource: &'a Resource) -> Self {
        Self::with(resource, Entries::OtherVersion)
    }

    fn with(resource: &'a Resource, entries: Entries) -> Self {
        let group_resource = resource.group_resource();
        let actions = actions::all().iter().filter(|action| action.applies_to == group_resource).collect();
        let role = match group_resource.as_str() {
            "pods" => Role::Pod,
            "persistentvolumeclaims" => Role::Claim,
            "persistentvolumes" => Role::Volume,
            _ => Role::Other,
        };
        let kind = format!("{}/{}", resource.api_version(), resource.kind);
        Self { resource, group_resource, kind, role, actions, entries }
    }

    /// Nothing looks inside these objects: their bytes go straight from the list to the archive.
    pub(super) fn is_plain(&self) -> bool {
        self.actions.is_empty()
    }

    /// `v1/Pod`.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The group of a custom resource has a dot, as its definition is made to have.
    pub(super) fn may_be_custom(&self) -> bool {
        self.resource.group.contains('.')
    }
}

impl Collector<'_> {
    /// Stores an object and reports it if that fails.
    pub(super) async fn settle(&self, subject: &Subject<'_>, item: Item) -> Result<Stored, Error> {
        let (name, namespace) = (item.name.clone(), item.namespace.clone());
        match self.store(subject, item, Admission::ByFilters).await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                self.report(subject, &name, namespace.as_deref(), error)?;
                Ok(Stored::No)
            }
        }
    }

    /// Reports why an object is not stored; what ends the run is an error.
    pub(super) fn report(
        &self,
        subject: &Subject<'_>,
        name: &str,
        namespace: Option<&str>,
        error: ItemError,
    ) -> Result<(), archive::Error> {
        if let ItemError::Archive(error) = error {
            return Err(error);
        }
        let message = Message::new("Error backing up item").resource(&subject.group_resource);
        self.log.error(Place::of(namespace), message.name(name).cause(&error));
        Ok(())
    }

    pub(super) fn reason_to_leave(
        &self,
        subject: &Subject<'_>,
        item: &Item,
        admission: Admission,
    ) -> Option<&'static str> {
        let by_filters = admission == Admission::ByFilters;
        if by_filters && item.excluded {
            return Some("Excluding item because it has label velero.io/exclude-from-backup=true");
        }
        let fine = &self.selection.fine;
        if by_filters
            && !fine.is_empty()
            && !fine.admit_name(subject.resource, item.namespace.as_deref(), &item.name)
        {
            return Some("Excluding item because the resource policy leaves its name out");
        }
        item.deleting.then_some("Skipping item because it's being deleted.")
    }

    /// Whether the object belongs into the archive and nobody has taken it up; from now on somebody has.
    pub(super) fn take_up(&self, subject: &Subject<'_>, item: &Item) -> bool {
        if let Some(reason) = self.reason_to_leave(subject, item, Admission::ByFilters) {
            self.log_left_out(reason, &subject.group_resource, &item.name, item.namespace.as_deref());
            return false;
        }
        self.ledger.begin(&subject.kind, item.namespace.as_deref(), &item.name)
    }

    pub(super) async fn store(
        &self,
        subject: &Subject<'_>,
        item: Item,
        admission: Admission,
    ) -> Result<Stored, ItemError> {
        if let Some(reason) = self.reason_to_leave(subject, &item, admission) {
            self.log_left_out(reason, &subject.group_resource, &item.name, item.namespace.as_deref());
            return Ok(Stored::No);
        }
        if !self.ledger.begin(&subject.kind, item.namespace.as_deref(), &item.name) {
            return Ok(Stored::Before);
        }
        match subject.role {
            Role::Pod => {
                self.meet_pod(&item).boxed().await?;
                return self.put_with_hooks(subject, item).boxed().await;
            }
            Role::Volume => {
                let claim = volume_info::claim_of(&item)?;
                let verdict = self.judge_volume(&item, claim.as_ref()).await?;
                self.volumes.meet_volume(&item, verdict)?;
                self.snapshot_volume(&item, claim.as_ref(), verdict).boxed().await?;
            }
            Role::Claim | Role::Other => {}
        }
        self.put(subject, item).await
    }

    /// Runs an object's actions and appends it to the archive, behind what the actions brought along.
    pub(super) async fn put(&self, subject: &Subject<'_>, item: Item) -> Result<Stored, ItemError> {
        let Some(mut item) = self.act(subject, item).await? else { return Ok(Stored::No) };
        if subject.role == Role::Claim {
            // Boxed: only claims pay for its size.
            item = match self.snapshot_claim(item).boxed().await? {
                Some(item) => item,
                None => return Ok(Stored::Now),
            };
        }
        self.append(subject, item).await?;
        Ok(Stored::Now)
    }

    pub(super) async fn append(&self, subject: &Subject<'_>, item: Item) -> Result<(), ItemError> {
        let Item { name, namespace, json, excluded: _, deleting: _ } = item;
        let path = ItemPath {
            group_resource: subject.group_resource.clone(),
            version: subject.resource.version.clone(),
            namespace,
            name,
        };
        self.writer.append_as(subject.entries, path, json).await.map_err(|error| match error {
            archive::Error::Name(name) => ItemError::Name(name),
            other => ItemError::Archive(other),
        })
    }

    /// Runs the object's actions and stores what they ask for; None when the object is to be left out after all.
    pub(super) async fn act(&self, subject: &Subject<'_>, mut item: Item) -> Result<Option<Item>, ItemError> {
        for action in &subject.actions {
            let none = Bindings::default();
            let bindings = match action.needs {
                Needs::Nothing => &none,
                Needs::Bindings => self.bindings().await?,
            };
            let cx = Context { backup: self.name, bindings };
            let outcome = (action.run)(&item, &cx)
                .map_err(|source| ItemError::Action { action: action.name, source })?;
            if let Some(json) = outcome.changed {
                item.json = json;
            }
            if let Some(api_version) = outcome.in_version {
                self.exchange(subject, &mut item, api_version).await?;
            }
            let admission = match Control::of(&item.json)? {
                Control::None => Admission::ByFilters,
                Control::MustInclude => Admission::Always,
                Control::Skip => {
                    self.withdraw(subject, &item);
                    return Ok(None);
                }
            };
            self.store_all_additional(subject, &item, outcome.additional, admission).await?;
        }
        Ok(Some(item))
    }

    /// Puts the object as another version shows it in the place of the object. Where all versions are stored it stays.
    async fn exchange(
        &self,
        subject: &Subject<'_>,
        item: &mut Item,
        api_version: &'static str,
    ) -> Result<(), ItemError> {
        match self.api_versions {
            ApiVersions::All => return Ok(()),
            ApiVersions::Preferred => {}
        }
        let Some(resource) = self.discovery.by_kind(api_version, &subject.resource.kind) else {
            return Ok(());
        };
        let other = self.cluster.get(resource, item.namespace.as_deref(), &item.name).await;
        if let Some(other) = other.map_err(|source| ItemError::InVersion { api_version, source })? {
            item.json = other.json;
        }
        Ok(())
    }

    /// Takes back that the object was taken up. It still counts as seen, so that nobody takes it up again.
    fn withdraw(&self, subject: &Subject<'_>, item: &Item) {
        self.ledger.withdraw(&subject.kind, item.namespace.as_deref(), &item.name);
        let reason = "Excluding item because it has annotation velero.io/skip-from-backup";
        self.log_left_out(reason, &subject.group_resource, &item.name, item.namespace.as_deref());
    }

    pub(super) async fn meet_pod(&self, pod: &Item) -> Result<(), ItemError> {
        let verdicts = self.judge_pod_volumes(pod).await?;
        let volumes = self.volumes.meet_pod(pod, &verdicts)?;
        Ok(self.read_files(pod, &volumes).await?)
    }

    async fn bindings(&self) -> Result<&Bindings, BindingsError> {
        self.bindings.get_or_try_init(|| self.read_bindings()).await
    }

    async fn read_bindings(&self) -> Result<Bindings, BindingsError> {
        let mut bindings = Bindings::default();
        let Some(resource) = self.discovery.by_group_resource(Bindings::GROUP_RESOURCE) else {
            return Ok(bindings);
        };
        let mut pages = self.cluster.list(resource, ListScope::everything());
        while let Some(items) = pages.next().await? {
            for item in items {
                bindings.add(&item)?;
            }
        }
        Ok(bindings)
    }

    pub(super) fn log_refused(
        &self,
        refusal: Refusal,
        group_resource: &str,
        name: &str,
        namespace: Option<&str>,
    ) {
        self.log_left_out(explain(refusal), group_resource, name, namespace);
    }

    fn log_left_out(&self, reason: &str, group_resource: &str, name: &str, namespace: Option<&str>) {
        let fields =
            [("name", name), ("namespace", namespace.unwrap_or_default()), ("resource", group_resource)];
        self.log.info(reason, &fields);
    }
}

fn explain(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Namespace => "Excluding item because namespace is excluded",
        Refusal::ClusterScoped => {
            "Excluding item because resource is cluster-scoped and is excluded by cluster filter."
        }
        Refusal::Resource => "Excluding item because resource is excluded",
    }
}
