//! Which claims of a group are to be snapshotted: those that the backup stores and whose snapshot is wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::Claim;
use super::facts::PersistentVolume;
use super::object::Chooser;
use super::{Error, Name};
use crate::cluster::{Item, ListScope, PAGE_SIZE};
use crate::engine::backup::collect::Collector;
use crate::engine::backup::items::{Admission, Subject};

const CLAIMS: &str = "persistentvolumeclaims";

/// The wanted claims of a group, and who can say so.
pub(super) struct Roll {
    pub(super) driver: String,
    pub(super) present: Vec<Present>,
    pub(super) chooser: Chooser,
}

/// A wanted claim.
pub(super) struct Present {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    volume: String,
    /// None for a volume that is no CSI volume.
    driver: Option<String>,
}

impl Collector<'_> {
    pub(super) async fn call_roll(&self, group: &Name) -> Result<Roll, Error> {
        let Some(claims) = self.discovery.by_group_resource(CLAIMS) else {
            return judge(group, Vec::new(), Chooser::Label);
        };
        let scope = ListScope {
            namespace: Some(group.namespace.clone()),
            label_selector: Some(format!("{}={}", self.group_label, group.value)),
            page_size: PAGE_SIZE,
        };
        let (mut present, mut chooser) = (Vec::new(), Chooser::Label);
        let mut pages = self.cluster.list(claims, scope);
        let unlisted = |source| Error::List { kind: CLAIMS, source: Box::new(source) };
        while let Some(items) = pages.next().await.map_err(unlisted)? {
            for item in items {
                match self.wanted_in_group(&Subject::new(claims), &item, group).await? {
                    Some(claim) => present.push(claim),
                    None => chooser = Chooser::Content,
                }
            }
        }
        judge(group, present, chooser)
    }

    async fn wanted_in_group(
        &self,
        subject: &Subject<'_>,
        item: &Item,
        group: &Name,
    ) -> Result<Option<Present>, Error> {
        let is_left = self.reason_to_leave(subject, item, Admission::ByFilters).is_some()
            || self.selection.admit(subject.resource, Some(&group.namespace)).is_err();
        let claim: Claim = serde_json::from_slice(&item.json).map_err(|source| malformed(group, source))?;
        let Some(volume_name) = claim.volume().filter(|_| !is_left) else { return Ok(None) };
        let key = (group.namespace.clone(), item.name.clone());
        let Some(volume) = self.volume_of(volume_name, &key).await? else { return Ok(None) };
        if !self.wants_snapshot(volume.verdict, Some(&key)).await? {
            return Ok(None);
        }
        Ok(Some(Present {
            name: item.name.clone(),
            volume: volume_name.to_owned(),
            driver: volume.driver,
            labels: claim.metadata.labels,
            annotations: claim.metadata.annotations,
        }))
    }

    /// The driver's names for the volumes of the claims.
    pub(super) async fn volume_handles(&self, group: &Name, roll: &Roll) -> Result<Vec<String>, Error> {
        let mut handles = Vec::new();
        for claim in &roll.present {
            let Some(item) = self.read_volume(&claim.volume).await? else { continue };
            let volume: PersistentVolume =
                serde_json::from_slice(&item.json).map_err(|source| malformed(group, source))?;
            handles.push(volume.handle());
        }
        Ok(handles)
    }
}

fn judge(group: &Name, present: Vec<Present>, chooser: Chooser) -> Result<Roll, Error> {
    let without: Vec<&str> =
        present.iter().filter(|claim| claim.driver.is_none()).map(|claim| claim.name.as_str()).collect();
    if !without.is_empty() {
        return Err(Error::NotCsi { group: group.value.clone(), claims: without.join(", ") });
    }
    let drivers: BTreeSet<String> = present.iter().filter_map(|claim| claim.driver.clone()).collect();
    match Vec::from_iter(drivers).as_slice() {
        // Without claims there is nobody who asks.
        [] => Ok(Roll { driver: String::new(), present, chooser }),
        [driver] => Ok(Roll { driver: driver.clone(), chooser, present }),
        several => Err(Error::Drivers { group: group.value.clone(), drivers: several.join(", ") }),
    }
}

fn malformed(group: &Name, source: serde_json::Error) -> Error {
    Error::Malformed { group: group.value.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, driver: Option<&str>) -> Present {
        Present {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            volume: format!("volume-of-{name}"),
            driver: driver.map(str::to_owned),
        }
    }

    fn judged(present: Vec<Present>) -> Result<String, String> {
        let group = Name { namespace: "shop".to_owned(), value: "db".to_owned() };
        judge(&group, present, Chooser::Label).map(|roll| roll.driver).map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_is_of_one_driver() {
        let of = |driver| claim("data", Some(driver));
        assert_eq!(judged(vec![of("disk.example"), of("disk.example")]).as_deref(), Ok("disk.example"));
        let several = judged(vec![of("disk.example"), of("tape.example")]).unwrap_err();
        assert!(several.contains("several drivers (disk.example, tape.example)"), "{several}");
        let without = judged(vec![of("disk.example"), claim("old", None)]).unwrap_err();
        assert!(without.contains("no CSI volumes (old)"), "{without}");
    }
}
