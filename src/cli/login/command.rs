//! `login`: gets a refresh token for an account, by a person's consent.
//!
//! All messages go to standard error, so that with `--print` standard output has only the token.

use std::{
    io::{self, BufRead},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use tokio::net::TcpListener;

use super::super::{Failure, LoginOptions, account, load_for_login, print_once, tell};
use crate::{
    cli::login::{
        Page, Redirect, State, browser,
        exchange::{self, Home},
        redirect::redirect,
        request,
        token_file::TokenFile,
    },
    middleware::token::{Code, Grants},
    secret::Secret,
    upstream,
    zoho::{
        account::{Account, AccountName},
        accounts_server,
        catalogue::Route,
        data_center::DataCenter,
        endpoint::Endpoint,
        scope::{self, Missing},
    },
};

pub(in crate::cli) async fn login(options: LoginOptions) -> Result<(), Failure> {
    let LoginOptions { config, account: name, code, scopes, missing_scopes, print, redirect_port } = options;
    let path = config.find()?;
    let config = load_for_login(&path)?;
    let place = Place::of(account(&config.accounts, &name)?, print)?;
    let client = upstream::client(
        upstream::tls(&config.upstream.extra_roots),
        &config.upstream.egress,
        config.upstream.connect_timeout,
    );
    let grants = Grants::new(client, config.upstream.timeout);
    let session = Session {
        account: account(&config.accounts, &name)?,
        routes: config.routes_of(&AccountName::new(&name)),
        grants,
        place,
        path,
        list_scopes: missing_scopes,
    };
    match code {
        Some(code) => session.self_client(code).await,
        None => session.browser(redirect_port, &scopes).await,
    }
}

/// Where the token goes.
enum Place {
    File(TokenFile),
    Output,
}

/// Everything that a login needs.
struct Session<'a> {
    account: &'a Account,
    /// The routes that the account may use.
    routes: Vec<Route>,
    grants: Grants,
    place: Place,
    path: PathBuf,
    /// Whether to list every missing scope.
    list_scopes: bool,
}

impl Place {
    fn of(account: &Account, print: bool) -> Result<Self, Failure> {
        if print {
            return Ok(Self::Output);
        }
        let name = &account.name;
        let Some(file) = account.refresh_token.file() else {
            return Err(Failure::Usage(format!(
                "account {name}: there is no file for the refresh token; set refresh_token = {{ file = \"PATH\" }}, or use \
                 --print to print it once"
            )));
        };
        let token_file = TokenFile::at(file).map_err(|error| {
            Failure::Run(format!("account {name}: no refresh token could be kept in {}: {error}", file.display()))
        })?;
        Ok(Self::File(token_file))
    }
}

