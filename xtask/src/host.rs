//! What the build host must have, and how it gets it.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::report::say;

/// Programs needed on the host and the Debian packages that bring them.
const NEEDED: [(&str, &str); 4] = [
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/xz", "xz-utils"),
];
/// Needed besides when the user is not root.
const NEEDED_UNPRIVILEGED: (&str, &str) = ("/usr/bin/newuidmap", "uidmap");

/// What tests look at results with.
const NEEDED_TESTS: [(&str, &str); 1] = [("/usr/bin/mtype", "mtools")];
/// Peers and programs of the tests in network namespaces, which run as root only.
const NEEDED_TESTS_ROOT: [(&str, &str); 4] = [
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/ping", "iputils-ping"),
];

/// Whether the user is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Installs the missing host packages (with sudo when not root).
pub fn prepare() -> Result<()> {
    let mut needed = NEEDED.to_vec();
    if !is_root() {
        needed.push(NEEDED_UNPRIVILEGED);
    }
    install_missing(&needed)
}

/// Installs what the tests need besides. An ordinary user's tests skip what asks for root.
pub fn prepare_tests() -> Result<()> {
    let mut needed = NEEDED_TESTS.to_vec();
    if is_root() {
        needed.extend(NEEDED_TESTS_ROOT);
    }
    install_missing(&needed)
}

fn install_missing(needed: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        needed.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Installs Debian packages on the host.
fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this host lacks: {list}. It is not Debian, so install them by hand and run the command again");
    }
    let (program, prefix): (&str, &[&str]) =
        if is_root() { ("apt-get", &[]) } else { ("sudo", &["apt-get"]) };
    say(&format!("  host: installing {list}{}", if is_root() { "" } else { " (asks sudo)" }));
    for arguments in
        [&["update", "-qq"][..], &[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat()]
    {
        let output = Command::new(program)
            .args(prefix)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() && arguments[0] == "install" {
            bail!("cannot install {list}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}
