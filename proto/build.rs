//! Generates the API code with a pure Rust protobuf compiler: no protoc on the build host.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 10] = [
    "cairn/cluster/v1/cluster.proto",
    "cairn/config/v1/config.proto",
    "cairn/identity/v1/identity.proto",
    "cairn/inspect/v1/inspect.proto",
    "cairn/log/v1/log.proto",
    "cairn/machine/v1/machine.proto",
    "cairn/maintenance/v1/maintenance.proto",
    "cairn/resource/v1/resource.proto",
    "cairn/service/v1/service.proto",
    "cairn/update/v1/update.proto",
];

/// Messages that carry configurations with their secrets; `src/redacted.rs` shows them without.
const SECRETIVE: [&str; 3] =
    [".cairn.config.v1.Change", ".cairn.config.v1.SignedRequest", ".cairn.maintenance.v1.ConfigureRequest"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=cairn");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().skip_debug(SECRETIVE).compile_fds(descriptors)?;
    Ok(())
}
