//! The machine configuration on the node: its generations, how a change takes effect, and how it is taken back.
//!
//! `gate.rs` judges whether a change did well; `store.rs` keeps texts and index on STATE.

mod clock;
mod executor;
mod gate;
mod manager;
mod report;
mod running;
mod services;
mod steps;
mod store;
mod work;

pub use store::{GenerationStore, StoreError};
