//! A folder with secrets and contexts, an adopted fake node, and the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use pki::{Ca, NodeId, Role, SubjectName, Validity};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::FakeNode;

pub const NODE: &str = "n-1";

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts the exit code and returns the output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts the exit code and that standard error holds all of `words`, and that nothing was printed as data.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// A fleet of one node, and its admin's computer.
pub struct Rig {
    pub folder: TempDir,
    pub ca: Ca,
    pub node: FakeNode,
}

impl Rig {
    /// A node that is not adopted, and no context.
    pub fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["gen", "secrets", "-o", &path(folder.path(), "secrets.yaml")]).ok();
        let ca = ca_of(&folder.path().join("secrets.yaml"));
        let node = FakeNode::start(&ca, NODE);
        Rig { folder, ca, node }
    }

    /// An adopted node with an admin's context "edge-1".
    pub fn adopted() -> Rig {
        let rig = Rig::new();
        rig.adopt(&[]).ok();
        rig
    }

    pub fn adopt(&self, more: &[&str]) -> Ran {
        let (secrets, fingerprint, endpoint) =
            (self.path("secrets.yaml"), self.node.fingerprint(), self.endpoint());
        let arguments =
            ["adopt", "--secrets", &secrets, "--fingerprint", &fingerprint, "--endpoint", &endpoint];
        self.run(&[&arguments, more].concat())
    }

    pub fn endpoint(&self) -> String {
        self.node.address.to_string()
    }

    pub fn path(&self, name: &str) -> String {
        path(self.folder.path(), name)
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("osctl.yaml")
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(self.folder.path(), arguments)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments).ok()).unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), arguments)
    }

    /// What the node was asked to do.
    pub fn done(&self) -> Vec<String> {
        self.node.state.lock().unwrap().done.clone()
    }

    /// Adds a context for the node with a client of `ca`.
    pub fn add_context(&self, name: &str, ca: &Ca, role: Role, validity: Validity) {
        self.add_context_at(name, &self.endpoint(), ca, role, validity);
    }

    /// Adds a context for the node at this address.
    pub fn add_context_at(&self, name: &str, endpoint: &str, ca: &Ca, role: Role, validity: Validity) {
        let client = ca.issue_client(&SubjectName::parse(name).unwrap(), role, validity).unwrap();
        let indent = |pem: &str| pem.lines().map(|line| format!("\n    {line}")).collect::<String>();
        let context = format!(
            "contexts:\n- name: {name}\n  endpoints: [\"{}\"]\n  node-id: {NODE}\n  ca: |{}\n  client-certificate: |{}\n  client-key: |{}\n",
            endpoint,
            indent(&self.ca.bundle().to_pem()),
            indent(&client.certificate.to_pem()),
            indent(&client.key.to_pem()),
        );
        let file = self.path(&format!("{name}.yaml"));
        fs::write(&file, context).unwrap();
        self.run(&["config", "merge", &file]).ok();
    }

    /// Makes the node serve with a certificate of `ca` for `node_id`.
    pub fn issue(&self, ca: &Ca, node_id: &str, validity: Validity) {
        let certificate = {
            let state = self.node.state.lock().unwrap();
            let request = pki::node::signing_request(&state.key, &state.node_id).unwrap();
            let request = pki::SigningRequest::from_der(&request).unwrap();
            ca.issue_server(&request, &NodeId::parse(node_id).unwrap(), validity).unwrap()
        };
        self.node.serve_with(certificate);
    }
}

pub fn other_ca() -> Ca {
    Ca::create(&SubjectName::parse("other").unwrap(), Validity::UNLIMITED).unwrap()
}

/// A port at which nothing listens.
pub fn closed_port() -> io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

pub fn ca_of(secrets: &Path) -> Ca {
    let secrets: Value = serde_saphyr::from_str(&fs::read_to_string(secrets).unwrap()).unwrap();
    Ca::from_pem(secrets["ca"]["certificate"].as_str().unwrap(), secrets["ca"]["key"].as_str().unwrap())
        .unwrap()
}

pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osctl"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("OSCTL_CONFIG", folder.join("osctl.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> Ran {
    let output = command(folder, arguments).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
