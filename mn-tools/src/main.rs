//! `hearth-mn`.
fn main() {}
