//! Backup item actions: what an object of one kind changes into on its way to the archive, and which other
//! objects it brings along. Pure; fetching what is asked for, and asking the filters, is left to the engine.

use bytes::Bytes;

use crate::cluster::Item;

mod claim;
mod control;
mod csi;
mod definition;
mod pod;
mod service_account;

pub use control::Control;
pub use service_account::Bindings;

/// One action, for the objects of one resource.
pub struct Action {
    /// The name under which Velero knows the same action.
    pub name: &'static str,
    /// The group-resource whose objects it takes.
    pub applies_to: &'static str,
    pub needs: Needs,
    pub run: fn(&Item, &Context<'_>) -> Result<Outcome, Error>,
}

/// What an action looks at besides the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Bindings,
}

/// What actions may know about the run.
pub struct Context<'a> {
    pub backup: &'a str,
    /// Empty for actions that don't need them.
    pub bindings: &'a Bindings,
}

/// What an action makes of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The object to store in place of the one that was given; None leaves it as it is.
    pub changed: Option<Bytes>,
    /// Objects to store in front of this one.
    pub additional: Vec<ItemReference>,
    /// The API version in which the object is to be stored instead, where the cluster serves it.
    pub in_version: Option<&'static str>,
}

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemReference {
    pub group_resource: &'static str,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the object is not what its kind says")]
    Malformed(#[from] serde_json::Error),
}

/// All actions, in the order in which they run.
pub fn all() -> &'static [Action] {
    &[definition::ACTION, pod::ACTION, claim::ACTION, service_account::ACTION, csi::CLASS, csi::CONTENT]
}
