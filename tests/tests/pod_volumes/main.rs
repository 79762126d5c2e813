//! The files of pods' volumes: the repository itself, and everything around it that needs no pod to run.

mod backup;
mod cluster;
mod deletion;
mod place;
mod repository;
mod restore;
mod velero_agent;
