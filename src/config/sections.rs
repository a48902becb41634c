//! The tables with fixed keys: `[proxy]`, `[admin]`, `[token]`, `[queue]`, `[jobs]`, `[upstream]`, `[cache]`, `[log]`,
//! `[audit]`, `[routing]`.

use std::{num::NonZeroU32, os::unix::net::SocketAddr, path::Path, time::Duration};

use super::{
    Admin, Audit, Cache, ListenAddress, Log, Proxy, Queue, Routing, Upstream, callers,
    credential::Surroundings,
    egress, path,
    reader::{Located, Section},
    tls, unix,
};
use crate::{
    ledger::Limits,
    listener::{HeadLimits, ListenAddressError, Timeouts},
    middleware::{jobs, token::TokenLimits},
    telemetry::{LogLevel, NoLogLevel},
    upstream::ExtraRoots,
};

/// Reads `[proxy]`. If callers are `anonymous`, no address may be reachable from other machines.
pub(super) fn proxy(section: &mut Section<'_>, anonymous: bool, around: &Surroundings<'_>) -> Proxy {
    let listen = section.list("listen", |text| {
        let address = address(text, around.folder)?;
        if anonymous && !address.is_local() {
            return Err("expected a loopback address (127.0.0.0/8, ::1, localhost) or a Unix socket: callers are \
                        anonymous, and anonymous callers are allowed only there; to listen on a network, configure \
                        who may call: [callers.NAME]"
                .to_owned());
        }
        let advice = text.strip_prefix("unix:").and_then(path::advice);
        Ok((address, advice))
    });
    let mut addresses: Vec<ListenAddress> = Vec::new();
    for Located { value: (address, advice), origin } in listen.into_iter().flatten() {
        if let Some(advice) = advice {
            section.doubtful("listen", &origin, advice);
        }
        if let Some(other) = addresses.iter().find(|other| other.overlaps(&address)) {
            let fault = if *other == address {
                "is listed twice"
            } else {
                "has the port and an address of another entry: expected a port of its own"
            };
            section.wrong("listen", &origin, fault);
        }
        addresses.push(address);
    }
    let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    if let Some(origin) = section.whereabouts("unix").filter(|_| !addresses.iter().any(is_unix)) {
        section.wrong("unix", &origin, "is for Unix sockets, and proxy.listen has none");
    }
    if let Some(origin) = section.whereabouts("tls").filter(|_| addresses.iter().all(is_unix)) {
        section.wrong("tls", &origin, "is for TCP, and proxy.listen has only Unix sockets");
    }
    let max_body = section.value("max_body");
    Proxy {
        listen: addresses,
        tls: tls::read(section, around),
        unix: section.section("unix", unix::access),
        max_body,
        max_form: section.value("max_form"),
        drain: section.value("drain"),
        timeouts: timeouts(section, max_body),
        max_connections: section.value("max_connections"),
        hosts: hosts(section),
    }
}

/// An address. The path of a socket starts at `folder`.
fn address(text: &str, folder: &Path) -> Result<ListenAddress, String> {
    let address = text.parse().map_err(|error: ListenAddressError| error.to_string())?;
    let ListenAddress::Unix(path) = address else { return Ok(address) };
    let path = folder.join(path);
    match SocketAddr::from_pathname(&path) {
        Ok(_) => Ok(ListenAddress::Unix(path)),
        Err(_) => Err(format!("{}, together with the folder that it starts at", ListenAddressError::Path)),
    }
}

fn timeouts(section: &mut Section<'_>, max_body: u64) -> Timeouts {
    Timeouts {
        head: HeadLimits { bytes: section.value("max_header_bytes"), fields: section.value("max_headers") },
        max_body,
        header_timeout: section.value("header_timeout"),
        body_timeout: section.value("body_timeout"),
        send_timeout: section.value("send_timeout"),
        idle_timeout: section.value("idle_timeout"),
    }
}

fn hosts(section: &mut Section<'_>) -> Vec<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = |name: &str| match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err("expected a host's name alone, without scheme, port and path"),
    };
    let names = section.list("hosts", name).into_iter().flatten();
    names.map(|found| found.value).collect()
}

/// Reads `[admin]`, which may not share an address with the proxy.
pub(super) fn admin(section: &mut Section<'_>, proxy: &Proxy, around: &Surroundings<'_>) -> Admin {
    let Located { value: listen, origin } = admin_listen(section);
    if proxy.listen.iter().any(|address| address.overlaps(&listen)) {
        let message = "expected a port of its own: proxy.listen has this port on the same address, or on one that \
                       includes the other";
        section.wrong("listen", &origin, message);
    }
    let keys = callers::operators(section, around);
    Admin { listen, keys, tls: tls::read(section, around), quitquitquit: section.value("quitquitquit") }
}

