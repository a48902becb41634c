//! The configuration, read once and as a whole, with every mistake reported.
//!
//! In come a TOML file and the environment, out comes a [`Config`] that needs no further checking, or [`ConfigErrors`]
//! with the place of each mistake. In between:
//!
//! 1. `source` parses the file into a tree that remembers lines and columns,
//! 2. `environment` lays `ZOHO_GATEWAY__...` variables over it,
//! 3. `sections`, `accounts`, `issuers`, `callers`, `overrides` and `calls` ask a `reader` for each key and note what is
//!    wrong.
//!
//! The rooms do not import this module: each is handed its own part. Which keys there are, with their defaults and the
//! reasons, is in `config/gateway.example.toml`, which a test holds to this code.

mod accounts;
mod callers;
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
mod route_fields;
mod scalar;
mod schema;
mod sections;
mod source;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod warnings;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use problem::{ConfigErrors, Origin, Position, Problem};
pub use schema::schema;

use self::{
    credential::{RefreshTokens, Surroundings},
    environment::Variables,
    problem::Findings,
};
use crate::{
    ledger::Limits,
    listener::{ListenAddress, SocketAccess, Timeouts, Tls},
    middleware::{
        caller::{Callers, IssuerSettings},
        token::TokenLimits,
    },
    secret::file_watch,
    upstream::{Egress, ExtraRoots},
    zoho::{
        account::{Account, AccountName},
        catalogue::{Catalogue, Route},
    },
};

/// Room for ten thousands of callers.
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// The variable that sets `admin.listen`.
const ADMIN_LISTEN: &str = "ZOHO_GATEWAY__ADMIN__LISTEN";

/// Everything the gateway is told before it runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where callers come in.
    pub proxy: Proxy,
    /// Where operators look in.
    pub admin: Admin,
    /// What is remembered across restarts.
    pub state: State,
    /// How often the accounts servers may be asked for tokens.
    pub token: TokenLimits,
    /// Waiting for a slot.
    pub queue: Queue,
    /// Calling Zoho.
    pub upstream: Upstream,
    /// Keeping answers.
    pub cache: Cache,
    /// What is written of calls that may have changed something.
    pub audit: Audit,
    /// What to do with calls that the catalogue does not know.
    pub routing: Routing,
    /// The Zoho logins in the order of the file; at least one.
    pub accounts: Vec<Account>,
    /// Who may call; nobody in particular when it is empty.
    pub callers: Callers,
    /// Whose tokens callers may show.
    pub issuers: Vec<IssuerSettings>,
    /// The published catalogue with `[routes]` applied and `[[extra_routes]]` added.
    pub catalogue: Catalogue,
    /// Values that are valid and probably not what was meant, in words for the operator.
    pub doubtful: Vec<String>,
}

impl Config {
    /// The known calls that can be made with this account: all of them, or where callers are told apart, those that one
    /// of its callers is allowed. One that is read_only makes no call that may change something.
    #[must_use]
    pub fn routes_of(&self, account: &AccountName) -> Vec<Route> {
        self.catalogue.routes.iter().filter(|route| self.may_be_called(account, route)).cloned().collect()
    }

    /// The calls that may meet a lock with this account: those that can be made and have a threshold, and the default
    /// routes where unknown calls are let through.
    pub fn throttled_routes_of(&self, account: &AccountName) -> impl Iterator<Item = &Route> {
        let default_routes =
            if self.routing.unknown == UnknownRoute::Limit { self.catalogue.default_routes.as_slice() } else { &[] };
        let routes = self.catalogue.routes.iter().chain(default_routes).filter(|route| route.threshold.is_some());
        routes.filter(|route| self.may_be_called(account, route))
    }

    fn may_be_called(&self, account: &AccountName, route: &Route) -> bool {
        let mut callers = self.callers.callers();
        self.callers.is_empty()
            || callers.any(|caller| {
                let own = &caller.permissions;
                own.covers(account) && own.allows(&route.id) && (!own.read_only || route.may_change_nothing())
            })
    }
}

/// `[proxy]`.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Addresses and Unix sockets, at least one; where callers are anonymous, none that another machine reaches.
    pub listen: Vec<ListenAddress>,
    /// What connections to the addresses are made with; `None`: they are in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Who may connect to those that are Unix sockets.
    pub unix: SocketAccess,
    /// The longest body that is taken, in bytes.
    pub max_body: u64,
    /// The longest form that is taken and read whole, in bytes.
    pub max_form: u64,
    /// How long work in flight may take to end on SIGTERM.
    pub drain: Duration,
    /// How large a head may be, and how long callers may take.
    pub timeouts: Timeouts,
    /// How many callers may be connected at a time, where open files allow as many.
    pub max_connections: usize,
    /// Further names of the gateway, in lower case.
    pub hosts: Vec<String>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// A TCP address that is none of the proxy's.
    pub listen: ListenAddress,
}

/// `[state]`.
#[derive(Debug, Clone)]
pub struct State {
    /// The folder of the state store; `None`: nothing is remembered, as with `run --sandbox`.
    pub dir: Option<PathBuf>,
    /// What an empty folder means.
    pub when_empty: WhenEmpty,
}

/// What it means that the state's folder is empty.
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
    /// The longest wait for a slot of a caller who names none.
    pub max_wait: Duration,
    /// How much may wait, over all routes.
    pub limits: Limits,
}

/// `[upstream]`.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How connections get out.
    pub egress: Egress,
    /// The trust roots of `ca_file`.
    pub extra_roots: ExtraRoots,
}

