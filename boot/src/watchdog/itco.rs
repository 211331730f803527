//! The TCO timer of Intel's south bridges from ICH9 to the 9 series (Intel 316972, chapters 13.8 and 13.9, and
//! `drivers/watchdog/iTCO_wdt.c`, version 2). QEMU's q35 has it.
//!
//! The reset that it causes is suppressed while NO_REBOOT is set, as it is after power-on. It is cleared here;
//! where a strap holds it, there is no watchdog. Linux' driver finds the timer running at its probe, clears
//! NO_REBOOT again and lets it run.

use crate::protocol::open_shared;
use uefi::boot;
use uefi::boot::ScopedProtocol;
use uefi::proto::pci::PciIoAddress;
use uefi::proto::pci::root_bridge::PciRootBridgeIo;

/// Time from the last reload to the reset. It has to last until the kernel has probed its driver.
const TIMEOUT_S: u16 = 120;
/// The timer's unit is 0.6 s; it has ten bits.
const TIMEOUT_TICKS: u16 = TIMEOUT_S * 10 / 6;

const VENDOR_INTEL: u32 = 0x8086;
/// Device ids of the LPC bridges, first and last: ICH9, ICH10, and the 5 to 9 series.
const LPC_BRIDGES: [(u32, u32); 12] = [
    (0x2910, 0x291f),
    (0x3a10, 0x3a1f),
    (0x3b00, 0x3b1f),
    (0x1c40, 0x1c5f),
    (0x1d40, 0x1d41),
    (0x1e40, 0x1e5f),
    (0x8c40, 0x8c5f),
    (0x8cc0, 0x8cdf),
    (0x8d40, 0x8d5f),
    (0x9c40, 0x9c5f),
    (0x9cc0, 0x9cdf),
    (0x2310, 0x2310),
];

// Configuration space of the LPC bridge, 00:1f.0.
const PCI_ID: u8 = 0x00;
const PMBASE: u8 = 0x40;
const PMBASE_MASK: u32 = 0xff80;
const ACPI_CNTL: u8 = 0x44;
const ACPI_CNTL_ENABLED: u32 = 1 << 7;
const RCBA: u8 = 0xf0;
const RCBA_MASK: u32 = 0xffff_c000;
const RCBA_ENABLED: u32 = 1;

// General control and status, in the chipset's memory.
const GCS: u32 = 0x3410;
const GCS_NO_REBOOT: u32 = 1 << 5;

// I/O ports from PMBASE on.
const TCO_BASE: u32 = 0x60;
const TCO_RELOAD: u32 = TCO_BASE;
const TCO1_STATUS: u32 = TCO_BASE + 0x04;
const TCO1_STATUS_TIMEOUT: u16 = 1 << 3;
const TCO2_STATUS: u32 = TCO_BASE + 0x06;
const TCO2_STATUS_SECOND_TIMEOUT: u16 = 1 << 1;
const TCO1_CONTROL: u32 = TCO_BASE + 0x08;
const TCO1_CONTROL_HALT: u16 = 1 << 11;
const TCO_TIMER: u32 = TCO_BASE + 0x12;
const TCO_TIMER_MASK: u16 = 0x03ff;

/// The running timer.
pub struct Itco {
    root: ScopedProtocol<PciRootBridgeIo>,
    ports: u32,
}

impl Itco {
    /// Starts the timer of the first bridge that has one.
    pub fn arm() -> Option<Self> {
        let roots = boot::find_handles::<PciRootBridgeIo>().ok()?;
        roots.into_iter().find_map(|root| Self::arm_below(open_shared(root).ok()?))
    }

    /// Starts its time anew.
    pub fn reload(&mut self) {
        _ = self.write(TCO_RELOAD, 1);
    }

    fn arm_below(mut root: ScopedProtocol<PciRootBridgeIo>) -> Option<Self> {
        if !is_known(config(&mut root, PCI_ID)?) || config(&mut root, ACPI_CNTL)? & ACPI_CNTL_ENABLED == 0 {
            return None;
        }
        let ports = config(&mut root, PMBASE)? & PMBASE_MASK;
        let rcba = config(&mut root, RCBA)?;
        if ports == 0 || rcba & RCBA_ENABLED == 0 {
            return None;
        }
        allow_reboot(&mut root, u64::from(rcba & RCBA_MASK) + u64::from(GCS))?;
        let mut itco = Self { root, ports };
        itco.start()?;
        Some(itco)
    }

    fn start(&mut self) -> Option<()> {
        let control = self.read(TCO1_CONTROL)?;
        self.write(TCO1_CONTROL, control | TCO1_CONTROL_HALT)?;
        let timer = self.read(TCO_TIMER)?;
        self.write(TCO_TIMER, (timer & !TCO_TIMER_MASK) | TIMEOUT_TICKS)?;
        self.write(TCO_RELOAD, 1)?;
        // Written ones clear. A time-out that was noted before would make the next one the second.
        self.write(TCO1_STATUS, TCO1_STATUS_TIMEOUT)?;
        self.write(TCO2_STATUS, TCO2_STATUS_SECOND_TIMEOUT)?;
        self.write(TCO1_CONTROL, control & !TCO1_CONTROL_HALT)?;
        (self.read(TCO1_CONTROL)? & TCO1_CONTROL_HALT == 0).then_some(())
    }

    fn read(&mut self, register: u32) -> Option<u16> {
        self.root.get_mut()?.io().read_one(self.ports + register).ok()
    }

    fn write(&mut self, register: u32, value: u16) -> Option<()> {
        self.root.get_mut()?.io().write_one(self.ports + register, value).ok()
    }
}

fn is_known(id: u32) -> bool {
    let device = id >> 16;
    id & 0xffff == VENDOR_INTEL && LPC_BRIDGES.iter().any(|(first, last)| (*first..=*last).contains(&device))
}

fn config(root: &mut ScopedProtocol<PciRootBridgeIo>, register: u8) -> Option<u32> {
    let address = PciIoAddress::new(0, 0x1f, 0).with_register(register);
    root.get_mut()?.pci().read_one(address).ok()
}

fn allow_reboot(root: &mut ScopedProtocol<PciRootBridgeIo>, gcs: u64) -> Option<()> {
    let memory = root.get_mut()?.memory();
    let value: u32 = memory.read_one(gcs).ok()?;
    memory.write_one(gcs, value & !GCS_NO_REBOOT).ok()?;
    let value: u32 = memory.read_one(gcs).ok()?;
    (value & GCS_NO_REBOOT == 0).then_some(())
}
