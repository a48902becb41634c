#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zoho_gateway::listener::fuzzing::certificate(data));
