//! Policies become custom resources: an edit reaches the cluster in two seconds, a bad one changes nothing.

mod config_maps;
mod directories;
mod events;
mod modes;
mod once;
mod stage;
mod status;
