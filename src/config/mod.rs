//! The configuration, read once and as a whole, with every mistake reported.
//!
//! The input is a TOML file and the environment. The result is a [`Config`] that needs no further checks, or
//! [`ConfigErrors`] with the position of each mistake. In three steps:
//!
//! 1. `source` parses the file into a tree that remembers lines and columns,
//! 2. `environment` puts the `ZOHO_GATEWAY__...` variables into it,
//! 3. `sections`, `state`, `accounts`, `issuers`, `callers`, `overrides` and `extra_routes` take each key from a `reader`
//!    and note what is wrong.
//!
//! `keys` has all keys as data. Layers do not import this module: each receives its own part.

mod accounts;
mod callers;
mod changes;
mod credential;
mod egress;
mod environment;
mod extra_routes;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod issuers;
mod keys;
mod nearest;
mod overrides;
mod path;
mod placeholder;
mod problem;
mod quantity;
mod reader;
mod reserves;
mod route_fields;
mod scalar;
mod schema;
mod sections;
mod shares;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod warnings;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use changes::{SetKeys, concern};
pub use environment::Overrides;
pub use problem::{ConfigErrors, Origin, Position, Problem};
pub use schema::schema;

use self::{
    credential::{RefreshTokens, Surroundings},
    problem::Findings,
};
use crate::{
    ledger::Limits,
    listener::{ListenAddress, SocketAccess, Timeouts, Tls},
    middleware::{
        caller::{Callers, IssuerSettings},
        jobs,
        token::TokenLimits,
    },
    redis::Settings,
    secret::{SecretBytes, file_watch},
    telemetry::{LogFormat, LogLevel},
    upstream::{Egress, ExtraRoots},
    zoho::{
        account::{Account, AccountName},
        catalogue::{Catalogue, Route, Validation},
    },
};

/// Enough for ten thousands of callers.
pub const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// The path that means standard input.
const STDIN: &str = "-";

/// The beginning of the variables for `[admin]`.
const OF_ADMIN: &str = "ZOHO_GATEWAY__ADMIN__";

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener for callers.
    pub proxy: Proxy,
    /// The listener for operators.
    pub admin: Admin,
    /// The state store.
    pub state: State,
    /// The limits of token requests.
    pub token: TokenLimits,
    /// Waiting for a slot.
    pub queue: Queue,
    /// Calls that outlive their request.
    pub jobs: jobs::Settings,
    /// Calling Zoho.
    pub upstream: Upstream,
    /// The response cache.
    pub cache: Cache,
    /// The log.
    pub log: Log,
    /// The audit of calls that may have changed something.
    pub audit: Audit,
    /// What to do with calls that the catalogue does not know.
    pub routing: Routing,
    /// The Zoho logins in the order of the file; at least one.
    pub accounts: Vec<Account>,
    /// Who may call; empty: callers are anonymous.
    pub callers: Callers,
    /// Who issues callers' tokens.
    pub issuers: Vec<IssuerSettings>,
    /// The published catalogue with `[routes]` applied and `[[extra_routes]]` added.
    pub catalogue: Catalogue,
    /// Warnings about values that are valid and probably not meant.
    pub doubtful: Vec<String>,
    /// The keys that were set.
    pub keys: SetKeys,
}

impl Config {
    /// The known routes that some caller may use with this account; all of them if callers are anonymous. A read_only
    /// caller may use none that may change something.
    #[must_use]
    pub fn routes_of(&self, account: &AccountName) -> Vec<Route> {
        self.catalogue.routes.iter().filter(|route| self.may_be_called(account, route)).cloned().collect()
    }

    /// The routes of this account that may be locked: those with a threshold, with the default routes if unknown calls
    /// are allowed.
    pub fn throttled_routes_of(&self, account: &AccountName) -> impl Iterator<Item = &Route> {
        let default_routes =
            if self.routing.unknown == UnknownRoute::Limit { self.catalogue.default_routes.as_slice() } else { &[] };
        let routes = self.catalogue.routes.iter().chain(default_routes).filter(|route| route.threshold.is_some());
        routes.filter(|route| self.may_be_called(account, route))
    }

    fn may_be_called(&self, account: &AccountName, route: &Route) -> bool {
        let mut callers = self.callers.callers();
        self.callers.is_empty() || callers.any(|caller| caller.permissions.permit(account, route))
    }
}

