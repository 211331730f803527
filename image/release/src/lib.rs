//! Release repositories: static files below signed metadata (The Update Framework), which nodes update from.
//!
//! It writes files and keys where it is told to and never uses the network or builds anything. Start reading at
//! [`repository::publish`].

pub mod channels;
pub mod files;
pub mod keys;
pub mod repository;
pub mod sbom;