/// Reads the address of `[admin]`.
pub(super) fn admin_listen(section: &mut Section<'_>) -> Located<ListenAddress> {
    let listen = section.parsed("listen", |text| {
        let address: ListenAddress = text.parse().map_err(|error| format!("{error}"))?;
        match address {
            ListenAddress::Tcp { .. } => Ok(address),
            ListenAddress::Unix(_) => Err("expected a TCP address such as \"127.0.0.1:9090\"".to_owned()),
        }
    });
    listen.expect("`keys` has a valid default")
}

/// Reads `[token]`.
pub(super) fn token(section: &mut Section<'_>) -> TokenLimits {
    let requests: NonZeroU32 = section.value("requests");
    let (origin, reserve) = (section.whereabouts("reserve"), section.given("reserve"));
    if let Some(origin) = origin.filter(|_| reserve >= Some(requests.get())) {
        section.wrong("reserve", &origin, format!("expected less than the {requests} requests that it is a part of"));
    }
    let reserve: u32 = reserve.unwrap_or_else(|| section.value("reserve"));
    // The default may be too much for very few requests.
    TokenLimits { requests, window: section.value("window"), reserve: reserve.min(requests.get() - 1) }
}

/// Reads `[queue]`.
pub(super) fn queue(section: &mut Section<'_>) -> Queue {
    let calls = section.value("max_waiting");
    let bytes = section.value("max_waiting_bytes");
    let calls_per_caller = section.given("max_waiting_per_caller").unwrap_or(calls);
    let max_wait: Duration = section.value("max_wait");
    let (origin, longest) = (section.whereabouts("max_preferred_wait"), section.given("max_preferred_wait"));
    if let Some(origin) = origin.filter(|_| longest.is_some_and(|longest| longest < max_wait)) {
        let least = max_wait.as_secs_f64();
        section.wrong("max_preferred_wait", &origin, format!("expected at least queue.max_wait, which is {least} s"));
    }
    let max_preferred_wait = longest.unwrap_or_else(|| section.value("max_preferred_wait"));
    Queue { max_wait, max_preferred_wait, limits: Limits { calls, bytes, calls_per_caller } }
}

/// Reads `[jobs]`.
pub(super) fn jobs(section: &mut Section<'_>) -> jobs::Settings {
    jobs::Settings {
        max_wait: section.value("max_wait"),
        keep: section.value("keep"),
        max_jobs: section.value("max_jobs"),
        max_bytes: section.value("max_bytes"),
        max_answer: section.value("max_answer"),
    }
}

/// Reads `[upstream]`.
pub(super) fn upstream(section: &mut Section<'_>, around: &Surroundings<'_>) -> Upstream {
    Upstream {
        connect_timeout: section.value("connect_timeout"),
        timeout: section.value("timeout"),
        egress: egress::read(section, around),
        extra_roots: extra_roots(section, "ca_file", around),
    }
}

/// Reads the trust roots of a file; none without it.
pub(super) fn extra_roots(section: &mut Section<'_>, key: &'static str, around: &Surroundings<'_>) -> ExtraRoots {
    let roots = section.path(key, |path| around.in_file(path, ExtraRoots::in_file));
    roots.map(|found| found.value.1).unwrap_or_default()
}

/// Reads `[cache]`.
pub(super) fn cache(section: &mut Section<'_>) -> Cache {
    Cache { max_bytes: section.value("max_bytes") }
}

/// Reads `[log]`.
pub(super) fn log(section: &mut Section<'_>) -> Log {
    let level = section.parsed("level", |text| text.parse::<LogLevel>().map_err(|error: NoLogLevel| error.to_string()));
    Log { format: section.value("format"), level: level.expect("`keys` has a valid default").value }
}

/// Reads `[audit]`.
pub(super) fn audit(section: &mut Section<'_>, around: &Surroundings<'_>) -> Audit {
    let fsync_alone = section.whereabouts("fsync").filter(|_| section.whereabouts("file").is_none());
    let file = section.path("file", |path| {
        let file = around.folder.join(path);
        match path {
            "" => Err("expected the path of a file"),
            _ if file.is_dir() => Err("expected the path of a file, found that of a folder"),
            _ if !file.parent().is_some_and(Path::is_dir) => Err("expected a path in a folder that is there"),
            _ => Ok(file),
        }
    });
    let fsync = section.value("fsync");
    if let Some(origin) = fsync_alone.filter(|_| fsync) {
        section.wrong("fsync", &origin, "is for a file: set audit.file too");
    }
    Audit { file: file.map(|found| found.value), fsync, required: section.value("required") }
}

/// Reads `[routing]`.
pub(super) fn routing(section: &mut Section<'_>) -> Routing {
    Routing { unknown: section.value("unknown"), scopes: section.value("scopes"), validate: section.value("validate") }
}