/// `[proxy]`.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Addresses and Unix sockets, at least one. If callers are anonymous, other machines reach none of them.
    pub listen: Vec<ListenAddress>,
    /// TLS for connections to the addresses; `None`: they are in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Who may connect to the Unix sockets.
    pub unix: SocketAccess,
    /// The longest body, in bytes.
    pub max_body: u64,
    /// The longest form, in bytes.
    pub max_form: u64,
    /// How long work in flight may take to end on SIGTERM.
    pub drain: Duration,
    /// The limits of a request's head, and how long callers may take.
    pub timeouts: Timeouts,
    /// How many callers may be connected at a time, if the limit of open files allows it.
    pub max_connections: usize,
    /// More names of the gateway, in lower case.
    pub hosts: Vec<String>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// A TCP address, different from the proxy's.
    pub listen: ListenAddress,
    /// The operators' keys, as those of one caller; empty: nobody needs one.
    pub keys: Callers,
    /// TLS for its connections; `None`: they are in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Whether a request may end the gateway.
    pub quitquitquit: bool,
}

/// Where a running gateway's admin listener is.
#[derive(Debug, Clone)]
pub struct AdminAddress {
    /// The address.
    pub listen: ListenAddress,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// `[state]`.
#[derive(Debug, Clone)]
pub struct State {
    /// The folder of the state store; `None`: nothing is stored, as with `run --sandbox`.
    pub dir: Option<PathBuf>,
    /// What an empty folder means, and an empty Redis.
    pub when_empty: WhenEmpty,
    /// The server through which gateways share one ledger.
    pub redis: Option<SharedState>,
}

/// The keys of `[state]` for a ledger that gateways share.
#[derive(Debug, Clone)]
pub struct SharedState {
    /// The server.
    pub settings: Settings,
    /// How long a gateway may use its slots after it last reached the server.
    pub lease: Duration,
}

/// The meaning of an empty state folder or Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEmpty {
    /// This is a first start: nothing was sent before.
    Fresh,
    /// The state was lost: every slot may have been used just now.
    AssumeLost,
}

/// `[queue]`.
#[derive(Debug, Clone)]
pub struct Queue {
    /// The longest wait for a slot, unless the caller sets one.
    pub max_wait: Duration,
    /// The longest wait that a caller may set.
    pub max_preferred_wait: Duration,
    /// How many calls may wait, over all routes.
    pub limits: Limits,
}

/// `[upstream]`.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The proxy for connections.
    pub egress: Egress,
    /// The trust roots of `ca_file`.
    pub extra_roots: ExtraRoots,
}

/// `[cache]`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// How much memory all cached answers together may take.
    pub max_bytes: u64,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// The form of the lines.
    pub format: LogFormat,
    /// What is logged, unless `RUST_LOG` says so.
    pub level: LogLevel,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The file for its lines; `None`: they go where the log goes.
    pub file: Option<PathBuf>,
    /// Whether a line has to be on the disk before its call goes on.
    pub fsync: bool,
    /// Whether a write is refused if it cannot be recorded.
    pub required: bool,
}

/// `[routing]`.
#[derive(Debug, Clone)]
pub struct Routing {
    /// What happens to a call that the catalogue does not know.
    pub unknown: UnknownRoute,
    /// What happens to a call for which the login lacks the scope.
    pub scopes: ScopeCheck,
    /// How strictly payloads are checked, unless a route says something else.
    pub validate: Validation,
}

/// What happens to a call for which the login lacks the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeCheck {
    /// It is refused before it takes a slot.
    Check,
    /// Zoho decides.
    Off,
}

/// What happens to a call that the catalogue does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownRoute {
    /// It is sent under the threshold of its product's default route.
    Limit,
    /// It is refused.
    Deny,
}

/// Reads a configuration file and what overrides it. The file `-` is standard input.
///
/// # Errors
/// All mistakes; a file that cannot be read is one [`Problem`] without a line.
pub fn load(path: &Path, overrides: impl Into<Overrides>) -> Result<Config, ConfigErrors> {
    let (name, text) = read(path)?;
    validated(&name, path.parent().unwrap_or(Path::new("")), &text, &overrides.into(), RefreshTokens::Needed)
}

/// The same before a login: refresh tokens may be missing.
///
/// # Errors
/// All other mistakes.
pub fn load_for_login(path: &Path, overrides: impl Into<Overrides>) -> Result<Config, ConfigErrors> {
    let (name, text) = read(path)?;
    validated(&name, path.parent().unwrap_or(Path::new("")), &text, &overrides.into(), RefreshTokens::Awaited)
}

/// Reads a configuration from its text. Errors call it `name`, and relative paths start at the folder of that name.
///
/// # Errors
/// All mistakes.
pub fn parse(name: &str, text: &str, overrides: impl Into<Overrides>) -> Result<Config, ConfigErrors> {
    validated(name, Path::new(name).parent().unwrap_or(Path::new("")), text, &overrides.into(), RefreshTokens::Needed)
}

