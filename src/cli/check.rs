//! `check`: everything about a configuration that can be known without running it.

use std::{fmt::Write, path::Path, sync::Arc};

use super::{Failure, load, print};
use crate::{
    clock,
    config::Config,
    ledger::{Journal, Limits, Lines},
    respond,
    route::Matcher,
    telemetry::Metrics,
    token::{Grants, Source, TokenLedger},
    upstream,
};

pub(super) async fn check(path: &Path, online: bool) -> Result<(), Failure> {
    let config = load(path)?;
    Matcher::new(&config.catalogue).map_err(|error| Failure::Run(error.to_string()))?;
    print(&summary(&config))?;
    if !online {
        return Ok(());
    }
    let client = upstream::client(upstream::tls(&config.upstream.extra_roots), config.upstream.connect_timeout);
    let grants = Grants::new(client, config.upstream.timeout);
    let metrics = Arc::new(Metrics::new());
    let lines = Lines::in_memory(Limits::NOBODY);
    let mut dead = Vec::new();
    for account in config.accounts {
        let (name, server) = (account.name.clone(), account.endpoints.accounts.clone());
        let account = Arc::new(account);
        let ledger = TokenLedger::new(&lines, &account, config.token);
        let source = Source::new(account, grants.clone(), ledger, Journal::in_memory(), None, Arc::clone(&metrics));
        match source.token(clock::now()).await {
            Ok(_) => print(&format!("account {name}: {server} granted an access token\n"))?,
            Err(cause) => dead.push(format!("account {name}: {server}: {}", respond::for_operators(&cause))),
        }
    }
    if dead.is_empty() { Ok(()) } else { Err(Failure::Run(dead.join("\n"))) }
}

fn summary(config: &Config) -> String {
    let mut text = String::from("the configuration is valid\n");
    let listen: Vec<_> = config.proxy.listen.iter().map(ToString::to_string).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "proxy    {}", listen.join(", "));
    let _ = writeln!(text, "admin    {}", config.admin.listen);
    if let Some(dir) = &config.state.dir {
        let _ = writeln!(text, "state    {}", dir.display());
    }
    for account in &config.accounts {
        let endpoints = &account.endpoints;
        let _ = writeln!(
            text,
            "account  {} at {}: people {}, calendar {}, accounts {}",
            account.name, account.data_center, endpoints.people, endpoints.calendar, endpoints.accounts
        );
    }
    let unlimited: Vec<_> = config.catalogue.iter().filter(|route| route.threshold.is_none()).collect();
    let _ = writeln!(
        text,
        "routes   {} known and {} stand-ins for others, {} without a threshold",
        config.catalogue.routes.len(),
        config.catalogue.others.len(),
        unlimited.len()
    );
    text
}
