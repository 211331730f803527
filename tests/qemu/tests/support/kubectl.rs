//! Kubernetes' own client, as whoever administers a cluster uses it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

/// An API server takes minutes to start under software emulation.
pub const PATIENT: Duration = Duration::from_secs(900);
/// The same, for kubectl.
pub const PATIENCE: &str = "--timeout=900s";

/// kubectl with a kubeconfig, and an API server that is reached elsewhere than that says.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    server: String,
}

impl Kubectl {
    pub fn new(program: &Path, kubeconfig: &Path, server: String) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), server }
    }

    /// Its outcome, whatever it is.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Gives it a manifest.
    pub fn apply(&self, manifest: &str) {
        let mut child =
            self.command(&["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kubectl apply of\n{manifest}");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--server", &self.server]).args(arguments);
        // Its cache of what the API server knows is of one server alone.
        command.env("KUBECACHEDIR", self.kubeconfig.with_extension("cache"));
        command
    }
}
