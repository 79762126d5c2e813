//! Which objects of an archive a restore takes.
//!
//! In: the lists of a Restore, resource names already resolved by what the cluster serves. Out: [`Selection`],
//! which answers for a group resource, a source namespace and labels. It knows nothing of an object's content.

use std::collections::BTreeMap;

use crate::engine::select::{Archived, FineFilters, LabelFilter, NAMESPACES, Patterns, Unwanted};

/// The rules of one Restore, ready to be asked.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) resources: NameFilter,
    /// Asked with the namespace in the backup, never with the one it is mapped to.
    pub(crate) namespaces: NameFilter,
    pub(crate) cluster_scope: ClusterScope,
    pub(crate) details: Details,
}

/// What is asked of an object itself, once its place is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details {
    pub(crate) labels: LabelFilter,
    /// Of `spec.resourcePolicy`.
    pub(crate) fine: FineFilters,
}

/// Names to include and to exclude, as globs.
#[derive(Debug)]
pub(crate) struct NameFilter {
    /// None includes everything.
    includes: Option<Patterns>,
    excludes: Patterns,
}

/// `spec.includeClusterResources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterScope {
    /// All, unless only certain namespaces are restored: then what their objects need.
    Automatic,
    Include,
    Exclude,
}

impl From<Option<bool>> for ClusterScope {
    fn from(include: Option<bool>) -> Self {
        match include {
            None => Self::Automatic,
            Some(true) => Self::Include,
            Some(false) => Self::Exclude,
        }
    }
}

/// Why an object is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filtered {
    Resource,
    Namespace,
    ClusterScope,
    Labels,
    /// The resource policy, by kind or name.
    Policy,
}

impl Details {
    pub(crate) fn take(
        &self,
        object: Archived<'_>,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Filtered> {
        let Self { labels: own, fine } = self;
        fine.take(object, labels, own).map_err(|unwanted| match unwanted {
            Unwanted::Labels => Filtered::Labels,
            Unwanted::Policy => Filtered::Policy,
        })
    }
}

impl Selection {
    /// The scope rules of the main list; `Ok` where the object's place in the backup is wanted.
    pub(crate) fn takes_place(
        &self,
        group_resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), Filtered> {
        self.resources.includes(group_resource).then_some(()).ok_or(Filtered::Resource)?;
        match namespace {
            Some(namespace) => self.namespaces.includes(namespace).then_some(()).ok_or(Filtered::Namespace),
            None => match self.cluster_scope {
                ClusterScope::Include => Ok(()),
                ClusterScope::Automatic if self.namespaces.is_everything() => Ok(()),
                // An included namespace comes along although it is empty, whatever else of the cluster does.
                ClusterScope::Automatic | ClusterScope::Exclude if group_resource == NAMESPACES => {
                    self.namespaces.includes(name).then_some(()).ok_or(Filtered::Namespace)
                }
                ClusterScope::Automatic | ClusterScope::Exclude => Err(Filtered::ClusterScope),
            },
        }
    }

    /// The rules for an object that another one needs: only an explicit word keeps it out.
    pub(crate) fn takes_needed(&self, group_resource: &str, namespace: Option<&str>) -> Result<(), Filtered> {
        self.resources.includes(group_resource).then_some(()).ok_or(Filtered::Resource)?;
        match (namespace, self.cluster_scope) {
            (Some(namespace), _) => {
                self.namespaces.includes(namespace).then_some(()).ok_or(Filtered::Namespace)
            }
            (None, ClusterScope::Exclude) => Err(Filtered::ClusterScope),
            (None, ClusterScope::Automatic | ClusterScope::Include) => Ok(()),
        }
    }
}

impl NameFilter {
    /// A `*` among the excludes means nothing, as with Velero.
    pub(crate) fn new(includes: &[String], excludes: &[String]) -> Self {
        let includes = Patterns::new(includes);
        Self {
            includes: (!includes.is_empty() && !includes.has_everything()).then_some(includes),
            excludes: Patterns::new(excludes.iter().filter(|exclude| *exclude != "*")),
        }
    }

