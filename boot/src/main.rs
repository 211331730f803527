//! The slot selector: what the firmware starts, and what starts the chosen slot's UKI.
//!
//! It looks at the disk that it was itself loaded from and at no other. It reads BOOTSTATE, lets
//! `bootstate::choose` choose, checks the UKI's hash, writes the record back, leaves word in two volatile EFI
//! variables and starts the UKI from memory. A slot that does not start makes room for the other; when neither
//! does, the machine is reset.
//!
//! It must never use the network, write anything but BOOTSTATE, start what does not match its hash, pass load
//! options (they would replace the UKI's own command line), wait for a person, or power the machine off.
//! Start reading at `selector::run`.
//!
//! On anything but a UEFI target only the library with the GPT reader is built.

#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod console;
#[cfg(target_os = "uefi")]
mod disk;
#[cfg(target_os = "uefi")]
mod handover;
#[cfg(target_os = "uefi")]
mod protocol;
#[cfg(target_os = "uefi")]
mod random;
#[cfg(target_os = "uefi")]
mod selector;
#[cfg(target_os = "uefi")]
mod slots;
#[cfg(target_os = "uefi")]
mod watchdog;

#[cfg(target_os = "uefi")]
#[uefi::entry]
fn main() -> uefi::Status {
    selector::run()
}

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("boot is a UEFI program: build it with --target x86_64-unknown-uefi or aarch64-unknown-uefi");
    std::process::exit(2);
}
