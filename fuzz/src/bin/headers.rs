#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zoho_gateway::middleware::forward::fuzzing::headers(data));
