#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zoho_gateway::middleware::caller::fuzzing::jwt(data));
