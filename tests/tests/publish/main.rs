//! What publishing does to objects on a real API server: what is ours is kept, what is others' is left.

mod config_maps;
mod cost;
mod objects;
mod once;
mod plan;
mod restores;
mod stage;
