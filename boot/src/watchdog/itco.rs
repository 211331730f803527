//! The TCO timer of Intel's south bridges from ICH9 to the 9 series (Intel 316972, chapters 13.8 and 13.9, and
//! `drivers/watchdog/iTCO_wdt.c`, version 2). QEMU's q35 has it.
//!
//! The reset that it causes is suppressed while NO_REBOOT is set, as it is after power-on. It is cleared here;
//! where a strap holds it, there is no watchdog. Linux' driver finds the timer running at its probe, clears
//! NO_REBOOT again and lets it run.

// The firmware's own way to chipset registers, the PCI root bridge protocol, refuses addresses outside of what it
// has given to devices. So they are accessed directly, once the bridge has been identified.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr;

/// Time that the timer counts down. It does so twice before the reset (in QEMU; chipsets may shorten the second
/// time), and once has to last until the kernel has probed its driver.
const TIMEOUT_S: u16 = 60;
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
const TCO_BASE: u16 = 0x60;
const TCO_RELOAD: u16 = TCO_BASE;
const TCO1_STATUS: u16 = TCO_BASE + 0x04;
const TCO1_STATUS_TIMEOUT: u16 = 1 << 3;
const TCO2_STATUS: u16 = TCO_BASE + 0x06;
const TCO2_STATUS_SECOND_TIMEOUT: u16 = 1 << 1;
const TCO1_CONTROL: u16 = TCO_BASE + 0x08;
const TCO1_CONTROL_HALT: u16 = 1 << 11;
const TCO_TIMER: u16 = TCO_BASE + 0x12;
const TCO_TIMER_MASK: u16 = 0x03ff;

// PCI configuration mechanism #1 (PCI 3.0, section 3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_LPC_BRIDGE: u32 = 1 << 31 | 0x1f << 11;

/// The running timer.
pub struct Itco {
    ports: u16,
}

impl Itco {
    /// Starts the timer, where the chipset has one that can cause a reset.
    pub fn arm() -> Option<Self> {
        if !is_known(config(PCI_ID)) || config(ACPI_CNTL) & ACPI_CNTL_ENABLED == 0 {
            return None;
        }
        let ports = u16::try_from(config(PMBASE) & PMBASE_MASK).ok()?;
        let rcba = config(RCBA);
        if ports == 0 || rcba & RCBA_ENABLED == 0 {
            return None;
        }
        allow_reset(rcba & RCBA_MASK)?;
        let itco = Self { ports };
        itco.start().then_some(itco)
    }

    /// Starts its time anew.
    pub fn reload(&self) {
        self.write(TCO_RELOAD, 1);
    }

    fn start(&self) -> bool {
        let control = self.read(TCO1_CONTROL);
        self.write(TCO1_CONTROL, control | TCO1_CONTROL_HALT);
        self.write(TCO_TIMER, (self.read(TCO_TIMER) & !TCO_TIMER_MASK) | TIMEOUT_TICKS);
        self.reload();
        // Written ones clear. A time-out that was noted before would make the next one the second.
        self.write(TCO1_STATUS, TCO1_STATUS_TIMEOUT);
        self.write(TCO2_STATUS, TCO2_STATUS_SECOND_TIMEOUT);
        self.write(TCO1_CONTROL, control & !TCO1_CONTROL_HALT);
        self.read(TCO1_CONTROL) & TCO1_CONTROL_HALT == 0
    }

    fn read(&self, register: u16) -> u16 {
        let value;
        // SAFETY: the port belongs to the TCO timer of a bridge that is known to have one; nothing else uses it.
        unsafe {
            asm!("in ax, dx", in("dx") self.ports + register, out("ax") value, options(nomem, nostack))
        };
        value
    }

    fn write(&self, register: u16, value: u16) {
        // SAFETY: as for reading.
        unsafe {
            asm!("out dx, ax", in("dx") self.ports + register, in("ax") value, options(nomem, nostack))
        };
    }
}

fn is_known(id: u32) -> bool {
    let device = id >> 16;
    id & 0xffff == VENDOR_INTEL && LPC_BRIDGES.iter().any(|(first, last)| (*first..=*last).contains(&device))
}

/// Reads the bridge's configuration space.
fn config(register: u8) -> u32 {
    let address = CONFIG_LPC_BRIDGE | u32::from(register);
    let value;
    // SAFETY: every PC has the two ports, reading through them changes nothing, and no one else runs.
    unsafe {
        asm!("out dx, eax", in("dx") CONFIG_ADDRESS, in("eax") address, options(nomem, nostack));
        asm!("in eax, dx", in("dx") CONFIG_DATA, out("eax") value, options(nomem, nostack));
    }
    value
}

/// Clears NO_REBOOT; `None` where a strap holds it.
fn allow_reset(rcba: u32) -> Option<()> {
    let gcs: *mut u32 = ptr::with_exposed_provenance_mut(usize::try_from(rcba + GCS).ok()?);
    // SAFETY: the bridge says that its registers are mapped here, UEFI maps memory one to one (UEFI 2.11,
    // section 2.3.4), and Rust has no other object at this address.
    let value = unsafe {
        gcs.write_volatile(gcs.read_volatile() & !GCS_NO_REBOOT);
        gcs.read_volatile()
    };
    (value & GCS_NO_REBOOT == 0).then_some(())
}
