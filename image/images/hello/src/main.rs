//! Container image: hello
fn main() {}