impl Session<'_> {
    /// Logs in with a self client's code from the API console.
    async fn self_client(&self, code: String) -> Result<(), Failure> {
        let code = if code == "-" { first_line()? } else { code };
        if code.is_empty() {
            return Err(Failure::Usage(
                "there is no code: --code takes one, and --code - the first line of standard input".into(),
            ));
        }
        let code = Code { code: Secret::new(code), redirect_uri: None };
        let (token, scope) = self.exchange(&self.account.endpoints.accounts, &code).await?;
        self.keep(&token)?;
        self.tell_scopes(scope.as_deref())
    }

    /// Logs in with a browser, which Zoho redirects here.
    async fn browser(&self, port: u16, scopes: &[String]) -> Result<(), Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(|error| {
            Failure::Run(format!(
                "cannot listen on 127.0.0.1:{port} for the redirect: {error}; another login may be under way, and \
                 --redirect-port takes another port, which has to be registered for the client too"
            ))
        })?;
        let redirect_uri = request::redirect_uri(listener.local_addr().map_or(port, |address| address.port()));
        let state = State::random().map_err(failed)?;
        let wanted = match scopes {
            [] => scope::needed(&self.routes),
            wanted => wanted.iter().map(String::as_str).collect(),
        };
        let url = accounts_server::authorization_url(self.account, &wanted, &redirect_uri, state.expose());
        tell(&format!(
            "To log account {} in, open this address in a browser of this machine and consent:\n\n{url}\n\n\
             Zoho sends the browser back to {redirect_uri}, which has to be registered for the client in the API console.\n\
             Waiting for at most ten minutes.\n",
            self.account.name
        ))?;
        browser::open(&url);
        let (redirect, waiting) = redirect(listener, &state).await.map_err(failed)?;
        let outcome = self.admit(redirect, redirect_uri).await;
        waiting
            .show(match &outcome {
                Ok(()) => Page::done(self.account.name.as_str()),
                Err(failure) => Page::failed(&failure.to_string()),
            })
            .await;
        outcome
    }

    async fn admit(&self, redirect: Redirect, redirect_uri: String) -> Result<(), Failure> {
        let Home { server, moved } = exchange::home(self.account, &redirect).map_err(failed)?;
        let code = Code { code: redirect.code, redirect_uri: Some(redirect_uri) };
        let (token, scope) = self.exchange(&server, &code).await?;
        self.keep(&token)?;
        if let Some(center) = moved {
            self.tell_moved(center)?;
        }
        self.tell_scopes(scope.as_deref())
    }

    async fn exchange(&self, server: &Endpoint, code: &Code) -> Result<(Secret, Option<String>), Failure> {
        exchange::exchange(&self.grants, self.account, server, code).await.map_err(failed)
    }

    fn keep(&self, token: &Secret) -> Result<(), Failure> {
        let name = &self.account.name;
        match &self.place {
            Place::File(token_file) => {
                let file = token_file.path().display();
                token_file.write(token).map_err(|error| {
                    failed(format!(
                        "account {name}: the refresh token could not be written to {file}: {error}; log in again"
                    ))
                })?;
                tell(&format!("account {name}: logged in; the refresh token stands in {file}\n"))?;
            }
            Place::Output => {
                print_once(&format!("{}\n", token.expose()))?;
                tell(&format!(
                    "account {name}: logged in; the refresh token was printed once. Put it where refresh_token of \
                     [accounts.{name}] leads.\n"
                ))?;
            }
        }
        Ok(())
    }

    fn tell_moved(&self, center: DataCenter) -> Result<(), Failure> {
        let (name, path, configured) = (&self.account.name, self.path.display(), self.account.data_center);
        Ok(tell(&format!(
            "account {name}: this login lives in another data centre than the configuration says ({configured}). Set \
             data_center = \"{center}\" under [accounts.{name}] in {path}, or no call will succeed.\n"
        ))?)
    }

    fn tell_scopes(&self, granted: Option<&str>) -> Result<(), Failure> {
        let name = &self.account.name;
        let told = match granted {
            None => format!("account {name}: Zoho does not say which scopes it granted\n"),
            Some(granted) => scopes_told(self.account, &self.routes, granted, &self.path, self.list_scopes),
        };
        Ok(tell(&told)?)
    }
}

/// The scopes that a grant lacks: one line with counts, or with `list` one line for each set of scopes; empty if it allows
/// every route. Many logins are for a part of the calls on purpose.
pub(in crate::cli) fn scopes_told(
    account: &Account,
    routes: &[Route],
    granted: &str,
    config: &Path,
    list: bool,
) -> String {
    let missing = scope::missing(routes, granted);
    if missing.is_empty() {
        return String::new();
    }
    let (name, config) = (&account.name, config.display());
    let listed = if list { lacking(name.as_str(), &missing) } else { String::new() };
    let refused: usize = missing.iter().map(|missing| missing.routes.len()).sum();
    let how = match list {
        true => format!("zoho-gateway login --config {config} --account {name} asks for all that is needed"),
        false => format!("zoho-gateway check --config {config} --online --missing-scopes lists them"),
    };
    format!(
        "{listed}account {name}: {refused} of {} calls need a scope that this login lacks ({} {} missing); {how}\n",
        routes.len(),
        missing.len(),
        if missing.len() == 1 { "is" } else { "are" }
    )
}

/// How many routes a line names: a login for LMS alone lacks the scopes of hundreds.
const NAMED: usize = 3;

fn lacking(name: &str, missing: &[Missing<'_>]) -> String {
    let line = |missing: &Missing<'_>| {
        let routes: Vec<_> = missing.routes.iter().map(|id| id.as_str()).collect();
        let more = match routes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = routes[..routes.len().min(NAMED)].join(", ");
        format!("account {name}: {} is missing for {named}{more}\n", missing.any_of.join(" or "))
    };
    missing.iter().map(line).collect()
}

/// A scope as a person writes it.
pub(in crate::cli) fn scope(text: &str) -> Result<String, &'static str> {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if text.split('.').count() < 3 || !text.split('.').all(word) {
        return Err("expected scopes such as ZOHOPEOPLE.training.ALL");
    }
    Ok(text.to_owned())
}

/// A code from standard input: every user of the machine can see a command line.
fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| failed(format!("cannot read the code: {error}")))?;
    Ok(line.trim().to_owned())
}

fn failed(error: impl ToString) -> Failure {
    Failure::Run(error.to_string())
}
