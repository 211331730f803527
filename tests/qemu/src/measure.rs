//! How a node's figures are read, and the limits of docs/SPECIFICATION.md on them. Times are the kernel's own, sizes
//! of memory come from the probe pod, bytes written from QEMU: reading them changes little.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{machine::Machine, node::Node};

/// PID 1's proportional set size.
pub const INIT_PSS_LIMIT_KIB: u64 = 2 * 1024;
/// PID 1's, machined's and apid's together.
pub const OWN_PSS_LIMIT_KIB: u64 = 20 * 1024;
/// Root image with its hash tree.
pub const ROOT_IMAGE_LIMIT_BYTES: u64 = 256 << 20;

/// Id of the machine's disk in QEMU's block statistics.
const DISK: &str = "disk";
/// PID 1 and the folder of the services' cgroups, beside the pods'.
const OWN_CGROUPS: [&str; 3] = ["init", "system", "podruntime"];

/// When a kernel began, on the host's clock.
#[derive(Clone, Copy, Debug)]
pub struct KernelStart(Instant);

impl KernelStart {
    /// Waits for a console line that contains `text`; a line just printed relates the kernel's clock to the host's.
    pub fn by_line(machine: &mut Machine, text: &str, deadline: Duration) -> Result<(Self, u64)> {
        let (at_ms, seen) = (reached_ms(machine, text, deadline)?, Instant::now());
        let start = seen.checked_sub(Duration::from_millis(at_ms)).context("the host's clock began later")?;
        Ok((Self(start), at_ms))
    }

    /// Milliseconds from the kernel's start until now.
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Waits for a console line that contains `text` and returns the kernel's time of it.
pub fn reached_ms(machine: &mut Machine, text: &str, deadline: Duration) -> Result<u64> {
    let line = machine.wait_for(text, deadline)?;
    kernel_ms(&line).with_context(|| format!("no kernel's time in {line:?}"))
}

/// Waits for two lines in any order and returns the kernel's time of the later one.
pub fn both_reached_ms(machine: &mut Machine, texts: [&str; 2], deadline: Duration) -> Result<u64> {
    let (first, _) = machine.wait_for_any(&texts, deadline)?;
    let [one, other] = texts;
    reached_ms(machine, if first == 0 { other } else { one }, deadline)
}

/// The time that the kernel puts before a message: `[    2.177634] text`.
fn kernel_ms(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once('[')?;
    let (seconds, fraction) = rest.split_once(']')?.0.trim().split_once('.')?;
    let milliseconds: u64 = fraction.get(..3)?.parse().ok()?;
    Some(seconds.parse::<u64>().ok()? * 1000 + milliseconds)
}

/// A process of the node, as the probe sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Name, at most 15 bytes.
    pub comm: String,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Proportional set size.
    pub pss_kib: u64,
}

/// All processes with memory of their own.
pub fn processes(node: &Node) -> Result<Vec<Process>> {
    serde_json::from_str(&node.probe("GET", "/pss")?)
        .context("the probe's list of processes has another form")
}

/// Proportional set size of the one process of this name.
pub fn pss_kib(processes: &[Process], comm: &str) -> Result<u64> {
    let found: Vec<&Process> = processes.iter().filter(|process| process.comm == comm).collect();
    match found[..] {
        [process] => Ok(process.pss_kib),
        _ => bail!("{} processes are named {comm}, not one", found.len()),
    }
}

/// Memory that cannot be dropped (anonymous and the kernel's) of everything beside the pods.
pub fn own_cgroups_kib(node: &Node) -> Result<u64> {
    OWN_CGROUPS.iter().try_fold(0, |sum, cgroup| {
        let stat = node.probe("GET", &format!("/read?path=/host/sys/fs/cgroup/{cgroup}/memory.stat"))?;
        Ok(sum + (stat_field(&stat, "anon")? + stat_field(&stat, "kernel")?) / 1024)
    })
}

fn stat_field(stat: &str, name: &str) -> Result<u64> {
    let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("memory.stat has no {name}"))?.parse()?)
}

/// Bytes written to the machine's disk since it started.
pub fn written_bytes(machine: &mut Machine) -> Result<u64> {
    let answer = machine.qmp()?.execute("query-blockstats", json!({}))?;
    disk_written(&answer).with_context(|| format!("QEMU knows no disk {DISK:?}: {answer}"))
}

fn disk_written(answer: &Value) -> Option<u64> {
    let disk = answer.as_array()?.iter().find(|device| device["node-name"] == DISK)?;
    disk["stats"]["wr_bytes"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_time_is_taken_from_a_line() {
        assert_eq!(kernel_ms("[    2.177634] cairn: init started"), Some(2177));
        assert_eq!(kernel_ms("[  163.000999] x [y]"), Some(163_000));
        for line in ["cairn: selector 0.1.0", "[Boot0001] x", "[ 1.2] x"] {
            assert_eq!(kernel_ms(line), None, "{line}");
        }
    }

    #[test]
    fn a_name_shared_by_two_processes_has_no_figure() {
        let list = r#"[{"pid":1,"comm":"init","cgroup":"/init","pss_kib":7,"rss_kib":9},
                       {"pid":2,"comm":"x","cgroup":"/a","pss_kib":1,"rss_kib":1},
                       {"pid":3,"comm":"x","cgroup":"/b","pss_kib":1,"rss_kib":1}]"#;
        let processes: Vec<Process> = serde_json::from_str(list).unwrap();
        assert_eq!(pss_kib(&processes, "init").unwrap(), 7);
        assert!(pss_kib(&processes, "x").is_err() && pss_kib(&processes, "apid").is_err());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let stat = "anon_thp 1\nanon 4096\nkernel_stack 2\nkernel 8192\n";
        assert_eq!(stat_field(stat, "anon").unwrap(), 4096);
        assert_eq!(stat_field(stat, "kernel").unwrap(), 8192);
        assert!(stat_field(stat, "file").is_err());
    }

    #[test]
    fn only_the_disk_counts() {
        let answer = json!([
            {"device": "pflash0", "node-name": "#block1", "stats": {"wr_bytes": 1}},
            {"device": "", "node-name": "disk", "stats": {"wr_bytes": 512}},
        ]);
        assert_eq!(disk_written(&answer), Some(512));
        assert_eq!(disk_written(&json!([])), None);
    }
}
