//! UEFI slot selector
fn main() {}
