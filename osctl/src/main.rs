//! Command line for Cairn nodes
fn main() {}
