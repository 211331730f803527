//! The machine as a whole.

use std::{collections::HashMap, path::Path};

use procview::{
    DiskCounters, LinkCounters, LoadAverage, MemoryUse, Pressure, PressureShare, ProcessorTimes, ZramUse,
    celsius, per_second, percent, processors, uptime_s,
};
use proto::inspect::v1 as api;

use super::{
    Before, Roots,
    processes::Clock,
    roots::{line, names, read},
};

/// Rows of each table: more than any machine has.
const ROWS_MAX: usize = 256;
/// Sensors of one chip.
const SENSORS_MAX: usize = 64;

/// What only rises.
pub struct Counters {
    processors: HashMap<String, ProcessorTimes>,
    disks: HashMap<String, DiskCounters>,
    links: HashMap<String, LinkCounters>,
}

/// The counters as they are.
pub fn counters(roots: &Roots) -> Counters {
    Counters {
        processors: all_processors(roots).into_iter().collect(),
        disks: all_disks(roots).into_iter().map(|disk| (disk.name.clone(), disk)).collect(),
        links: all_links(roots).into_iter().map(|link| (link.name.clone(), link)).collect(),
    }
}

/// Everything.
pub fn system(roots: &Roots, before: Option<Before<Counters>>) -> api::GetSystemResponse {
    let (before, interval_ms) = Before::split(before);
    let before = before.as_ref();
    let file = |name: &str| read(&roots.proc.join(name));
    let stall =
        |name: &str| file(&format!("pressure/{name}")).as_deref().and_then(Pressure::parse).map(pressure);
    let clock = Clock::read(roots);
    let processors = all_processors(roots).into_iter();
    let disks = all_disks(roots).into_iter();
    let links = all_links(roots).into_iter();
    api::GetSystemResponse {
        interval_ms,
        uptime_s: file("uptime").as_deref().and_then(uptime_s),
        load: file("loadavg").as_deref().and_then(LoadAverage::parse).map(load),
        processors: processors
            .map(|(name, times)| {
                let earlier = before.and_then(|before| before.processors.get(&name)).copied();
                processor(name, times, earlier, &clock)
            })
            .collect(),
        memory: file("meminfo").map(|bytes| memory(MemoryUse::parse(&bytes))),
        zram: zram(roots),
        cpu_pressure: stall("cpu"),
        memory_pressure: stall("memory"),
        io_pressure: stall("io"),
        temperatures: temperatures(roots),
        disks: disks
            .map(|now| disk(before.and_then(|before| before.disks.get(&now.name)), now, interval_ms))
            .collect(),
        links: links
            .map(|now| link(before.and_then(|before| before.links.get(&now.name)), now, interval_ms))
            .collect(),
    }
}

fn all_processors(roots: &Roots) -> Vec<(String, ProcessorTimes)> {
    let mut all = read(&roots.proc.join("stat")).map(|bytes| processors(&bytes)).unwrap_or_default();
    all.truncate(ROWS_MAX);
    all
}

/// Whole disks that did something since the start; of a device-mapper device its disk counts the same again, but it may
/// lie on several.
fn all_disks(roots: &Roots) -> Vec<DiskCounters> {
    let whole = names(&roots.sys.join("block"));
    let all = read(&roots.proc.join("diskstats")).map(|bytes| DiskCounters::parse_all(&bytes));
    let is_shown =
        |disk: &DiskCounters| whole.binary_search(&disk.name).is_ok() && disk.reads.max(disk.writes) > 0;
    all.into_iter().flatten().filter(is_shown).take(ROWS_MAX).collect()
}

fn all_links(roots: &Roots) -> Vec<LinkCounters> {
    let bytes = read(&roots.proc.join("self/net/dev"));
    let mut all = bytes.map(|bytes| LinkCounters::parse_all(&bytes)).unwrap_or_default();
    all.truncate(ROWS_MAX);
    all
}

fn load(load: LoadAverage) -> api::Load {
    let LoadAverage { averages: [avg1, avg5, avg15], running, threads } = load;
    api::Load { avg1, avg5, avg15, running, threads }
}

fn processor(
    name: String,
    times: ProcessorTimes,
    before: Option<ProcessorTimes>,
    clock: &Clock,
) -> api::Processor {
    let shares = before.and_then(|before| times.shares_since(&before));
    api::Processor {
        name,
        since_boot: Some(api::ProcessorTimes {
            user_ms: clock.to_ms(times.user),
            nice_ms: clock.to_ms(times.nice),
            system_ms: clock.to_ms(times.system),
            idle_ms: clock.to_ms(times.idle),
            iowait_ms: clock.to_ms(times.iowait),
            irq_ms: clock.to_ms(times.irq),
            softirq_ms: clock.to_ms(times.softirq),
            steal_ms: clock.to_ms(times.steal),
        }),
        shares: shares.map(|[user, nice, system, idle, iowait, irq, softirq, steal]| api::ProcessorShares {
            user,
            nice,
            system,
            idle,
            iowait,
            irq,
            softirq,
            steal,
        }),
    }
}

