//! CSI snapshots, from a claim to its restore, with the real snapshot controllers and a driver that copies data. What a
//! pod has written is read by another one in `tests/node/csi.rs`.

mod backup;
mod failures;
mod groups;
mod moved;
mod place;
mod restore;
mod velero_agent;
