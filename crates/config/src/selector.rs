//! Which disks a selector means. What a disk says of itself is an argument.

use std::fmt;

use crate::{Bus, DiskSelector};

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFacts<'a> {
    /// How it is attached; nothing for a way that no selector names.
    pub bus: Option<Bus>,
    /// Model; empty when it does not say.
    pub model: &'a str,
    /// Serial number; empty when it does not say.
    pub serial: &'a str,
    /// Capacity.
    pub size_bytes: u64,
}

impl DiskSelector {
    /// Whether the disk is one that this selector means.
    #[must_use]
    pub fn matches(&self, disk: &DiskFacts<'_>) -> bool {
        self.bus.is_none_or(|bus| disk.bus == Some(bus))
            && fits(self.model.as_deref(), disk.model)
            && fits(self.serial.as_deref(), disk.serial)
            && self.min_bytes.is_none_or(|min| disk.size_bytes >= min)
            && self.max_bytes.is_none_or(|max| disk.size_bytes <= max)
    }
}

/// As it stands in a configuration.
impl fmt::Display for DiskSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            self.bus.map(|bus| format!("bus: {bus}")),
            self.model.as_ref().map(|model| format!("model: {model}")),
            self.serial.as_ref().map(|serial| format!("serial: {serial}")),
            self.min_bytes.map(|bytes| format!("minSize: {bytes}")),
            self.max_bytes.map(|bytes| format!("maxSize: {bytes}")),
        ];
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        write!(f, "{{{}}}", texts.join(", "))
    }
}

/// As it stands in a configuration.
impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ata => "ata",
            Self::Mmc => "mmc",
            Self::Nvme => "nvme",
            Self::Usb => "usb",
            Self::Virtio => "virtio",
        })
    }
}

/// Whole, or up to a trailing `*`. A disk that says nothing fits only a pattern for anything.
fn fits(pattern: Option<&str>, text: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISK: DiskFacts<'static> =
        DiskFacts { bus: Some(Bus::Nvme), model: "Fast 990", serial: "S1", size_bytes: 500 };

    fn selector(change: impl FnOnce(&mut DiskSelector)) -> DiskSelector {
        let mut selector = DiskSelector::default();
        change(&mut selector);
        selector
    }

    #[test]
    fn each_field_decides() {
        let text = |text: &str| Some(text.to_owned());
        for (matches, selector) in [
            (true, selector(|s| s.bus = Some(Bus::Nvme))),
            (false, selector(|s| s.bus = Some(Bus::Ata))),
            (true, selector(|s| s.model = text("Fast 990"))),
            (false, selector(|s| s.model = text("Fast"))),
            (true, selector(|s| s.model = text("Fast*"))),
            (true, selector(|s| s.model = text("Fast 990*"))),
            (false, selector(|s| s.model = text("fast*"))),
            (true, selector(|s| s.serial = text("*"))),
            (false, selector(|s| s.serial = text(""))),
            (true, selector(|s| s.min_bytes = Some(500))),
            (false, selector(|s| s.min_bytes = Some(501))),
            (true, selector(|s| s.max_bytes = Some(500))),
            (false, selector(|s| s.max_bytes = Some(499))),
        ] {
            assert_eq!(selector.matches(&DISK), matches, "{selector}");
        }
    }

    #[test]
    fn a_disk_of_an_unknown_bus_is_on_none() {
        let disk = DiskFacts { bus: None, ..DISK };
        assert!(!selector(|s| s.bus = Some(Bus::Ata)).matches(&disk));
        assert!(DiskSelector::default().matches(&disk));
    }

    #[test]
    fn it_is_shown_as_written() {
        let shown = selector(|s| (s.bus, s.serial) = (Some(Bus::Usb), Some("A*".into()))).to_string();
        assert_eq!(shown, "{bus: usb, serial: A*}");
    }

    fn bus() -> impl Strategy<Value = Bus> {
        prop_oneof![Just(Bus::Ata), Just(Bus::Mmc), Just(Bus::Nvme), Just(Bus::Usb), Just(Bus::Virtio)]
    }

    proptest! {
        #[test]
        fn what_a_disk_says_selects_it_and_more_never_selects_more(
            bus in bus(), model in "[a-c]{0,3}", serial in "[a-c]{0,3}", size_bytes in 0_u64..9,
            other in ("[a-c]{0,3}", 0_u64..9),
        ) {
            let disk = DiskFacts { bus: Some(bus), model: &model, serial: &serial, size_bytes };
            let whole = DiskSelector {
                bus: Some(bus),
                model: Some(model.clone()),
                serial: Some(serial.clone()),
                min_bytes: Some(size_bytes),
                max_bytes: Some(size_bytes),
            };
            prop_assert!(whole.matches(&disk));
            let part = DiskSelector { model: None, min_bytes: None, ..whole.clone() };
            let second = DiskFacts { model: &other.0, size_bytes: other.1, ..disk };
            prop_assert!(part.matches(&second) || !whole.matches(&second));
        }
    }
}
