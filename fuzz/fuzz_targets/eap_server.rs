#![no_main]

#[path = "../eap_server.rs"]
mod eap_server;

libfuzzer_sys::fuzz_target!(|data: &[u8]| eap_server::eap_server(data));