fn memory(memory: MemoryUse) -> api::Memory {
    api::Memory {
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

fn zram(roots: &Roots) -> Vec<api::Zram> {
    let block = roots.sys.join("block");
    let devices = names(&block).into_iter().filter(|name| name.starts_with("zram")).take(ROWS_MAX);
    let devices = devices.filter_map(|name| {
        let held = ZramUse::parse(&read(&block.join(&name).join("mm_stat"))?)?;
        // One that is not set up stores nothing, and is none.
        (held.memory_bytes > 0).then_some(api::Zram {
            name,
            stored_bytes: held.stored_bytes,
            compressed_bytes: held.compressed_bytes,
            memory_bytes: held.memory_bytes,
        })
    });
    devices.collect()
}

/// Of hardware monitors, and of thermal zones that no monitor shows under the same name.
fn temperatures(roots: &Roots) -> Vec<api::Temperature> {
    let monitors = roots.sys.join("class/hwmon");
    let mut all: Vec<api::Temperature> =
        names(&monitors).iter().flat_map(|name| monitor(&monitors.join(name))).collect();
    let zones = roots.sys.join("class/thermal");
    for zone in names(&zones).iter().filter(|name| name.starts_with("thermal_zone")) {
        let zone = zones.join(zone);
        let Some(sensor) = line(&zone.join("type")) else { continue };
        let is_shown = all.iter().any(|shown| shown.sensor.replace('_', "-") == sensor.replace('_', "-"));
        if let Some(celsius) = read(&zone.join("temp")).as_deref().and_then(celsius).filter(|_| !is_shown) {
            all.push(api::Temperature { sensor, label: String::new(), celsius, critical_celsius: None });
        }
    }
    all.truncate(ROWS_MAX);
    all
}

fn monitor(folder: &Path) -> Vec<api::Temperature> {
    let sensor = line(&folder.join("name")).unwrap_or_default();
    let inputs = names(folder).into_iter().filter(|name| name.starts_with("temp"));
    let inputs: Vec<String> =
        inputs.filter_map(|name| Some(name.strip_suffix("_input")?.to_owned())).take(SENSORS_MAX).collect();
    let temperature = |input: &String| {
        let file = |what: &str| folder.join(format!("{input}_{what}"));
        Some(api::Temperature {
            sensor: sensor.clone(),
            label: line(&file("label")).unwrap_or_default(),
            celsius: celsius(&read(&file("input"))?)?,
            critical_celsius: read(&file("crit")).as_deref().and_then(celsius),
        })
    };
    inputs.iter().filter_map(temperature).collect()
}

fn disk(before: Option<&DiskCounters>, now: DiskCounters, interval_ms: u32) -> api::Disk {
    let rate = |of: fn(&DiskCounters) -> u64| per_second(of(before?), of(&now), interval_ms.into());
    let busy_ms = before.and_then(|before| now.busy_ms.checked_sub(before.busy_ms));
    api::Disk {
        reads: now.reads,
        read_bytes: now.read_bytes,
        writes: now.writes,
        written_bytes: now.written_bytes,
        busy_ms: now.busy_ms,
        read_bytes_per_second: rate(|disk| disk.read_bytes),
        written_bytes_per_second: rate(|disk| disk.written_bytes),
        busy_percent: busy_ms
            .and_then(|busy_ms| percent(busy_ms, interval_ms.into()))
            .map(|all| all.min(100.0)),
        name: now.name,
    }
}

fn link(before: Option<&LinkCounters>, now: LinkCounters, interval_ms: u32) -> api::Link {
    let rate = |of: fn(&LinkCounters) -> u64| per_second(of(before?), of(&now), interval_ms.into());
    api::Link {
        received_bytes: now.received_bytes,
        received_packets: now.received_packets,
        received_errors: now.received_errors,
        received_dropped: now.received_dropped,
        sent_bytes: now.sent_bytes,
        sent_packets: now.sent_packets,
        sent_errors: now.sent_errors,
        sent_dropped: now.sent_dropped,
        received_bytes_per_second: rate(|link| link.received_bytes),
        sent_bytes_per_second: rate(|link| link.sent_bytes),
        name: now.name,
    }
}

/// Pressure as a message.
pub fn pressure(pressure: Pressure) -> api::Pressure {
    let share = |share: PressureShare| api::PressureShare {
        avg10: share.avg10,
        avg60: share.avg60,
        avg300: share.avg300,
        total_us: share.total_us,
    };
    api::Pressure { some: pressure.some.map(share), full: pressure.full.map(share) }
}
