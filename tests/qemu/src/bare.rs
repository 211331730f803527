//! The real kernel with something else than Cairn above it: the floor of boot times, and a reader that looks at every
//! block of a damaged root image through the root's own verity table.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use image::{erofs::RootImage, uki};

use crate::{
    bed::Bed,
    console::Console,
    machine::{self, Files},
    measure,
    node::{BOOT_DEADLINE, default_hardware},
};

/// Generous: every block of a root image, read one by one under software emulation.
const READ_DEADLINE: Duration = Duration::from_secs(300);
const MEMORY_MIB: &str = "512";

/// Kernel start until an init that does nothing else says hello: same firmware, selector, kernel, command line and
/// hardware as a node's, and a verified root too.
pub fn floor(bed: &Bed) -> Result<Duration> {
    // A new folder: the console of an earlier boot would say hello at once.
    let folder = tempfile::Builder::new().prefix("floor-").tempdir_in(&bed.work)?;
    let (programs, files) = (bed.programs(), Files::new(folder.path()));
    machine::create_disk(&programs, &bed.floor_disk, &files, "8G")?;
    let mut machine = machine::start(&programs, bed.accelerator, &files, &default_hardware())?;
    measure::reached_ms(&mut machine, "floor: hello", BOOT_DEADLINE).map(Duration::from_millis)
}

/// What the reader found behind the verity table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readout {
    /// Blocks that it went through.
    pub blocks: u64,
    /// Blocks whose reading ended in EIO.
    pub unreadable: BTreeSet<u64>,
    /// Blocks that were read, but are not what was sealed.
    pub different: BTreeSet<u64>,
}

/// The facts that the kernel is told about the bed's root image.
pub fn root_facts(bed: &Bed) -> Result<RootImage> {
    let path = bed.root_image.with_extension("json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Reads every data block of `damaged`, a changed copy of the bed's root image, through verity. Needs an empty folder.
pub fn read_verified(bed: &Bed, damaged: &Path, folder: &Path) -> Result<Readout> {
    let create = uki::verity_device(&root_facts(bed)?, "/dev/vdb");
    // Only the reader speaks: the kernel's lines about each bad block would mix with its own.
    let command_line = format!(
        "console=ttyS0,115200 loglevel=1 panic=-1 random.trust_cpu=on root=/dev/vda rootfstype=erofs ro \
         init=/sbin/init dm-mod.waitfor=/dev/vdb dm-mod.create=\"{create}\""
    );
    let log = folder.join("console.log");
    let mut console = Console::open(&log)?;
    let disks = [bed.verify_reader.as_path(), damaged, bed.root_image.as_path()];
    let mut guest = Guest(command(bed, &command_line, &disks, &log).spawn().context("cannot start QEMU")?);
    console.wait_for("verify: done", READ_DEADLINE, || matches!(guest.0.try_wait(), Ok(None)))?;
    readout(console.lines()?)
}

/// A QEMU without firmware: it ends with this value.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn command(bed: &Bed, command_line: &str, disks: &[&Path], log: &Path) -> Command {
    let programs = bed.programs();
    let mut command = programs.command("qemu-system-x86_64");
    command.arg("-L").arg(programs.file("/usr/share/qemu"));
    // QEMU's own firmware that does no more than start a kernel.
    command.args(["-bios", "qboot.rom", "-machine", "q35"]).args(bed.accelerator.arguments());
    command.args(["-m", MEMORY_MIB, "-smp", "2", "-display", "none", "-nodefaults", "-no-user-config"]);
    command.arg("-no-reboot").arg("-kernel").arg(&bed.kernel).args(["-append", command_line]);
    for disk in disks {
        command.args(["-drive", &format!("if=virtio,format=raw,readonly=on,file={}", disk.display())]);
    }
    command.args(["-serial", &format!("file:{}", log.display())]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn readout(lines: &[String]) -> Result<Readout> {
    let mut found = Readout { blocks: 0, unreadable: BTreeSet::new(), different: BTreeSet::new() };
    for said in lines.iter().filter_map(|line| line.strip_prefix("verify: ")) {
        let number = |text: &str| text.trim().parse::<u64>().with_context(|| format!("reader said {said:?}"));
        match said.split_once(' ') {
            Some(("unreadable", block)) => drop(found.unreadable.insert(number(block)?)),
            Some(("different", block)) => drop(found.different.insert(number(block)?)),
            Some(("done,", blocks)) => found.blocks = number(blocks)?,
            _ => bail!("reader said {said:?}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_says_is_understood_and_nothing_else() {
        let lines = |text: &[&str]| text.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let said = lines(&["noise", "verify: unreadable 5", "verify: different 7", "verify: done, 9"]);
        let expected = Readout { blocks: 9, unreadable: BTreeSet::from([5]), different: BTreeSet::from([7]) };
        assert_eq!(readout(&said).unwrap(), expected);
        assert!(readout(&lines(&["verify: failed: no such device"])).is_err());
    }
}
