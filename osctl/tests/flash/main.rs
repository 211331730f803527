//! `osctl flash` by the real binary: onto files for everyone, onto loop devices for root.

mod disks;
mod images;
mod rig;
