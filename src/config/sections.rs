//! The tables with fixed keys: `[proxy]`, `[admin]`, `[state]`, `[token]`, `[queue]`, `[upstream]`, `[cache]`, `[audit]`,
//! `[routing]`.

use std::{
    ffi::OsStr,
    num::NonZeroU32,
    ops::RangeInclusive,
    os::unix::net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Admin, Audit, Cache, ListenAddress, Proxy, Queue, Routing, ScopeCheck, State, UnknownRoute, Upstream, WhenEmpty,
    credential::Surroundings,
    defaults, egress, path,
    reader::{Located, Section},
    tls, unix,
};
use crate::{
    ledger::Limits,
    listener::{HeadLimits, ListenAddressError, Timeouts},
    middleware::token::TokenLimits,
    upstream::ExtraRoots,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Up to what is still held in memory without thought.
const BODIES: RangeInclusive<u64> = 1..=1024 * 1024 * 1024;

/// Below that Zoho's own sample calls would not fit; above it hyper's buffer ends.
const HEAD_BYTES: RangeInclusive<u64> = 1024..=256 * 1024;

/// A browser sends some twenty fields, and a mesh adds a dozen.
const HEAD_FIELDS: RangeInclusive<u32> = 8..=1000;

/// None would be no gateway.
const CONNECTIONS: RangeInclusive<u32> = 1..=1_000_000;

/// Zero gives up at once; more than an hour is a mistake in the unit.
const PATIENCE: RangeInclusive<Duration> = Duration::ZERO..=HOUR;

/// Zero would let no connection through.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=HOUR;

/// Zero lets nobody wait; a million waiting calls take some hundreds of megabytes.
const PLACES: RangeInclusive<u32> = 0..=1_000_000;

/// A kibibyte holds one small call; beyond some gibibytes the machine is the limit.
const WAITING_BYTES: RangeInclusive<u64> = 1024..=16 * 1024 * 1024 * 1024;

/// Zoho answers ten; a simulated Zoho may answer more.
const TOKEN_REQUESTS: RangeInclusive<u32> = 1..=1000;

/// Zoho's is ten minutes; shorter ones are for tests.
const TOKEN_WINDOWS: RangeInclusive<Duration> = Duration::from_millis(1)..=HOUR;

/// The longest answer that is kept takes a mebibyte; beyond some gibibytes the machine is the limit.
const CACHE_BYTES: RangeInclusive<u64> = 1024 * 1024..=16 * 1024 * 1024 * 1024;

const AN_ADDRESS: &str = "an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\"";

/// Reads `[proxy]`. Callers who are `anonymous` are let in only where no other machine gets.
pub(super) fn proxy(section: &mut Section<'_>, anonymous: bool, around: &Surroundings<'_>) -> Proxy {
    let listen = section.list("listen", AN_ADDRESS, |text| {
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
                "stands there twice"
            } else {
                "has the port and an address of another entry: expected a port of its own"
            };
            section.wrong("listen", &origin, fault);
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        addresses.push(defaults::proxy_listen());
    }
    let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    if let Some(origin) = section.whereabouts("unix").filter(|_| !addresses.iter().any(is_unix)) {
        section.wrong("unix", &origin, "is for Unix sockets, and proxy.listen has none");
    }
    if let Some(origin) = section.whereabouts("tls").filter(|_| addresses.iter().all(is_unix)) {
        section.wrong("tls", &origin, "is for TCP, and proxy.listen has only Unix sockets");
    }
    let max_body = section.size("max_body", BODIES).unwrap_or(defaults::MAX_BODY);
    Proxy {
        listen: addresses,
        tls: tls::read(section, around),
        unix: section.section("unix", unix::access),
        max_body,
        max_form: section.size("max_form", BODIES).unwrap_or(defaults::MAX_FORM),
        drain: section.duration("drain", PATIENCE).unwrap_or(defaults::DRAIN),
        timeouts: timeouts(section, max_body),
        max_connections: section.integer("max_connections", CONNECTIONS).unwrap_or(defaults::MAX_CONNECTIONS) as usize,
        hosts: hosts(section),
    }
}

/// An address, a socket's path starting at `folder`.
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
    let bytes = section.size("max_header_bytes", HEAD_BYTES).unwrap_or(defaults::MAX_HEADER_BYTES);
    let fields = section.integer("max_headers", HEAD_FIELDS).unwrap_or(defaults::MAX_HEADERS);
    Timeouts {
        // Within the range, which any machine's usize holds.
        head: HeadLimits { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), fields: fields as usize },
        max_body,
        header_timeout: section.duration("header_timeout", TIMEOUTS).unwrap_or(defaults::HEADER_TIMEOUT),
        body_timeout: section.duration("body_timeout", TIMEOUTS).unwrap_or(defaults::BODY_TIMEOUT),
        send_timeout: section.duration("send_timeout", TIMEOUTS).unwrap_or(defaults::SEND_TIMEOUT),
        idle_timeout: section.duration("idle_timeout", TIMEOUTS).unwrap_or(defaults::IDLE_TIMEOUT),
    }
}

