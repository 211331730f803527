//! Which disk is written: the one that the configuration's selector means.

use config::{Bus, DiskFacts, DiskSelector};
use layout::{MIN_DISK_BYTES, SECTOR_BYTES};
use resource::spec::Disk;

/// Why no disk is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nobody said which.
    #[error("the configuration names no disk: add installDisk to its Machine document")]
    NoSelector,
    /// No disk is meant.
    #[error("no disk is {selector}; there are: {disks}")]
    None {
        /// As configured.
        selector: String,
        /// All disks but the medium.
        disks: String,
    },
    /// More than one is.
    #[error("several disks are {selector}, and only one may be: {disks}")]
    Several {
        /// As configured.
        selector: String,
        /// Those.
        disks: String,
    },
    /// It cannot hold a node.
    #[error(
        "{disk} cannot hold a node: that takes {MIN_DISK_BYTES} bytes in sectors of {SECTOR_BYTES}, writable"
    )]
    Unfit {
        /// Which.
        disk: String,
    },
}

/// The one disk, other than the medium, that the selector means.
pub fn choose<'a>(
    disks: &'a [(String, Disk)],
    selector: Option<&DiskSelector>,
) -> Result<&'a Disk, TargetError> {
    let selector = selector.ok_or(TargetError::NoSelector)?;
    let others: Vec<&Disk> = disks.iter().map(|(_, disk)| disk).filter(|disk| !disk.system).collect();
    let meant: Vec<&Disk> = others.iter().copied().filter(|disk| selector.matches(&facts(disk))).collect();
    let selector = selector.to_string();
    let disk = match meant.as_slice() {
        [] => return Err(TargetError::None { selector, disks: describe(&others) }),
        [disk] => *disk,
        several => return Err(TargetError::Several { selector, disks: describe(several) }),
    };
    let fits =
        !disk.read_only && disk.size_bytes >= MIN_DISK_BYTES && u64::from(disk.sector_bytes) == SECTOR_BYTES;
    if fits { Ok(disk) } else { Err(TargetError::Unfit { disk: describe(&[disk]) }) }
}

fn facts(disk: &Disk) -> DiskFacts<'_> {
    let bus = match disk.transport.as_str() {
        "scsi" => Some(Bus::Ata),
        "mmc" => Some(Bus::Mmc),
        "nvme" => Some(Bus::Nvme),
        "usb" => Some(Bus::Usb),
        "virtio" => Some(Bus::Virtio),
        _ => None,
    };
    DiskFacts { bus, model: &disk.model, serial: &disk.serial, size_bytes: disk.size_bytes }
}

fn describe(disks: &[&Disk]) -> String {
    let one = |disk: &&Disk| {
        let Disk { path, transport, model, serial, size_bytes, .. } = disk;
        format!("{path} (bus {transport}, model {model:?}, serial {serial:?}, {size_bytes} bytes)")
    };
    if disks.is_empty() { "none".to_owned() } else { disks.iter().map(one).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, transport: &str, change: impl FnOnce(&mut Disk)) -> (String, Disk) {
        let mut disk = Disk {
            path: format!("/dev/{name}"),
            size_bytes: 8 << 30,
            sector_bytes: 512,
            transport: transport.to_owned(),
            ..Disk::default()
        };
        change(&mut disk);
        (name.to_owned(), disk)
    }

    fn selector(bus: Bus) -> Option<DiskSelector> {
        Some(DiskSelector { bus: Some(bus), ..DiskSelector::default() })
    }

    #[test]
    fn exactly_one_fit_disk_is_chosen_and_never_the_medium() {
        let disks = [
            disk("sda", "usb", |disk| disk.system = true),
            disk("sdb", "usb", |disk| disk.size_bytes = 1 << 30),
            disk("nvme0n1", "nvme", |_| {}),
            disk("nvme1n1", "nvme", |disk| disk.serial = "second".into()),
        ];
        let chosen = |selector: Option<DiskSelector>| choose(&disks, selector.as_ref());
        assert_eq!(chosen(None), Err(TargetError::NoSelector));
        assert!(
            matches!(chosen(selector(Bus::Mmc)), Err(TargetError::None { disks, .. }) if disks.contains("nvme1n1"))
        );
        assert!(
            matches!(chosen(selector(Bus::Nvme)), Err(TargetError::Several { disks, .. }) if disks.contains("second"))
        );
        assert!(
            matches!(chosen(selector(Bus::Usb)), Err(TargetError::Unfit { disk }) if disk.contains("/dev/sdb"))
        );
        let mut exact = selector(Bus::Nvme);
        exact.as_mut().unwrap().serial = Some("second".into());
        assert_eq!(chosen(exact).unwrap().path, "/dev/nvme1n1");
    }

    #[test]
    fn unfit_disks_are_refused() {
        for change in [
            (|disk: &mut Disk| disk.read_only = true) as fn(&mut Disk),
            |disk| disk.sector_bytes = 4096,
            |disk| disk.size_bytes = MIN_DISK_BYTES - 512,
        ] {
            let disks = [disk("nvme0n1", "nvme", change)];
            assert!(matches!(choose(&disks, selector(Bus::Nvme).as_ref()), Err(TargetError::Unfit { .. })));
        }
    }
}
