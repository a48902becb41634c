#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zoho_gateway::zoho::accounts_server::fuzzing::answer(data));
