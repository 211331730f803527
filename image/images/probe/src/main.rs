//! Container image: probe
fn main() {}
