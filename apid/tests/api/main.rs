//! apid as its clients see it: real TLS over TCP in front, a machined of cardboard behind.

mod access;
mod confinement;
mod forwarding;
mod handshakes;
mod lifetime;
mod log;
mod machined;
mod maintenance;
mod rig;
