//! The test bed: Cairn's real image in QEMU, driven from outside as a user would.
//!
//! `machine` starts QEMU from the SDK, `console` and `qmp` wait for its events, `node` makes a Cairn node of it
//! (secrets, configuration volume, adoption). `cargo xtask up` uses the same code as the tests in `tests/`.
//! Nothing here sleeps: every wait has an event and a deadline, and a failure keeps the console log.
//! Start reading at [`node::Node`].

pub mod accelerator;
pub mod bare;
pub mod bed;
pub mod console;
pub mod crash;
pub mod http;
pub mod lan;
pub mod machine;
pub mod measure;
pub mod network;
pub mod node;
pub mod programs;
pub mod qmp;
pub mod replay;
