//! The command line: what the program was asked to do, and how it ended.

mod check;
mod healthcheck;
mod key;
pub mod login;
mod logout;
mod routes;
mod run;
mod sandbox;
mod stop;
mod which;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, Subcommand};

use crate::{
    cli::login::request::REDIRECT_PORT,
    config::{self, Config, ConfigErrors},
    zoho::account::Account,
};

/// An authenticating reverse proxy for Zoho People and Zoho Calendar that never exceeds their call thresholds.
#[derive(Debug, Parser)]
#[command(name = "zoho-gateway", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway until SIGTERM or SIGINT, then drains.
    Run(RunOptions),
    /// Reads and checks the configuration and prints what would run.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Also fetches each account's token once, and counts the calls for which it lacks a scope.
        #[arg(long)]
        online: bool,
        /// Lists each missing scope with the calls that need it; needs --online.
        #[arg(long, requires = "online")]
        missing_scopes: bool,
    },
    /// Prints the catalogue in force, or which of its routes one call belongs to, with its limit and why.
    Routes {
        /// Apply this configuration's overrides.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The method of one call.
        #[arg(requires = "path")]
        method: Option<String>,
        /// Its path, as the gateway or as Zoho is called: /people/api/v1/courses/1/share, or a whole address.
        path: Option<String>,
    },
    /// Gets an account's refresh token by a person's consent, in a browser or with a self client's code, and puts it into
    /// the file that the configuration names.
    Login(LoginOptions),
    /// Revokes an account's refresh token at Zoho and removes its file.
    Logout {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The account, as the configuration names it.
        #[arg(long, value_name = "NAME")]
        account: String,
    },
    /// Makes an API key for a caller: the key alone on standard output, its SHA-256 for the configuration on standard
    /// error.
    Key {
        /// Instead print the SHA-256 of the key on standard input.
        #[arg(long)]
        hash: bool,
    },
    /// Prints the JSON Schema (2020-12) of the configuration file.
    Schema,
    /// Runs the simulated Zoho alone.
    Sandbox(SandboxOptions),
    /// Exits with 0 when the gateway is ready: a probe for images without a shell. It asks the admin listener of the
    /// configuration and the environment (ZOHO_GATEWAY__ADMIN__LISTEN), by default http://127.0.0.1:9090.
    Healthcheck {
        /// The configuration file that names the admin listener.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The admin listener, whatever the configuration says: a URL, or HOST:PORT.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    #[command(flatten)]
    zoho: RunZoho,
    /// Let calls of the simulated Zoho succeed that no page of Zoho documents, instead of answering 404.
    #[arg(long, requires = "sandbox")]
    lenient: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct RunZoho {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// On a built-in simulated Zoho: no file, no credentials, no network.
    #[arg(long)]
    sandbox: bool,
}

#[derive(Debug, clap::Args)]
struct LoginOptions {
    /// The configuration file; the refresh token need not be there yet.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The account, as the configuration names it.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// A code that the API console made for a self client, instead of a browser; "-" reads it from standard input.
    #[arg(long, value_name = "CODE", conflicts_with = "redirect_port", allow_hyphen_values = true)]
    code: Option<String>,
    /// Ask for these scopes only, parted by commas, instead of for all that the catalogue's routes need.
    #[arg(long, value_name = "LIST", conflicts_with = "code", value_delimiter = ',', value_parser = login::command::scope)]
    scopes: Vec<String>,
    /// List each scope that was not granted with the calls that need it.
    #[arg(long)]
    missing_scopes: bool,
    /// Print the refresh token, once and alone on standard output, instead of writing it to its file.
    #[arg(long)]
    print: bool,
    /// The port of this machine that Zoho sends the browser back to: http://127.0.0.1:PORT/callback has to be registered
    /// for the client.
    #[arg(long, value_name = "PORT", default_value_t = REDIRECT_PORT)]
    redirect_port: u16,
}

#[derive(Debug, clap::Args)]
struct SandboxOptions {
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9300")]
    listen: SocketAddr,
    /// Threshold of every call, instead of the documented one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
    /// Window of every threshold.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    window: Option<Duration>,
    /// Lock after one call too many.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    lock: Option<Duration>,
    /// How a lock is told: 429, 400, 200 or 200-array.
    #[arg(long, value_name = "SHAPE", default_value = "429", value_parser = sandbox::lock_answer)]
    lock_answer: crate::sandbox::LockAnswer,
    /// Longest random delay each way.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    delay: Option<Duration>,
    /// Token calls allowed in ten minutes, instead of the documented 10.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    token_requests: Option<u32>,
    /// Life of an access token.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    token_life: Option<Duration>,
    /// How long a token answer takes.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    token_delay: Option<Duration>,
    /// Let calls succeed that no page of Zoho documents, instead of answering 404.
    #[arg(long)]
    lenient: bool,
}

/// Why the program ends with something else than success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Something that the configuration does not allow; in words for the operator.
    #[error("{0}")]
    Usage(String),
    /// It failed at run time; in words for the operator.
    #[error("{0}")]
    Run(String),
    /// Standard output went away.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The process's exit code: 1 failed at run time, 2 wrong usage or configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Run(_) | Self::Output(_) => 1,
        }
    }
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// [`Failure`], with the message that the operator is to see.
    pub async fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(RunOptions { zoho: RunZoho { config: Some(path), .. }, .. }) => run::run(&path).await,
            Command::Run(RunOptions { lenient, .. }) => run::run_on_sandbox(lenient).await,
            Command::Check { config, online, missing_scopes } => check::check(&config, online, missing_scopes).await,
            Command::Routes { config, json, method: Some(method), path: Some(path) } => {
                which::which(config.as_deref(), json, &method, &path)
            }
            Command::Routes { config, json, .. } => routes::routes(config.as_deref(), json),
            Command::Login(options) => login::command::login(options).await,
            Command::Logout { config, account } => logout::logout(&config, &account).await,
            Command::Key { hash: false } => key::make(),
            Command::Key { hash: true } => key::hash(),
            Command::Schema => Ok(print(&format!("{:#}\n", config::schema()))?),
            Command::Sandbox(options) => sandbox::sandbox(options).await,
            Command::Healthcheck { config, admin } => healthcheck::healthcheck(config.as_deref(), admin).await,
        }
    }
}

fn load(path: &Path) -> Result<Config, ConfigErrors> {
    config::load(path, std::env::vars_os())
}

/// The same where a refresh token need not be there yet.
fn load_for_login(path: &Path) -> Result<Config, ConfigErrors> {
    config::load_for_login(path, std::env::vars_os())
}

/// The account of that name.
fn account<'a>(accounts: &'a [Account], name: &str) -> Result<&'a Account, Failure> {
    accounts.iter().find(|account| account.name.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = accounts.iter().map(|account| account.name.as_str()).collect();
        Failure::Usage(format!("there is no account {name:?}; the configuration has {}", known.join(", ")))
    })
}

/// Prints a result. A reader that has read enough, such as `head`, is not an error: the command goes on, and its exit
/// code says how it ended.
fn print(text: &str) -> io::Result<()> {
    unless_reader_left(print_once(text))
}

/// Prints a result that exists nowhere else, so a reader that left is an error.
fn print_once(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints what is for a person, where standard output is for a result.
fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    unless_reader_left(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Rust programs ignore SIGPIPE, so a closed pipe is an error here.
fn unless_reader_left(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

fn span(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|_| "expected a span such as 250ms, 30s or 5m".to_owned())?;
    signed.try_into().map_err(|_| "expected a span from now on".to_owned())
}
