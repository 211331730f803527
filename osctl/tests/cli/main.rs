//! The real binary against a node in this process: TLS 1.3, client certificates and all services of the API.

mod adoption;
mod clusters;
mod commands;
mod configuration;
mod connection;
mod fake;
mod files;
mod gen_cluster;
mod generations;
mod inspect;
mod kubeconfig;
mod logs;
mod maintenance;
mod many;
mod releases;
mod rig;
mod services;
mod support;
mod updates;
