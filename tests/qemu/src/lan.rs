//! A network of machines and of the host's far end, in a network namespace of its own: a bridge with a port for each
//! machine's link, and whatever servers a test starts behind it.
//!
//! Needs root, as all of the tests in namespaces.

use std::{
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    panic::resume_unwind,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tun_rs::{DeviceBuilder, Layer};

/// Address of the far end.
pub const HOST: &str = "192.0.2.1";
/// First and last address that the DHCP server gives.
pub const LEASES: [&str; 2] = ["192.0.2.50", "192.0.2.99"];
const HOST_NET: &str = "192.0.2.1/24";
const BRIDGE: &str = "lan";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The network.
#[derive(Debug)]
pub struct Lan {
    namespace: String,
    ports: AtomicU8,
}

/// A port of the bridge, for one link of one machine at a time. It lasts longer than the machine's process.
#[derive(Clone, Debug)]
pub struct Port {
    tap: Arc<OwnedFd>,
    number: u8,
}

impl Lan {
    /// A bridge alone, with [`HOST`] on it.
    pub fn new() -> Result<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("cairn-lan-{}-{count}", std::process::id());
        let lan = Self { namespace, ports: AtomicU8::new(0) };
        ip(&["netns", "add", &lan.namespace])?;
        lan.ip(&["link", "set", "lo", "up"])?;
        // Else a bridge forwards multicast only to who was seen to ask for it.
        lan.ip(&["link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"])?;
        lan.ip(&["address", "add", HOST_NET, "dev", BRIDGE])?;
        lan.ip(&["link", "set", BRIDGE, "up"])?;
        Ok(lan)
    }

    /// One more port.
    pub fn port(&self, name: &str) -> Result<Port> {
        let tap = self.inside(|| tap(name))??;
        self.ip(&["link", "set", name, "master", BRIDGE, "up"])?;
        Ok(Port { tap: Arc::new(tap), number: self.ports.fetch_add(1, Ordering::Relaxed) })
    }

    /// One more port, whose frames are the caller's to read and write: a machine of a few lines.
    pub fn open_port(&self, name: &str) -> Result<File> {
        let tap = self.inside(|| tap(name))??;
        self.ip(&["link", "set", name, "master", BRIDGE, "up"])?;
        Ok(File::from(tap))
    }

    /// Does something at the far end, on a thread of its own. Processes and sockets made there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.namespace))?;
        let thread = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(thread).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// `ip` in the namespace.
    pub fn ip(&self, arguments: &[&str]) -> Result<Output> {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }

    /// A DHCP server for [`LEASES`].
    pub fn serve_dhcp(&self) -> Result<Server> {
        let range = format!("--dhcp-range={},{},1h", LEASES[0], LEASES[1]);
        let alone =
            ["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--leasefile-ro", "--pid-file="];
        let mut command = Command::new("dnsmasq");
        command.args(alone).args(["--interface", BRIDGE, &range]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = self.inside(|| command.spawn())?.context("cannot run dnsmasq")?;
        Ok(Server { process })
    }
}

fn tap(name: &str) -> Result<OwnedFd> {
    let device = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync();
    let device = device.with_context(|| format!("cannot make the tap {name}"))?;
    let tap = device.as_fd().try_clone_to_owned()?;
    // QEMU inherits it.
    fcntl_setfd(&tap, FdFlags::empty())?;
    Ok(tap)
}

/// A server at the far end; it ends with this.
#[derive(Debug)]
pub struct Server {
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.namespace]) {
            eprintln!("{error:#}");
        }
    }
}

impl Port {
    /// QEMU's arguments for a link that leads here.
    pub fn arguments(&self, index: usize) -> [String; 4] {
        let fd = self.tap.as_raw_fd();
        let netdev = format!("tap,id=lan{index},fd={fd}");
        // Links of several machines meet here.
        let device = format!("virtio-net-pci,netdev=lan{index},mac=52:54:00:ca:12:{:02x}", self.number);
        ["-netdev".into(), netdev, "-device".into(), device]
    }
}

fn ip(arguments: &[&str]) -> Result<Output> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}
