//! Arguments of `ps`, `stats`, `top`, `mounts` and `netstat`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::duration;

/// Longest time between two looks of the node.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

const PS_EXAMPLES: &str = "\
Examples:
  osctl ps --sort cpu                    who keeps the node busy
  osctl ps --service kubelet --args      with arguments; needs the role operator
  osctl ps --pod default/hello --pss

Units: CPU% is of one processor over the interval, so 200 is two of them; sizes are in powers of 1024. RSS counts shared memory
in full for each process, PSS in equal parts.";

const STATS_EXAMPLES: &str = "\
Examples:
  osctl stats                            services and pods
  osctl stats --containers --sort memory
  osctl stats -w --interval 5s

Units: CPU% is of one processor over the interval; sizes are in powers of 1024, READ and WRITTEN since the start of the service or
pod. PRESSURE is the percentage of the last 10 s in which something waited, some/full. OOM counts processes killed for want of memory.";

const TOP_EXAMPLES: &str = "\
Examples:
  osctl top
  osctl top -w --interval 2s
  osctl top -o json | jq .memory.availableBytes

Units: processors in percent of their time over the interval; sizes and rates in powers of 1024; temperatures in degrees Celsius.";

const MOUNTS_NOTE: &str = "\
Units: sizes are in powers of 1024; AVAILABLE is what whoever is not root can still write.";

const NETSTAT_EXAMPLES: &str = "\
Examples:
  osctl netstat --listening              who waits for connections, and where
  osctl netstat --pods                   also in the networks of pods

Units: RECV-Q and SEND-Q in bytes; RECV-Q of a listening socket in connections that wait to be taken.";

/// What processes are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PsSort {
    /// Share of processors, the busiest first
    Cpu,
    /// Memory, the largest first
    Memory,
    /// Process id
    Pid,
}

/// What services and pods are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsSort {
    /// Share of processors, the busiest first
    Cpu,
    /// Memory, the largest first
    Memory,
    /// Name, services before pods
    Name,
}

/// Over which time shares and rates are taken.
#[derive(Clone, Copy, Debug, Args)]
pub struct Interval {
    /// Time over which the node measures shares and rates: 1s to 10s
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
}

impl Interval {
    /// As the API wants it.
    pub fn ms(self) -> u32 {
        u32::try_from(self.interval.as_millis()).unwrap_or(u32::MAX)
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(interval) if interval > INTERVAL_MAX => Err("the node measures for 10s at most".into()),
        parsed => parsed,
    }
}

/// Arguments of `ps`.
#[derive(Clone, Debug, Args)]
#[command(after_help = PS_EXAMPLES)]
pub struct Ps {
    /// In which order
    #[arg(long, value_enum, default_value = "pid")]
    pub sort: PsSort,
    /// Also threads of the kernel
    #[arg(long, conflicts_with_all = ["service", "pod"])]
    pub all: bool,
    /// Only of this service
    #[arg(long, value_name = "NAME", conflicts_with = "pod")]
    pub service: Option<String>,
    /// Only of this pod
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub pod: Option<String>,
    /// With their arguments, which may hold secrets; needs the role operator
    #[arg(long)]
    pub args: bool,
    /// With proportional set sizes, which the node takes a moment to add up
    #[arg(long)]
    pub pss: bool,
    /// Over which time.
    #[command(flatten)]
    pub interval: Interval,
}

/// Arguments of `stats`.
#[derive(Clone, Debug, Args)]
#[command(after_help = STATS_EXAMPLES)]
pub struct Stats {
    /// In which order
    #[arg(long, value_enum, default_value = "name")]
    pub sort: StatsSort,
    /// Also each container of the pods
    #[arg(long)]
    pub containers: bool,
    /// Also cgroups that only hold others
    #[arg(long)]
    pub all: bool,
    /// Keep showing it
    #[arg(short, long)]
    pub watch: bool,
    /// Over which time.
    #[command(flatten)]
    pub interval: Interval,
}

/// Arguments of `top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub struct Top {
    /// Keep showing it
    #[arg(short, long)]
    pub watch: bool,
    /// Over which time.
    #[command(flatten)]
    pub interval: Interval,
}

/// Arguments of `mounts`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MOUNTS_NOTE)]
pub struct Mounts {
    /// Also those of pods, and those that take no room
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `netstat`.
#[derive(Clone, Debug, Args)]
#[command(after_help = NETSTAT_EXAMPLES)]
pub struct Netstat {
    /// Only sockets that wait for whoever comes
    #[arg(short, long)]
    pub listening: bool,
    /// Also of pods that have a network of their own
    #[arg(long)]
    pub pods: bool,
}
