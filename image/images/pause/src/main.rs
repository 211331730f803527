//! Container image: pause
fn main() {}
