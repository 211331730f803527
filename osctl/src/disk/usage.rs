//! What the running system uses: mounts and swap, by kernel name of the device.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Mount points without which this computer does not go on.
const SYSTEM_MOUNTS: [&str; 5] = ["/", "/usr", "/var", "/home", "/boot"];

/// One use of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Mounted there.
    Mount(String),
    /// Swap.
    Swap,
}

impl Use {
    /// Whether this computer would suffer without it.
    pub fn is_system(&self) -> bool {
        match self {
            Self::Swap => true,
            Self::Mount(point) => SYSTEM_MOUNTS.contains(&point.as_str()) || point.starts_with("/boot/"),
        }
    }
}

/// All uses, by the device's name in `/sys/class/block`.
#[derive(Debug, Default)]
pub struct Uses(BTreeMap<String, Vec<Use>>);

impl Uses {
    /// Reads them below `root`, which is `/` except in tests.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo"))?;
        // A kernel without swap has no such file.
        let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
        let numbers = device_numbers(&root.join("sys/class/block"))?;
        Ok(Self::parse(&mounts, &swaps, &numbers))
    }

    fn parse(mountinfo: &str, swaps: &str, numbers: &BTreeMap<String, String>) -> Self {
        let mut uses = Self::default();
        for (number, source, point) in mountinfo.lines().filter_map(mount) {
            // By number, and by source too: btrfs shows a number of its own.
            let named = source.strip_prefix("/dev/").map(str::to_owned);
            if let Some(name) = numbers.get(number).cloned().or(named) {
                uses.add(name, Use::Mount(unescape(point)));
            }
        }
        for path in swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
            if let Some(name) = path.strip_prefix("/dev/") {
                uses.add(name.to_owned(), Use::Swap);
            }
        }
        uses
    }

    fn add(&mut self, name: String, found: Use) {
        let uses = self.0.entry(name).or_default();
        if !uses.contains(&found) {
            uses.push(found);
        }
    }

    /// The uses of one device.
    pub fn of(&self, name: &str) -> &[Use] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Device number, source and mount point of a line (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (number, point) = (left.next()?, left.nth(1)?);
    Some((number, right.split(' ').nth(1)?, point))
}

/// Names of block devices by "major:minor".
fn device_numbers(class: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut numbers = BTreeMap::new();
    for entry in fs::read_dir(class)? {
        let entry = entry?;
        if let (Ok(number), Ok(name)) =
            (fs::read_to_string(entry.path().join("dev")), entry.file_name().into_string())
        {
            numbers.insert(number.trim().to_owned(), name);
        }
    }
    Ok(numbers)
}

/// Blanks in mount points stand as octal escapes.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_swap_are_found_by_number_and_by_name() {
        let mountinfo = "\
22 1 8:2 / / rw,noatime shared:1 - ext4 /dev/root rw
23 22 0:30 / /home rw - btrfs /dev/sdb1 rw
24 22 8:33 / /media/my\\040stick rw - vfat /dev/sdc1 rw
25 22 0:5 / /proc rw - proc proc rw
26 22 8:2 /srv /srv rw - ext4 /dev/root rw
";
        let swaps = "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n/swapfile file 1 0 -3\n";
        let numbers = [("8:2", "sda2"), ("8:33", "sdc1")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        let uses = Uses::parse(mountinfo, swaps, &numbers);
        assert_eq!(uses.of("sda2"), [Use::Mount("/".into()), Use::Mount("/srv".into())]);
        assert_eq!(uses.of("sdb1"), [Use::Mount("/home".into())]);
        assert_eq!(uses.of("sdc1"), [Use::Mount("/media/my stick".into())]);
        assert_eq!(uses.of("sda3"), [Use::Swap]);
        assert_eq!(uses.of("proc"), []);
    }

    #[test]
    fn what_the_system_needs_is_told_from_what_is_plugged_in() {
        for point in ["/", "/boot", "/boot/efi", "/home"] {
            assert!(Use::Mount(point.into()).is_system(), "{point}");
        }
        assert!(Use::Swap.is_system());
        assert!(!Use::Mount("/media/stick".into()).is_system());
    }
}