/// The address of the admin listener, from the file and the environment. The rest of the file is not checked: a probe is
/// for the gateway that runs, which may have started with another file.
///
/// # Errors
/// A mistake in that address, or in the syntax of the file.
pub fn admin_address(path: Option<&Path>, overrides: impl Into<Overrides>) -> Result<AdminAddress, ConfigErrors> {
    let (name, text) = match path {
        Some(path) => read(path)?,
        None => ("the configuration".to_owned(), String::new()),
    };
    let name = Arc::from(name);
    let mut findings = Findings::default();
    let mut tree = source::parse(&name, &text, &mut findings);
    overrides.into().only(OF_ADMIN).overlay(&mut tree, &[], &findings);
    let listen = reader::read_root(&name, tree, &findings, |root| {
        let listen = root.section("admin", |section| {
            let listen = sections::admin_listen(section).value;
            let tls = section.whereabouts("tls").is_some();
            section.discard();
            AdminAddress { listen, tls }
        });
        root.discard();
        listen
    });
    findings.into_result().map(|_| listen)
}

fn read(path: &Path) -> Result<(String, String), Problem> {
    let name = if path == Path::new(STDIN) { "<stdin>".to_owned() } else { path.display().to_string() };
    let problem = |message| {
        let origin = Origin::File { name: Arc::from(name.as_str()), position: None };
        Problem { origin, key: String::new(), message }
    };
    let contents = match path == Path::new(STDIN) {
        true => read_stdin().map_err(|error| problem(error.to_string())),
        false => file_watch::read(path, LONGEST_FILE).map_err(|error| problem(error.to_string())),
    }?;
    let text = str::from_utf8(contents.expose()).map_err(|_| problem("is not UTF-8 text".to_owned()))?.to_owned();
    Ok((name, text))
}

fn read_stdin() -> io::Result<SecretBytes> {
    let mut contents = Vec::new();
    let read = io::stdin().lock().take(LONGEST_FILE + 1).read_to_end(&mut contents);
    let contents = SecretBytes::new(contents);
    if read? as u64 > LONGEST_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(contents) }
}

/// Parses and validates a configuration.
fn validated(
    name: &str,
    folder: &Path,
    text: &str,
    variables: &Overrides,
    refresh_tokens: RefreshTokens,
) -> Result<Config, ConfigErrors> {
    let name = Arc::from(name);
    let mut catalogue = Catalogue::published().map_err(|error| Problem {
        origin: Origin::File { name: Arc::clone(&name), position: None },
        key: String::new(),
        message: error.to_string(),
    })?;
    let route_ids: Vec<String> = catalogue.iter().map(|route| route.id.to_string()).collect();

    let mut findings = Findings::default();
    let mut tree = source::parse(&name, text, &mut findings);
    variables.overlay(&mut tree, &route_ids, &findings);
    let keys = SetKeys::of(&tree);

    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let around = Surroundings { variables, folder, refresh_tokens };
    let (mut shares, mut terms) = (Vec::new(), Vec::new());
    let config = reader::read_root(&name, tree, &findings, |root| {
        // A caller with mistakes counts too: the mistakes have their own messages.
        let anonymous = !root.holds_any("callers");
        let mut mutual = false;
        let proxy = root.section("proxy", |section| {
            mutual = section.holds("tls", "client_ca");
            sections::proxy(section, anonymous, &around)
        });
        let (accounts, located) = accounts::read(root, &around);
        shares = located;
        let (issuers, issuer_names) = issuers::read(root, &around);
        let (callers, located) = callers::read(root, &accounts, &issuer_names, mutual, &around);
        terms = located;
        let routing = root.section("routing", sections::routing);
        catalogue.validate(routing.validate);
        let mut whereabouts = route_fields::Whereabouts::new();
        overrides::apply(root, &mut catalogue, &mut whereabouts);
        extra_routes::read(root, &mut catalogue, &mut whereabouts);
        extra_routes::contradictions(root, &catalogue, &whereabouts);
        Config {
            admin: root.section("admin", |section| sections::admin(section, &proxy, &around)),
            state: root.section("state", |section| state::read(section, &around)),
            token: root.section("token", sections::token),
            queue: root.section("queue", sections::queue),
            jobs: root.section("jobs", sections::jobs),
            upstream: root.section("upstream", |section| sections::upstream(section, &around)),
            cache: root.section("cache", sections::cache),
            log: root.section("log", sections::log),
            audit: root.section("audit", |section| sections::audit(section, &around)),
            routing,
            proxy,
            accounts,
            callers,
            issuers,
            catalogue,
            doubtful: Vec::new(),
            keys,
        }
    });
    shares.iter().for_each(|share| share.check(&config, &findings));
    reserves::check(&terms, &config, &findings);
    findings.into_result().map(|doubtful| Config { doubtful, ..config })
}
