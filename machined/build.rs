//! Generates clients of containerd, the CRI and the kubelet from subsets of their definitions.

const FILES: [&str; 6] =
    ["content.proto", "core.proto", "cri.proto", "images.proto", "leases.proto", "pods.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto-external");
    let descriptors = protox::compile(FILES, ["proto-external"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
