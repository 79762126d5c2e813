//! The words for what a backup does with an object: why it takes it, or which rule leaves it out.

use std::fmt;

/// What a backup does with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Included(Inclusion),
    LeftOut(Rule),
}

/// Why an object is part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inclusion {
    /// The filters choose it.
    Chosen,
    /// A cluster-scoped object of a backup of the whole cluster.
    WithTheCluster,
    /// A Namespace object that comes along because objects in it are part of the backup.
    WithItsObjects,
    /// Another object needs it, which is named as [`super::Object`] writes itself.
    BroughtBy(String),
    /// The definition of custom resources of which the backup holds some.
    DefinitionOf(String),
}

/// The rule that leaves an object out. Where several do, it is the first in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    NamespaceExcluded {
        namespace: String,
        entry: String,
    },
    NamespaceNotIncluded {
        namespace: String,
    },
    /// The namespace has the label that keeps its objects out of every backup.
    NamespaceLabelled {
        namespace: String,
    },
    /// The API server can't list, create, get and delete objects of the type.
    CannotBeStored,
    /// Snapshot objects of other makers: a backup holds only those that it made itself.
    ForeignSnapshot,
    TypeExcluded {
        list: List,
        entry: String,
    },
    TypeNotIncluded {
        list: List,
    },
    NoClusterResources,
    /// Cluster-scoped objects come with a backup of some namespaces only when an object there needs them.
    SomeNamespaces,
    /// Cluster-scoped objects do not come by themselves with a backup of some namespaced types.
    SomeTypes,
    /// The same object is taken through another type.
    Twin {
        taken_as: String,
    },
    /// None of the selectors has these labels.
    LabelSelector,
    /// The object has the label that keeps it out of every backup.
    Labelled,
    /// It is on its way out.
    Deleting,
    /// A Namespace object that is stored only when an object in it is, and none is.
    NamespaceWithoutObjects,
    /// The object is not what its kind says, which makes it an error of the backup.
    Unreadable {
        action: &'static str,
    },
}

/// A list of resources in a policy's `select`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    Resources,
    NamespacedResources,
    ClusterResources,
}

impl Verdict {
    pub fn is_included(&self) -> bool {
        match self {
            Verdict::Included(_) => true,
            Verdict::LeftOut(_) => false,
        }
    }
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::Resources => "resources",
            List::NamespacedResources => "namespacedResources",
            List::ClusterResources => "clusterResources",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Included(why) => write!(f, "included: {why}"),
            Verdict::LeftOut(rule) => write!(f, "left out: {rule}"),
        }
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inclusion::Chosen => f.write_str("the filters choose it"),
            Inclusion::WithTheCluster => f.write_str("it comes with the whole cluster"),
            Inclusion::WithItsObjects => f.write_str("objects in it are part of the backup"),
            Inclusion::BroughtBy(other) => write!(f, "{other} needs it"),
            Inclusion::DefinitionOf(resource) => write!(f, "{resource} are part of the backup"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::NamespaceExcluded { namespace, entry } => {
                write!(f, "namespaces.exclude has {entry:?}, which means namespace {namespace}")
            }
            Rule::NamespaceNotIncluded { namespace } => {
                write!(f, "namespaces.include does not have namespace {namespace}")
            }
            Rule::NamespaceLabelled { namespace } => {
                write!(f, "namespace {namespace} has the label velero.io/exclude-from-backup=true")
            }
            Rule::CannotBeStored => {
                f.write_str("objects of this kind can't be listed, created, read and deleted")
            }
            Rule::ForeignSnapshot => f.write_str("snapshot objects of other makers are never backed up"),
            Rule::TypeExcluded { list, entry } => {
                write!(f, "{}.exclude has {entry:?}, which means this kind", list.name())
            }
            Rule::TypeNotIncluded { list } => write!(f, "{}.include does not have this kind", list.name()),
            Rule::NoClusterResources => f.write_str("includeClusterResources is Never"),
            Rule::SomeNamespaces => f.write_str(
                "the backup is of some namespaces, and no object there that is part of it needs this one",
            ),
            Rule::SomeTypes => f.write_str(
                "the backup is of some namespacedResources, and no object that is part of it needs this one",
            ),
            Rule::Twin { taken_as } => write!(f, "the same object is taken as one of {taken_as}"),
            Rule::LabelSelector => f.write_str("its labels do not match the label selector"),
            Rule::Labelled => f.write_str("it has the label velero.io/exclude-from-backup=true"),
            Rule::Deleting => f.write_str("it is being deleted"),
            Rule::NamespaceWithoutObjects => f.write_str(
                "this Namespace object is stored with objects in it only, and none of them is part of the backup",
            ),
            Rule::Unreadable { action } => write!(f, "it is not what its kind says: {action} cannot read it"),
        }
    }
}
