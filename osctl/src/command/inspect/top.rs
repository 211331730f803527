//! `osctl top`

use std::time::Duration;

use proto::inspect::v1 as api;
use serde::Serialize;

use super::show;
use super::units::{bytes, part, percent, rate};
use crate::cli::inspect::Top;
use crate::command::Session;
use crate::duration;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Table;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct System {
    interval_ms: u32,
    uptime_s: Option<f64>,
    load: Option<Load>,
    processors: Vec<Processor>,
    memory: Option<Memory>,
    zram: Vec<Zram>,
    cpu_pressure: Option<Pressure>,
    memory_pressure: Option<Pressure>,
    io_pressure: Option<Pressure>,
    temperatures: Vec<Temperature>,
    disks: Vec<Disk>,
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Load {
    avg1: f64,
    avg5: f64,
    avg15: f64,
    running: u32,
    threads: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Processor {
    name: String,
    since_boot: Option<Times>,
    /// Percent over the interval.
    shares: Option<Shares>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    user_ms: u64,
    nice_ms: u64,
    system_ms: u64,
    idle_ms: u64,
    iowait_ms: u64,
    irq_ms: u64,
    softirq_ms: u64,
    steal_ms: u64,
}

#[derive(Serialize)]
struct Shares {
    user: f64,
    nice: f64,
    system: f64,
    idle: f64,
    iowait: f64,
    irq: f64,
    softirq: f64,
    steal: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    total_bytes: Option<u64>,
    free_bytes: Option<u64>,
    available_bytes: Option<u64>,
    buffers_bytes: Option<u64>,
    cached_bytes: Option<u64>,
    dirty_bytes: Option<u64>,
    slab_bytes: Option<u64>,
    swap_total_bytes: Option<u64>,
    swap_free_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Zram {
    name: String,
    stored_bytes: u64,
    compressed_bytes: u64,
    memory_bytes: u64,
}

/// Pressure stall information, as JSON has it.
#[derive(Serialize)]
pub struct Pressure {
    some: Option<PressureShare>,
    full: Option<PressureShare>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PressureShare {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total_us: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Temperature {
    sensor: String,
    label: String,
    celsius: f64,
    critical_celsius: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    name: String,
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    busy_ms: u64,
    read_bytes_per_second: Option<f64>,
    written_bytes_per_second: Option<f64>,
    busy_percent: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    name: String,
    received_bytes: u64,
    received_packets: u64,
    received_errors: u64,
    received_dropped: u64,
    sent_bytes: u64,
    sent_packets: u64,
    sent_errors: u64,
    sent_dropped: u64,
    received_bytes_per_second: Option<f64>,
    sent_bytes_per_second: Option<f64>,
}

impl From<api::GetSystemResponse> for System {
    fn from(system: api::GetSystemResponse) -> System {
        System {
            interval_ms: system.interval_ms,
            uptime_s: system.uptime_s,
            load: system.load.map(Load::from),
            processors: system.processors.into_iter().map(Processor::from).collect(),
            memory: system.memory.map(Memory::from),
            zram: system.zram.into_iter().map(Zram::from).collect(),
            cpu_pressure: system.cpu_pressure.map(Pressure::from),
            memory_pressure: system.memory_pressure.map(Pressure::from),
            io_pressure: system.io_pressure.map(Pressure::from),
            temperatures: system.temperatures.into_iter().map(Temperature::from).collect(),
            disks: system.disks.into_iter().map(Disk::from).collect(),
            links: system.links.into_iter().map(Link::from).collect(),
        }
    }
}

impl From<api::Load> for Load {
    fn from(load: api::Load) -> Load {
        let api::Load { avg1, avg5, avg15, running, threads } = load;
        Load { avg1, avg5, avg15, running, threads }
    }
}

impl From<api::Processor> for Processor {
    fn from(processor: api::Processor) -> Processor {
        Processor {
            name: processor.name,
            since_boot: processor.since_boot.map(|times| Times {
                user_ms: times.user_ms,
                nice_ms: times.nice_ms,
                system_ms: times.system_ms,
                idle_ms: times.idle_ms,
                iowait_ms: times.iowait_ms,
                irq_ms: times.irq_ms,
                softirq_ms: times.softirq_ms,
                steal_ms: times.steal_ms,
            }),
            shares: processor.shares.map(|shares| Shares {
                user: shares.user,
                nice: shares.nice,
                system: shares.system,
                idle: shares.idle,
                iowait: shares.iowait,
                irq: shares.irq,
                softirq: shares.softirq,
                steal: shares.steal,
            }),
        }
    }
}

impl From<api::Memory> for Memory {
    fn from(memory: api::Memory) -> Memory {
        Memory {
            total_bytes: memory.total_bytes,
            free_bytes: memory.free_bytes,
            available_bytes: memory.available_bytes,
            buffers_bytes: memory.buffers_bytes,
            cached_bytes: memory.cached_bytes,
            dirty_bytes: memory.dirty_bytes,
            slab_bytes: memory.slab_bytes,
            swap_total_bytes: memory.swap_total_bytes,
            swap_free_bytes: memory.swap_free_bytes,
        }
    }
}

impl From<api::Zram> for Zram {
    fn from(zram: api::Zram) -> Zram {
        let api::Zram { name, stored_bytes, compressed_bytes, memory_bytes } = zram;
        Zram { name, stored_bytes, compressed_bytes, memory_bytes }
    }
}

impl From<api::Pressure> for Pressure {
    fn from(pressure: api::Pressure) -> Pressure {
        let share = |share: api::PressureShare| PressureShare {
            avg10: share.avg10,
            avg60: share.avg60,
            avg300: share.avg300,
            total_us: share.total_us,
        };
        Pressure { some: pressure.some.map(share), full: pressure.full.map(share) }
    }
}

impl Pressure {
    /// "some/full" of the last 10 s.
    pub fn last_10s(&self) -> String {
        let share = |share: &Option<PressureShare>| {
            share.as_ref().map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share.avg10))
        };
        format!("{}/{}", share(&self.some), share(&self.full))
    }
}

impl From<api::Temperature> for Temperature {
    fn from(temperature: api::Temperature) -> Temperature {
        let api::Temperature { sensor, label, celsius, critical_celsius } = temperature;
        Temperature { sensor, label, celsius, critical_celsius }
    }
}

impl From<api::Disk> for Disk {
    fn from(disk: api::Disk) -> Disk {
        Disk {
            name: disk.name,
            reads: disk.reads,
            read_bytes: disk.read_bytes,
            writes: disk.writes,
            written_bytes: disk.written_bytes,
            busy_ms: disk.busy_ms,
            read_bytes_per_second: disk.read_bytes_per_second,
            written_bytes_per_second: disk.written_bytes_per_second,
            busy_percent: disk.busy_percent,
        }
    }
}

impl From<api::Link> for Link {
    fn from(link: api::Link) -> Link {
        Link {
            name: link.name,
            received_bytes: link.received_bytes,
            received_packets: link.received_packets,
            received_errors: link.received_errors,
            received_dropped: link.received_dropped,
            sent_bytes: link.sent_bytes,
            sent_packets: link.sent_packets,
            sent_errors: link.sent_errors,
            sent_dropped: link.sent_dropped,
            received_bytes_per_second: link.received_bytes_per_second,
            sent_bytes_per_second: link.sent_bytes_per_second,
        }
    }
}

pub async fn run(session: &Session, arguments: &Top) -> Result<(), Failure> {
    let node = session.connect().await?;
    show(session, arguments.watch, || look(&node, arguments), tables).await
}

async fn look(node: &Node, arguments: &Top) -> Result<System, Failure> {
    let request = api::GetSystemRequest { interval_ms: arguments.interval.ms() };
    Ok(node.call("cannot look at the machine", node.inspect().get_system(request)).await?.into())
}

/// What is not known has no table.
fn tables(system: &System) -> String {
    let tables = [
        summary(system),
        processors(&system.processors),
        memory(system),
        pressures(system),
        temperatures(&system.temperatures),
        disks(&system.disks),
        links(&system.links),
    ];
    tables.into_iter().flatten().collect::<Vec<String>>().join("\n")
}

/// A table under its heading; nothing without rows.
fn table<const N: usize>(heading: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Option<String> {
    let mut rows = rows.peekable();
    rows.peek()?;
    let mut table = Table::new(heading);
    rows.for_each(|row| table.row(row));
    Some(table.take())
}

fn summary(system: &System) -> Option<String> {
    let uptime = system.uptime_s.filter(|uptime_s| uptime_s.is_finite() && *uptime_s >= 0.0);
    // More than 2^64 s is no uptime.
    let uptime = uptime.and_then(|uptime_s| Duration::try_from_secs_f64(uptime_s).ok());
    let load = |of: fn(&Load) -> f64| system.load.as_ref().map(|load| format!("{:.2}", of(load)));
    let threads = system.load.as_ref().map(|load| format!("{} of {}", load.running, load.threads));
    let row = [
        uptime.map(duration::age),
        load(|load| load.avg1),
        load(|load| load.avg5),
        load(|load| load.avg15),
        threads,
    ];
    let heading = ["UPTIME", "LOAD 1m", "5m", "15m", "THREADS RUN"];
    table(heading, std::iter::once(row.map(Option::unwrap_or_default)))
}

fn processors(processors: &[Processor]) -> Option<String> {
    let rows = processors.iter().map(|processor| {
        let share = |of: fn(&Shares) -> f64| percent(processor.shares.as_ref().map(of));
        [
            processor.name.clone(),
            share(|shares| shares.user + shares.nice),
            share(|shares| shares.system),
            share(|shares| shares.irq + shares.softirq),
            share(|shares| shares.iowait),
            share(|shares| shares.steal),
            share(|shares| shares.idle),
        ]
    });
    table(["PROCESSOR", "USER%", "SYSTEM%", "IRQ%", "IOWAIT%", "STEAL%", "IDLE%"], rows)
}

fn memory(system: &System) -> Option<String> {
    let memory = system.memory.as_ref()?;
    let used = |total: Option<u64>, left: Option<u64>| total?.checked_sub(left?);
    let row = |name: &str, total, left| {
        let used = used(total, left);
        [name.to_owned(), bytes(total), bytes(used), part(used, total), bytes(left), String::new()]
    };
    let main = row("memory", memory.total_bytes, memory.available_bytes);
    let swap = row("swap", memory.swap_total_bytes, memory.swap_free_bytes);
    let swap = Some(swap).filter(|_| memory.swap_total_bytes.is_some_and(|total| total > 0));
    let zram = system.zram.iter().map(|zram| {
        let stored = Some(zram.stored_bytes);
        let takes = bytes(Some(zram.memory_bytes));
        [zram.name.clone(), String::new(), bytes(stored), String::new(), String::new(), takes]
    });
    let rows = std::iter::once(main).chain(swap).chain(zram);
    table(["MEMORY", "TOTAL", "USED", "USED%", "AVAILABLE", "COMPRESSED"], rows)
}

fn pressures(system: &System) -> Option<String> {
    let all =
        [("cpu", &system.cpu_pressure), ("memory", &system.memory_pressure), ("io", &system.io_pressure)];
    let rows = all.into_iter().filter_map(|(name, pressure)| {
        let Pressure { some, full } = pressure.as_ref()?;
        let share =
            |share: &Option<PressureShare>, of: fn(&PressureShare) -> f64| percent(share.as_ref().map(of));
        Some([
            name.to_owned(),
            share(some, |share| share.avg10),
            share(some, |share| share.avg60),
            share(some, |share| share.avg300),
            share(full, |share| share.avg10),
            share(full, |share| share.avg60),
            share(full, |share| share.avg300),
        ])
    });
    table(["PRESSURE", "SOME 10s%", "60s%", "300s%", "FULL 10s%", "60s%", "300s%"], rows)
}

fn temperatures(temperatures: &[Temperature]) -> Option<String> {
    let rows = temperatures.iter().map(|temperature| {
        let critical = temperature.critical_celsius.map(|celsius| format!("{celsius:.1}"));
        [
            temperature.sensor.clone(),
            temperature.label.clone(),
            format!("{:.1}", temperature.celsius),
            critical.unwrap_or_default(),
        ]
    });
    table(["SENSOR", "LABEL", "CELSIUS", "CRITICAL"], rows)
}

fn disks(disks: &[Disk]) -> Option<String> {
    let rows = disks.iter().map(|disk| {
        [
            disk.name.clone(),
            rate(disk.read_bytes_per_second),
            rate(disk.written_bytes_per_second),
            percent(disk.busy_percent),
            bytes(Some(disk.read_bytes)),
            bytes(Some(disk.written_bytes)),
        ]
    });
    table(["DISK", "READ", "WRITE", "BUSY%", "READ IN ALL", "WRITTEN IN ALL"], rows)
}

fn links(links: &[Link]) -> Option<String> {
    let rows = links.iter().map(|link| {
        [
            link.name.clone(),
            rate(link.received_bytes_per_second),
            rate(link.sent_bytes_per_second),
            bytes(Some(link.received_bytes)),
            bytes(Some(link.sent_bytes)),
            (link.received_errors.saturating_add(link.sent_errors)).to_string(),
            (link.received_dropped.saturating_add(link.sent_dropped)).to_string(),
        ]
    });
    table(["LINK", "RECEIVE", "SEND", "RECEIVED IN ALL", "SENT IN ALL", "ERRORS", "DROPPED"], rows)
}
