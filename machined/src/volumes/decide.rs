//! What is to be done about a volume, from what is recorded and what the disks hold. Pure.

use config::{Bus, DiskFacts, Volume};
use resource::spec::Disk;

use super::{
    content::{Content, DISK_MIN_BYTES, Holds},
    mark::VolumeId,
    records::{Record, Records, Stage},
};

/// A disk that a volume may have, and what it holds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The disk.
    pub disk: Disk,
    /// What it holds, or why that cannot be told.
    pub content: Result<Content, String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make a file system on this disk, under the id that is recorded or a new one.
    Make {
        /// Index of the disk.
        disk: usize,
        /// What is recorded as begun.
        begun: Option<VolumeId>,
    },
    /// The file system was made; only the record of that is missing. Then mount.
    Record {
        /// Index of the disk.
        disk: usize,
        /// Its file system.
        uuid: VolumeId,
    },
    /// Check and mount.
    Mount {
        /// Index of the disk.
        disk: usize,
    },
    /// Nothing; somebody has to decide.
    Refuse(Problem),
}

/// Why a volume is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable CamelCase reason.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Decides about one volume. Of a volume that was ever complete, the UUID decides, wherever its disk is attached; the
/// selector must not mean another disk.
pub fn decide(volume: &Volume, records: &Records, disks: &[Seen]) -> Decision {
    let case = Case { volume, records, disks };
    match records.get(&volume.name) {
        Some(Record { uuid, stage: Stage::Complete }) => case.complete(uuid),
        Some(Record { uuid, stage: Stage::Begun }) => case.unfinished(Some(uuid)),
        None => case.unfinished(None),
    }
}

/// Whether the selector means this disk.
pub fn is_meant(volume: &Volume, disk: &Disk) -> bool {
    let bus = match disk.transport.as_str() {
        "nvme" => Some(Bus::Nvme),
        "virtio" => Some(Bus::Virtio),
        "mmc" => Some(Bus::Mmc),
        "usb" => Some(Bus::Usb),
        "scsi" => Some(Bus::Ata),
        _ => None,
    };
    let facts = DiskFacts { bus, model: &disk.model, serial: &disk.serial, size_bytes: disk.size_bytes };
    volume.disk.matches(&facts)
}

struct Case<'a> {
    volume: &'a Volume,
    records: &'a Records,
    disks: &'a [Seen],
}

impl Case<'_> {
    fn complete(&self, uuid: VolumeId) -> Decision {
        let carries = |seen: &Seen| match &seen.content {
            Ok(Content { holds: Holds::Ext4 { uuid: has, .. }, .. }) => *has == uuid,
            Ok(_) | Err(_) => false,
        };
        let meant = self.indices(|seen| is_meant(self.volume, &seen.disk));
        let carriers = self.indices(carries);
        match (carriers.as_slice(), meant.as_slice()) {
            ([disk], meant) if meant.is_empty() || meant.contains(disk) => Decision::Mount { disk: *disk },
            ([], []) => self.missing(&format!("; it was made under the UUID {uuid}")),
            ([], _) => self.refuse("Foreign", format!(
                "{} but not the one that this volume was made on, with UUID {uuid}: attach that one, or begin anew under another name",
                self.matching(&meant)
            )),
            ([disk], _) => self.refuse("Foreign", format!(
                "{} but this volume, with UUID {uuid}, lies on {}: correct the selector, or begin anew under another name",
                self.matching(&meant),
                self.path(*disk)
            )),
            (carriers, _) => self.refuse("DiskAmbiguous", format!(
                "{} are copies of each other, all with UUID {uuid}: detach all but one",
                self.paths(carriers)
            )),
        }
    }

    fn unfinished(&self, begun: Option<VolumeId>) -> Decision {
        let meant = self.indices(|seen| is_meant(self.volume, &seen.disk));
        let disk = match meant.as_slice() {
            [] => return self.missing(""),
            [disk] => *disk,
            _ => {
                let message = format!("{}: name more of what the disk says of itself", self.matching(&meant));
                return self.refuse("DiskAmbiguous", message);
            }
        };
        let Some(Seen { disk: has, content }) = self.disks.get(disk) else { return self.missing("") };
        let content = match content {
            Ok(content) => content,
            Err(error) => return self.refuse("NotReadable", format!("{} cannot be read: {error}", has.path)),
        };
        if has.size_bytes < DISK_MIN_BYTES {
            let message =
                format!("{} has {} bytes; a volume takes {DISK_MIN_BYTES}", has.path, has.size_bytes);
            return self.refuse("TooSmall", message);
        }
        match (begun, content) {
            (_, Content { mark: None, holds: Holds::Nothing }) => Decision::Make { disk, begun },
            (Some(begun_id), Content { mark: Some(mark), .. }) if begun_id == *mark => {
                Decision::Make { disk, begun }
            }
            (Some(begun_id), Content { mark: None, holds: Holds::Ext4 { uuid, .. } })
                if begun_id == *uuid =>
            {
                Decision::Record { disk, uuid: *uuid }
            }
            (_, content) => self.not_blank(&has.path, content),
        }
    }

    fn not_blank(&self, path: &str, content: &Content) -> Decision {
        let owner = match content {
            Content { mark: None, holds: Holds::Ext4 { uuid, .. } } => self.records.name_of(*uuid),
            Content { .. } => None,
        };
        match owner {
            Some(name) => self.refuse("NotBlank", format!("{path} is the disk of volume {name}: name another")),
            None => self.refuse("NotBlank", format!(
                "{path} holds {}, and nothing on it was changed: name another disk, or zero its first and last MiB if nothing on it matters",
                content.describe()
            )),
        }
    }

    fn missing(&self, more: &str) -> Decision {
        let all: Vec<String> = self.disks.iter().map(|seen| describe(&seen.disk)).collect();
        let all =
            if all.is_empty() { "there is none besides the system's".to_owned() } else { all.join("; ") };
        self.refuse("DiskMissing", format!("no disk matches {}{more}; attached: {all}", self.volume.disk))
    }

    fn refuse(&self, reason: &'static str, message: String) -> Decision {
        Decision::Refuse(Problem { reason, message: format!("volume {}: {message}", self.volume.name) })
    }

    fn matching(&self, meant: &[usize]) -> String {
        let disks: Vec<String> = meant
            .iter()
            .filter_map(|index| self.disks.get(*index))
            .map(|seen| describe(&seen.disk))
            .collect();
        format!("{} matches: {}", self.volume.disk, disks.join("; "))
    }

    fn indices(&self, is: impl Fn(&Seen) -> bool) -> Vec<usize> {
        self.disks.iter().enumerate().filter(|(_, seen)| is(seen)).map(|(index, _)| index).collect()
    }

    fn path(&self, index: usize) -> &str {
        self.disks.get(index).map_or("", |seen| &seen.disk.path)
    }

    fn paths(&self, indices: &[usize]) -> String {
        indices.iter().map(|index| self.path(*index)).collect::<Vec<_>>().join(", ")
    }
}

/// A disk as an admin has to name it.
fn describe(disk: &Disk) -> String {
    let text =
        |name: &str, text: &str| if text.is_empty() { String::new() } else { format!(", {name} {text}") };
    let (model, serial) = (text("model", &disk.model), text("serial", &disk.serial));
    format!("{} ({}{model}{serial}, {} bytes)", disk.path, disk.transport, disk.size_bytes)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
