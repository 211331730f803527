//! Mutual-TLS API daemon
fn main() {}
