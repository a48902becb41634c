//! `check`: all that can be known about a configuration without running it.

use std::{fmt::Write, os::unix::fs::FileTypeExt, path::Path};

use rustix::process::getuid;

use super::{Failure, load, login::command::scopes_told, print, routes::shared, tell};
use crate::{
    config::{Config, SharedState},
    ledger::store::Store,
    listener::ListenAddress,
    middleware::{
        route::Matcher,
        token::{Grants, TokenLimits},
    },
    os::writable,
    problem::respond,
    redis::{Redis, Settings},
    telemetry, upstream,
    zoho::{account::Account, product::Product, scope},
};

pub(super) async fn check(path: &Path, online: bool, list_scopes: bool) -> Result<(), Failure> {
    let config = load(path)?;
    Matcher::new(&config.catalogue).map_err(|error| Failure::Run(error.to_string()))?;
    print(&summary(&config))?;
    for warning in config.warnings() {
        tell(&format!("warning: {warning}\n"))?;
    }
    for missing in missing_socket_folders(&config) {
        tell(&format!("warning: {missing}\n"))?;
    }
    let mut faults = faults_of_paths(&config);
    if !online {
        return ended(&faults);
    }
    if let Some(SharedState { settings, .. }) = &config.state.redis {
        let topology = &settings.topology;
        let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        match Redis::new(settings.clone()).probe(&accounts).await {
            Ok(()) => print(&format!("redis: {topology} is fit for a shared ledger\n"))?,
            Err(error) => faults.push(format!("state.redis: {topology} {error}")),
        }
    }
    let client = upstream::client(
        upstream::tls(&config.upstream.extra_roots),
        &config.upstream.egress,
        config.upstream.connect_timeout,
    );
    let grants = Grants::new(client, config.upstream.timeout);
    for account in &config.accounts {
        let (name, server) = (&account.name, &account.endpoints.accounts);
        match grants.try_out(account).await {
            Ok(None) => {
                print(&format!("account {name}: {server} granted an access token and does not say for what\n"))?
            }
            Ok(Some(granted)) => {
                print(&format!("account {name}: {server} granted an access token for {granted}\n"))?;
                // Not an error: hardly any login is meant for every call of all products.
                tell(&scopes_told(account, &config.routes_of(name), &granted, path, list_scopes))?;
            }
            Err(cause) => faults.push(format!("account {name}: {server}: {}", respond::for_operators(&cause))),
        }
    }
    ended(&faults)
}

fn ended(faults: &[String]) -> Result<(), Failure> {
    if faults.is_empty() { Ok(()) } else { Err(Failure::Run(faults.join("\n"))) }
}

/// Problems with paths that would prevent a start. The check leaves nothing behind and does not disturb a running gateway.
fn faults_of_paths(config: &Config) -> Vec<String> {
    let state = config.state.dir.iter().filter_map(|dir| Some(format!("state.dir: {}", Store::probe(dir).err()?)));
    let audit = config.audit.file.iter().filter_map(|file| {
        let error = telemetry::probe_audit(file).err()?;
        Some(format!("audit.file: cannot open {}: {error}", file.display()))
    });
    let sockets =
        sockets(config).filter(|path| path.symlink_metadata().is_ok_and(|there| !there.file_type().is_socket()));
    let sockets = sockets
        .map(|path| format!("proxy.listen: {} is no socket; move it away or choose another path", path.display()));
    let folders = sockets_folders(config).filter(|folder| folder.exists() || !is_of_a_supervisor(folder));
    let folders = folders.filter_map(|folder| {
        let error = writable::file_in(folder).err()?;
        Some(format!("proxy.listen: no socket can be made in the folder {}: {error}", folder.display()))
    });
    let faults: Vec<String> = state.chain(audit).chain(sockets).chain(folders).collect();
    let user = getuid().as_raw();
    let hint = (!faults.is_empty() && user != 0)
        .then(|| format!("this is what the user {user} finds: run check as the user that the gateway runs as"));
    faults.into_iter().chain(hint).collect()
}

/// Missing folders of sockets that a supervisor probably makes when the gateway starts.
fn missing_socket_folders(config: &Config) -> impl Iterator<Item = String> {
    let folders = sockets_folders(config).filter(|folder| !folder.exists() && is_of_a_supervisor(folder));
    folders.map(|folder| {
        format!("proxy.listen: the folder {} is not there; it has to be when the gateway starts", folder.display())
    })
}

/// Whether a supervisor makes such folders (RuntimeDirectory= of systemd).
fn is_of_a_supervisor(folder: &Path) -> bool {
    folder.starts_with("/run") || folder.starts_with("/var/run")
}

fn sockets_folders(config: &Config) -> impl Iterator<Item = &Path> {
    sockets(config).filter_map(Path::parent)
}

fn sockets(config: &Config) -> impl Iterator<Item = &Path> {
    config.proxy.listen.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path.as_path()),
        ListenAddress::Tcp { .. } => None,
    })
}

fn summary(config: &Config) -> String {
    let mut text = String::from("the configuration is valid\n");
    let listen: Vec<_> = config.proxy.listen.iter().map(ToString::to_string).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "proxy    {}", listen.join(", "));
    if let Some(tls) = &config.proxy.tls {
        let _ = writeln!(text, "tls      {}", tls.files());
    }
    let _ = writeln!(text, "admin    {}", config.admin.listen);
    if let Some(dir) = &config.state.dir {
        let _ = writeln!(text, "state    {}", dir.display());
    }
    if let Some(SharedState { settings, .. }) = &config.state.redis {
        let Settings { topology, database, namespace, .. } = settings;
        let _ = writeln!(text, "redis    {topology}, database {database}, namespace {namespace}");
    }
    if let Some(egress) = config.upstream.egress.description() {
        let _ = writeln!(text, "upstream {egress}");
    }
    for account in &config.accounts {
        let endpoints = &account.endpoints;
        let _ = write!(text, "account  {} at {}: ", account.name, account.data_center);
        for product in Product::ALL {
            let _ = write!(text, "{} {}, ", product.as_str(), endpoints.product(product));
        }
        let _ = writeln!(text, "accounts {}", endpoints.accounts);
    }
    for account in shared(&config.accounts) {
        let _ = writeln!(text, "share    {}", share_told(account, config.token));
    }
    let unlimited: Vec<_> = config.catalogue.iter().filter(|route| route.threshold.is_none()).collect();
    let _ = writeln!(
        text,
        "routes   {} known and {} default routes for unknown calls, {} without a threshold",
        config.catalogue.routes.len(),
        config.catalogue.default_routes.len(),
        unlimited.len()
    );
    for account in &config.accounts {
        let routes = config.routes_of(&account.name);
        let _ = writeln!(text, "scopes   {} needs {}", account.name, scope::needed(&routes).join(","));
    }
    text
}

/// What an account's share leaves of the limits. `routes` shows each threshold.
fn share_told(account: &Account, token: TokenLimits) -> String {
    let Account { name, share, .. } = account;
    let daily = account.daily_calls.map(|whole| format!("{} of {whole} daily calls, ", share.of(whole)));
    let part = token.part(*share);
    format!(
        "{name} uses {share} of each limit: {}{} of {} token requests ({} of {} in reserve)",
        daily.unwrap_or_default(),
        part.requests,
        token.requests,
        part.reserve,
        token.reserve
    )
}