fn hosts(section: &mut Section<'_>) -> Vec<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = |name: &str| match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err("expected a host's name alone, without scheme, port and path"),
    };
    let names = section.list("hosts", "a host's name such as \"zoho-gateway\"", name).into_iter().flatten();
    names.map(|found| found.value).collect()
}

/// Reads `[admin]`, which may not share an address with the proxy.
pub(super) fn admin(section: &mut Section<'_>, proxy: &Proxy) -> Admin {
    let (listen, origin) = match admin_listen(section) {
        Some(found) => (found.value, found.origin),
        None => (defaults::admin_listen(), section.origin().clone()),
    };
    if proxy.listen.iter().any(|address| address.overlaps(&listen)) {
        let message = "expected a port of its own: proxy.listen has this port on the same address, or on one that \
                       includes the other";
        section.wrong("listen", &origin, message);
    }
    Admin { listen }
}

/// Reads the address of `[admin]`.
pub(super) fn admin_listen(section: &mut Section<'_>) -> Option<Located<ListenAddress>> {
    section.parsed("listen", "an address such as \"127.0.0.1:9090\"", |text| {
        let address: ListenAddress = text.parse().map_err(|error| format!("{error}"))?;
        match address {
            ListenAddress::Tcp { .. } => Ok(address),
            ListenAddress::Unix(_) => Err("expected a TCP address such as \"127.0.0.1:9090\"".to_owned()),
        }
    })
}

/// Reads `[state]`.
pub(super) fn state(section: &mut Section<'_>, around: &Surroundings<'_>) -> State {
    let dir = section.path("dir", "a path", |path| match path {
        "" => Err("expected the path of a folder"),
        path => Ok(around.folder.join(path)),
    });
    let words = [("fresh", WhenEmpty::Fresh), ("assume_lost", WhenEmpty::AssumeLost)];
    State {
        dir: Some(dir.map_or_else(|| default_state_dir(around), |found| found.value)),
        when_empty: section.choice("when_empty", &words).unwrap_or(defaults::WHEN_EMPTY),
    }
}

/// Where the supervisor says that state belongs (systemd's StateDirectory=, the container image), otherwise beside the
/// configuration. The file wins over both, so that what it says is what holds.
fn default_state_dir(around: &Surroundings<'_>) -> PathBuf {
    let given = around.variables.value(defaults::STATE_DIRECTORY).and_then(OsStr::to_str);
    let given = given.and_then(|paths| paths.split(':').next()).map(Path::new).filter(|path| path.is_absolute());
    given.map_or_else(|| around.folder.join(defaults::STATE_DIR), Path::to_owned)
}

