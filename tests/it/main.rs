//! The integration tests: the real program against the simulated Zoho.
