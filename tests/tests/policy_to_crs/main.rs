//! Policies become custom resources: an edit reaches the cluster in two seconds, a bad one changes nothing.

mod config_maps;
mod directories;
mod events;
mod health;
mod import;
mod leave;
mod modes;
mod once;
mod sources;
mod stage;
mod status;
