//! Assembly of what boots: root tree, erofs with hash tree, UKI, disk, container images, configuration volume.
//!
//! The same parts give bit-identical results on every host: fixed times, ids, order and owners. It never builds
//! programs and never reads anything of the host but the paths it is given. Start reading at [`root::plan`].

pub mod disk;
mod elf;
pub mod erofs;
pub mod forbidden;
pub mod oci;
pub mod root;
pub mod tools;
pub mod tree;
pub mod uki;
pub mod volume;