/// Reads `[token]`.
pub(super) fn token(section: &mut Section<'_>) -> TokenLimits {
    let requests =
        section.integer("requests", TOKEN_REQUESTS).and_then(NonZeroU32::new).unwrap_or(defaults::TOKEN_REQUESTS);
    let origin = section.whereabouts("reserve").unwrap_or_else(|| section.origin().clone());
    let reserve = section.integer("reserve", 0..=TOKEN_REQUESTS.end() - 1);
    if reserve.is_some_and(|reserve| reserve >= requests.get()) {
        section.wrong("reserve", &origin, format!("expected less than the {requests} requests that it is a part of"));
    }
    TokenLimits {
        requests,
        window: section.duration("window", TOKEN_WINDOWS).unwrap_or(defaults::TOKEN_WINDOW),
        // Of very few requests nothing can be kept back.
        reserve: reserve.unwrap_or(defaults::TOKEN_RESERVE.min(requests.get() - 1)),
    }
}

/// Reads `[queue]`.
pub(super) fn queue(section: &mut Section<'_>) -> Queue {
    let max_waiting = section.integer("max_waiting", PLACES).unwrap_or(defaults::MAX_WAITING);
    let bytes = section.size("max_waiting_bytes", WAITING_BYTES).unwrap_or(defaults::MAX_WAITING_BYTES);
    let per_caller = section.integer("max_waiting_per_caller", PLACES);
    Queue {
        max_wait: section.duration("max_wait", PATIENCE).unwrap_or(defaults::MAX_WAIT),
        limits: Limits {
            calls: max_waiting as usize,
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            // All of the places: who is alone may use them.
            calls_per_caller: per_caller.unwrap_or(max_waiting) as usize,
        },
    }
}

/// Reads `[upstream]`.
pub(super) fn upstream(section: &mut Section<'_>, around: &Surroundings<'_>) -> Upstream {
    Upstream {
        connect_timeout: section.duration("connect_timeout", TIMEOUTS).unwrap_or(defaults::CONNECT_TIMEOUT),
        timeout: section.duration("timeout", TIMEOUTS).unwrap_or(defaults::TIMEOUT),
        egress: egress::read(section, around),
        extra_roots: extra_roots(section, around),
    }
}

/// Reads the trust roots of `ca_file`; none without it.
pub(super) fn extra_roots(section: &mut Section<'_>, around: &Surroundings<'_>) -> ExtraRoots {
    let roots = section.path("ca_file", "a path", |path| around.in_file(path, ExtraRoots::in_file));
    roots.map(|found| found.value.1).unwrap_or_default()
}

/// Reads `[cache]`.
pub(super) fn cache(section: &mut Section<'_>) -> Cache {
    Cache { max_bytes: section.size("max_bytes", CACHE_BYTES).unwrap_or(defaults::CACHE_BYTES) }
}

/// Reads `[audit]`.
pub(super) fn audit(section: &mut Section<'_>, around: &Surroundings<'_>) -> Audit {
    let fsync_alone = section.whereabouts("fsync").filter(|_| section.whereabouts("file").is_none());
    let file = section.path("file", "a path", |path| {
        let file = around.folder.join(path);
        match path {
            "" => Err("expected the path of a file"),
            _ if file.is_dir() => Err("expected the path of a file, found that of a folder"),
            _ if !file.parent().is_some_and(Path::is_dir) => Err("expected a path in a folder that is there"),
            _ => Ok(file),
        }
    });
    let fsync = section.boolean("fsync").unwrap_or(defaults::AUDIT_FSYNC);
    if let Some(origin) = fsync_alone.filter(|_| fsync) {
        section.wrong("fsync", &origin, "is for a file: set audit.file too");
    }
    let required = section.boolean("required").unwrap_or(defaults::AUDIT_REQUIRED);
    Audit { file: file.map(|found| found.value), fsync, required }
}

/// Reads `[routing]`.
pub(super) fn routing(section: &mut Section<'_>) -> Routing {
    let words = [("limit", UnknownRoute::Limit), ("deny", UnknownRoute::Deny)];
    let checks = [("check", ScopeCheck::Check), ("off", ScopeCheck::Off)];
    Routing {
        unknown: section.choice("unknown", &words).unwrap_or(defaults::UNKNOWN),
        scopes: section.choice("scopes", &checks).unwrap_or(defaults::SCOPES),
    }
}
