//! Node controllers
fn main() {}
