//! Container images made here: one program each, as an OCI layout in a tar archive (OCI image-spec 1.1).

use anyhow::Result;
use aws_lc_rs::digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A container image of one static program.
pub struct ContainerImage {
    name: &'static str,
    program: Vec<u8>,
    user: &'static str,
    port: Option<u16>,
}

/// The pause image, which holds a pod's namespaces.
pub fn pause(program: &[u8]) -> ContainerImage {
    ContainerImage { name: "pause", program: program.to_vec(), user: "65535:65535", port: None }
}

/// The sample HTTP server.
pub fn hello(program: &[u8]) -> ContainerImage {
    ContainerImage { name: "hello", program: program.to_vec(), user: "65534:65534", port: Some(8080) }
}

/// A cluster's DNS.
pub fn coredns(program: &[u8]) -> ContainerImage {
    ContainerImage { name: "coredns", program: program.to_vec(), user: "65532:65532", port: Some(53) }
}

/// The test tool of a privileged pod; never in the OS image.
pub fn probe(program: &[u8]) -> ContainerImage {
    ContainerImage { name: "probe", program: program.to_vec(), user: "0:0", port: Some(8081) }
}

impl ContainerImage {
    /// The archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let config = self.config(&layer).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &config),
            "layers": [descriptor(LAYER_TYPE, &layer)],
        })
        .to_string()
        .into_bytes();
        let mut entry = descriptor(MANIFEST_TYPE, &manifest);
        let reference = format!("localhost/cairn/{}:1", self.name);
        entry["annotations"] =
            json!({"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
        let mut archive = Archive::default();
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
        archive.file("index.json", &index, 0o644)?;
        for blob in [&manifest, &config, &layer] {
            archive.file(&format!("blobs/sha256/{}", sha256(blob)), blob, 0o644)?;
        }
        archive.finish()
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Archive::default();
        layer.file(self.name, &self.program, 0o755)?;
        layer.finish()
    }

    fn config(&self, layer: &[u8]) -> Value {
        let mut config =
            json!({"Entrypoint": [format!("/{}", self.name)], "User": self.user, "StopSignal": "SIGTERM"});
        if let Some(port) = self.port {
            config["ExposedPorts"] = json!({format!("{port}/tcp"): {}});
        }
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(layer))]},
        })
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(content)), "size": content.len()})
}

fn sha256(content: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, content))
}

/// A tar archive without times or owners.
#[derive(Default)]
struct Archive(Vec<(String, Vec<u8>, u32)>);

impl Archive {
    fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.0.push((path.to_owned(), content.to_vec(), mode));
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, content, mode) in self.0 {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content.as_slice())?;
        }
        Ok(builder.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_blob_has_its_own_digest_as_name_and_the_same_input_gives_the_same_bytes() {
        let archive = hello(b"program").archive().unwrap();
        assert_eq!(archive, hello(b"program").archive().unwrap());
        let mut blobs = 0;
        let mut names = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, sha256(&content));
                blobs += 1;
            }
            names.push(path);
        }
        assert_eq!(blobs, 3);
        assert!(names.contains(&"index.json".into()) && names.contains(&"oci-layout".into()));
    }
}
