//! The disks of this computer: what each is, what lies on it and what uses it. Only reads sysfs and /proc.

mod inventory;
mod refusal;
mod usage;

pub use inventory::{Disk, Inventory};
pub use refusal::{Consent, judge};
