//! `check`: everything about a configuration that can be known without running it.

use std::{fmt::Write, path::Path};

use super::{Failure, load, login::lacking, print, tell};
use crate::{config::Config, login::scopes, respond, route::Matcher, token::Grants, upstream};

pub(super) async fn check(path: &Path, online: bool) -> Result<(), Failure> {
    let config = load(path)?;
    Matcher::new(&config.catalogue).map_err(|error| Failure::Run(error.to_string()))?;
    print(&summary(&config))?;
    for warning in config.warnings() {
        tell(&format!("warning: {warning}\n"))?;
    }
    if !online {
        return Ok(());
    }
    let client = upstream::client(
        upstream::tls(&config.upstream.extra_roots),
        &config.upstream.egress,
        config.upstream.connect_timeout,
    );
    let grants = Grants::new(client, config.upstream.timeout);
    let mut faults = Vec::new();
    for account in &config.accounts {
        let (name, server) = (&account.name, &account.endpoints.accounts);
        match grants.try_out(account).await {
            Ok(None) => {
                print(&format!("account {name}: {server} granted an access token and does not say for what\n"))?
            }
            Ok(Some(granted)) => {
                print(&format!("account {name}: {server} granted an access token for {granted}\n"))?;
                let lacking = lacking(name.as_str(), &config.routes_of(name), &granted);
                // No fault: hardly any login is meant for every call of two products.
                if !lacking.is_empty() {
                    let path = path.display();
                    tell(&format!(
                        "{lacking}account {name}: zoho-gateway login --config {path} --account {name} asks for all that is \
                         needed\n"
                    ))?;
                }
            }
            Err(cause) => faults.push(format!("account {name}: {server}: {}", respond::for_operators(&cause))),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Run(faults.join("\n"))) }
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
    if let Some(egress) = config.upstream.egress.description() {
        let _ = writeln!(text, "upstream {egress}");
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
    for account in &config.accounts {
        let routes = config.routes_of(&account.name);
        let _ = writeln!(text, "scopes   {} needs {}", account.name, scopes::needed(&routes).join(","));
    }
    text
}
