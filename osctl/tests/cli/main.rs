//! The real binary against a node in this process: TLS 1.3, client certificates and all services of the API.

mod adoption;
mod commands;
mod configuration;
mod connection;
mod fake;
mod files;
mod generations;
mod inspect;
mod logs;
mod maintenance;
mod many;
mod releases;
mod rig;
mod services;
mod support;
mod updates;
