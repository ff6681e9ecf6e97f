#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code)] // each target has one of them
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::ndjson(bytes));