/// `[cache]`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// How much all kept answers together may hold in memory.
    pub max_bytes: u64,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The file to which its lines go; `None`: where the log goes.
    pub file: Option<PathBuf>,
    /// Whether a line counts as written only when it would outlive a power failure.
    pub fsync: bool,
    /// Whether a write that cannot be recorded is not sent.
    pub required: bool,
}

/// `[routing]`.
#[derive(Debug, Clone)]
pub struct Routing {
    /// What happens to a call that the catalogue does not know.
    pub unknown: UnknownRoute,
    /// What happens to a call that the account's login was not granted.
    pub scopes: ScopeCheck,
}

/// What happens to a call that the account's login was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeCheck {
    /// It is refused before it costs a slot.
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

/// Reads a configuration file with the environment laid over it.
///
/// # Errors
/// Everything that is wrong with it; a file that cannot be read is one [`Problem`] without a line.
pub fn load(path: &Path, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Config, ConfigErrors> {
    let (name, text) = read(path)?;
    validated(&name, path.parent().unwrap_or(Path::new("")), &text, env, RefreshTokens::Needed)
}

/// The same for somebody who is about to get a refresh token: those need not be there yet.
///
/// # Errors
/// Everything else that is wrong with it.
pub fn load_for_login(
    path: &Path,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    let (name, text) = read(path)?;
    validated(&name, path.parent().unwrap_or(Path::new("")), &text, env, RefreshTokens::Awaited)
}

/// Reads a configuration from its text; `name` is what errors call it, and its folder is where relative paths start.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(
    name: &str,
    text: &str,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    validated(name, Path::new(name).parent().unwrap_or(Path::new("")), text, env, RefreshTokens::Needed)
}

/// Where the admin listener listens, by the file's `admin.listen` and the environment. The rest of the file is not
/// judged: a probe looks at the gateway that runs, and not at what the next one would make of the file.
///
/// # Errors
/// What is wrong with that address, or text that is no TOML.
pub fn admin_listen(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ListenAddress, ConfigErrors> {
    let (name, text) = match path {
        Some(path) => read(path)?,
        None => ("the configuration".to_owned(), String::new()),
    };
    let name = Arc::from(name);
    let mut findings = Findings::default();
    let mut tree = source::parse(&name, &text, &mut findings);
    let variables = Variables::new(env.into_iter().filter(|(name, _)| name == ADMIN_LISTEN));
    variables.overlay(&mut tree, &[], &findings);
    let listen = reader::read_root(&name, tree, &findings, |root| {
        let listen = root.section("admin", |section| {
            let listen = sections::admin_listen(section);
            section.discard();
            listen.value
        });
        root.discard();
        listen
    });
    findings.into_result().map(|_| listen)
}

fn read(path: &Path) -> Result<(String, String), Problem> {
    let name = path.display().to_string();
    let problem = |message| {
        let origin = Origin::File { name: Arc::from(name.as_str()), position: None };
        Problem { origin, key: String::new(), message }
    };
    let contents = file_watch::read(path, LONGEST_FILE).map_err(|error| problem(error.to_string()))?;
    let text = str::from_utf8(contents.expose()).map_err(|_| problem("is no UTF-8 text".to_owned()))?.to_owned();
    Ok((name, text))
}

/// Takes the raw form to the validated one.
fn validated(
    name: &str,
    folder: &Path,
    text: &str,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    refresh_tokens: RefreshTokens,
) -> Result<Config, ConfigErrors> {
    let name = Arc::from(name);
    let mut catalogue = Catalogue::published().map_err(|error| Problem {
        origin: Origin::File { name: Arc::clone(&name), position: None },
        key: String::new(),
        message: error.to_string(),
    })?;
    let route_ids: Vec<String> = catalogue.iter().map(|route| route.id.to_string()).collect();

    let variables = Variables::new(env);
    let mut findings = Findings::default();
    let mut tree = source::parse(&name, text, &mut findings);
    variables.overlay(&mut tree, &route_ids, &findings);

    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let around = Surroundings { variables: &variables, folder, refresh_tokens };
    let config = reader::read_root(&name, tree, &findings, |root| {
        // Mistakes in a caller are told where they stand; it is one that is configured all the same.
        let anonymous = !root.holds_any("callers");
        let mut mutual = false;
        let proxy = root.section("proxy", |section| {
            mutual = section.holds("tls", "client_ca");
            sections::proxy(section, anonymous, &around)
        });
        let accounts = accounts::read(root, &around);
        let (issuers, issuer_names) = issuers::read(root, &around);
        let callers = callers::read(root, &accounts, &issuer_names, mutual, &around);
        let mut whereabouts = route_fields::Whereabouts::new();
        overrides::apply(root, &mut catalogue, &mut whereabouts);
        extra_routes::read(root, &mut catalogue, &mut whereabouts);
        extra_routes::contradictions(root, &catalogue, &whereabouts);
        Config {
            admin: root.section("admin", |section| sections::admin(section, &proxy)),
            state: root.section("state", |section| sections::state(section, &around)),
            token: root.section("token", sections::token),
            queue: root.section("queue", sections::queue),
            upstream: root.section("upstream", |section| sections::upstream(section, &around)),
            cache: root.section("cache", sections::cache),
            audit: root.section("audit", |section| sections::audit(section, &around)),
            routing: root.section("routing", sections::routing),
            proxy,
            accounts,
            callers,
            issuers,
            catalogue,
            doubtful: Vec::new(),
        }
    });
    findings.into_result().map(|doubtful| Config { doubtful, ..config })
}