    pub(crate) fn includes(&self, name: &str) -> bool {
        !self.excludes.matches(name) && self.includes.as_ref().is_none_or(|includes| includes.matches(name))
    }

    /// Nothing is excluded, and everything included by rule, not by a glob that happens to match.
    pub(crate) fn is_everything(&self) -> bool {
        self.includes.is_none() && self.excludes.is_empty()
    }

    /// Names are listed, so that it is worth a word when none of them is there.
    pub(crate) fn names_some(&self) -> bool {
        self.includes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn selection(includes: &[&str], excludes: &[&str], cluster: Option<bool>) -> Selection {
        Selection {
            resources: NameFilter::new(&[], &names(&["nodes"])),
            namespaces: NameFilter::new(&names(includes), &names(excludes)),
            cluster_scope: cluster.into(),
            details: Details::default(),
        }
    }

    #[test]
    fn the_cluster_flag_and_the_namespaces_decide_about_scope_as_the_table_says() {
        use Filtered::{ClusterScope, Namespace};
        let everything: (&[&str], &[&str]) = (&[], &[]);
        let star: (&[&str], &[&str]) = (&["*"], &[]);
        let glob: (&[&str], &[&str]) = (&["?*"], &[]);
        let shop: (&[&str], &[&str]) = (&["shop"], &[]);
        let all_but_shop: (&[&str], &[&str]) = (&[], &["shop"]);
        // namespaces, flag, then: a pod in shop, a pod in blog, a cluster role, namespace shop, namespace blog
        #[rustfmt::skip]
        let table = [
            (everything, None, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]),
            (star, None, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]),
            (glob, None, [Ok(()), Ok(()), Err(ClusterScope), Ok(()), Ok(())]),
            (shop, None, [Ok(()), Err(Namespace), Err(ClusterScope), Ok(()), Err(Namespace)]),
            (all_but_shop, None, [Err(Namespace), Ok(()), Err(ClusterScope), Err(Namespace), Ok(())]),
            (everything, Some(true), [Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]),
            (shop, Some(true), [Ok(()), Err(Namespace), Ok(()), Ok(()), Ok(())]),
            (everything, Some(false), [Ok(()), Ok(()), Err(ClusterScope), Ok(()), Ok(())]),
            (shop, Some(false), [Ok(()), Err(Namespace), Err(ClusterScope), Ok(()), Err(Namespace)]),
        ];
        for ((includes, excludes), flag, expected) in table {
            let selection = selection(includes, excludes, flag);
            let found = [
                selection.takes_place("pods", Some("shop"), "a"),
                selection.takes_place("pods", Some("blog"), "a"),
                selection.takes_place("clusterroles.rbac.authorization.k8s.io", None, "a"),
                selection.takes_place("namespaces", None, "shop"),
                selection.takes_place("namespaces", None, "blog"),
            ];
            assert_eq!(found, expected, "{includes:?} without {excludes:?}, cluster resources {flag:?}");
        }
    }

    #[test]
    fn what_others_need_is_kept_out_only_by_an_explicit_word() {
        let automatic = selection(&["shop"], &[], None);
        assert_eq!(automatic.takes_needed("persistentvolumes", None), Ok(()));
        assert_eq!(automatic.takes_needed("nodes", None), Err(Filtered::Resource));
        assert_eq!(automatic.takes_needed("pods", Some("blog")), Err(Filtered::Namespace));
        let excluded = selection(&["shop"], &[], Some(false));
        assert_eq!(excluded.takes_needed("persistentvolumes", None), Err(Filtered::ClusterScope));
    }

    #[test]
    fn a_star_among_the_excludes_means_nothing_and_excludes_win() {
        let filter = NameFilter::new(&names(&["a*"]), &names(&["*", "ab"]));
        assert!(filter.includes("ac"));
        assert!(!filter.includes("ab"));
        assert!(!filter.includes("b"));
    }
}
