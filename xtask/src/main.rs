//! Builds, runs, tests and measures
fn main() {}
