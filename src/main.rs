//! The program: parses the command line, executes it, and reports the result.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use rustix::process::{Resource, Rlimit, setrlimit};
use tikv_jemallocator::Jemalloc;
use zoho_gateway::{cli::Cli, telemetry};

/// Returns memory to the system when the load has gone.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // clap prints usage errors itself and ends with 2.
    let cli = Cli::parse();
    without_core_files();
    let log = telemetry::init_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(&format!("cannot start the runtime: {error}"), 1),
    };
    let outcome = runtime.block_on(cli.execute());
    // A thread may still read a file on a disk that no longer responds; the process does not wait for it.
    runtime.shutdown_background();
    // The log's last lines come before the final message.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended(&failure.to_string(), failure.exit_code()),
    }
}

/// A core file would hold all secrets of the process. If the system forbids this setting, a supervisor may make it.
fn without_core_files() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Writes the final message, independent of the log filter. If it cannot be written, the exit code remains.
fn ended(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "zoho-gateway: {message}");
    ExitCode::from(code)
}
