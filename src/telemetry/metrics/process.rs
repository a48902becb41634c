//! The figures of the process, under the names that every Prometheus client uses.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::os::process_usage::ProcessUsage;

/// The series of this process, which started at this moment. Figures that the system does not tell are absent.
pub(super) fn registry(usage: &ProcessUsage, started: SystemTime) -> Registry {
    let mut registry = Registry::with_prefix("process");
    let cpu = Counter::<f64, AtomicU64>::default();
    cpu.inc_by(usage.cpu_time.as_secs_f64());
    registry.register_with_unit("cpu", "Processor time of the process", Unit::Seconds, cpu);
    if let Some(bytes) = usage.resident_bytes {
        let help = "Memory of the process that is in RAM";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, gauge(bytes));
    }
    if let Some(files) = usage.open_files {
        registry.register("open_fds", "Open files and sockets", gauge(files));
    }
    if let Some(files) = usage.max_files {
        registry.register("max_fds", "How many files and sockets may be open", gauge(files));
    }
    let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let help = "When the process started";
    registry.register_with_unit("start_time", help, Unit::Seconds, gauge(started.as_secs()));
    registry
}

fn gauge(value: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}
