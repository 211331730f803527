//! Runs a program with the SDK as its root directory, in a mount namespace of its own.
//!
//! The outer half starts `unshare … xtask sdk-exec SPEC`; the inner half (`enter`) mounts what the program
//! needs, changes root and becomes the program. An ordinary user gets there by a user namespace.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::host;

/// Debian's bundle of the CAs that a host trusts.
const HOST_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the inner half needs to know.
#[derive(Serialize, Deserialize)]
struct Spec {
    root: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
    working_directory: PathBuf,
    environment: BTreeMap<String, String>,
    program: String,
    arguments: Vec<String>,
}

/// A program to run inside the SDK.
pub struct SdkCommand {
    spec: Spec,
}

impl SdkCommand {
    /// Runs `program` of the SDK at `root`.
    pub fn new(root: &Path, program: &str) -> Self {
        let path = "/usr/lib/go-1.26/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = [("PATH", path), ("HOME", "/tmp"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            spec: Spec {
                root: root.to_owned(),
                binds: Vec::new(),
                working_directory: "/".into(),
                environment: environment.into(),
                program: program.to_owned(),
                arguments: Vec::new(),
            },
        }
    }

    /// Shows the host's `outside` as `inside`.
    pub fn bind(mut self, outside: &Path, inside: &str) -> Self {
        self.spec.binds.push((outside.to_owned(), inside.into()));
        self
    }

    /// Sets the working directory inside.
    pub fn directory(mut self, inside: &str) -> Self {
        self.spec.working_directory = inside.into();
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.spec.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable over from the host when it is set.
    pub fn inherit(self, name: &str) -> Self {
        match std::env::var(name) {
            Ok(value) => self.env(name, &value),
            Err(_) => self,
        }
    }

    /// Lets the program trust the CAs that this host trusts: behind a proxy with a CA of its own, nothing else can be
    /// fetched. What is fetched is locked by hash all the same.
    pub fn trust_as_the_host(self) -> Self {
        const INSIDE: &str = "/cairn/certificates";
        let bundle = std::env::var_os("SSL_CERT_FILE").map_or_else(|| HOST_CAS.into(), PathBuf::from);
        match (bundle.parent(), bundle.file_name()) {
            (Some(folder), Some(name)) if bundle.is_file() => {
                let inside = format!("{INSIDE}/{}", name.to_string_lossy());
                self.bind(folder, INSIDE).env("SSL_CERT_FILE", &inside)
            }
            // Without one, what the SDK trusts has to do.
            _ => self,
        }
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, arguments: I) -> Self {
        self.spec.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Runs it with output to `log`; a failure carries the log's end.
    pub fn run_logged(self, log: &Path) -> Result<()> {
        let program = self.spec.program.clone();
        let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let status = self.command()?.stdout(file.try_clone()?).stderr(file).status()?;
        if !status.success() {
            let text = fs::read(log)?;
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            bail!("{program} failed ({status}); the end of {}:\n{tail}", log.display());
        }
        Ok(())
    }

    /// Runs it and returns what it printed; a failure carries standard error.
    pub fn output(self) -> Result<Output> {
        let program = self.spec.program.clone();
        let output = self.command()?.output()?;
        if !output.status.success() {
            bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output)
    }

    fn command(self) -> Result<Command> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        if !host::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let spec = serde_json::to_string(&self.spec)?;
        command.arg("--").arg(std::env::current_exe()?).args(["sdk-exec", &spec]).stdin(Stdio::null());
        Ok(command)
    }
}

/// The inner half: never returns when all goes well.
pub fn enter(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let none: Option<&str> = None;
    for system in ["/proc", "/dev", "/sys"] {
        let inside = spec.root.join(&system[1..]);
        fs::create_dir_all(&inside)?;
        mount(Some(system), &inside, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .with_context(|| format!("cannot bind {system} into the SDK"))?;
    }
    fs::copy("/etc/resolv.conf", spec.root.join("etc/resolv.conf")).ok();
    for (outside, inside) in &spec.binds {
        let target = spec.root.join(inside.strip_prefix("/")?);
        fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
        mount(Some(outside), &target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .with_context(|| format!("cannot bind {} into the SDK", outside.display()))?;
    }
    nix::unistd::chroot(&spec.root).context("cannot change root to the SDK")?;
    std::env::set_current_dir(&spec.working_directory)?;
    let error = Command::new(&spec.program).args(&spec.arguments).env_clear().envs(&spec.environment).exec();
    Err(error).with_context(|| format!("cannot run {} in the SDK", spec.program))
}
