//! The command line: commands, options and exit codes.

mod actions;
mod admin;
mod check;
mod config_file;
mod healthcheck;
mod init;
mod jobs;
mod key;
pub mod login;
mod logout;
mod pages;
mod reload;
mod report;
mod routes;
mod run;
mod sandbox;
mod status;
mod stop;
mod which;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    cli::login::request::REDIRECT_PORT,
    config::{self, Config, ConfigErrors},
    listener::ListenAddress,
    zoho::account::Account,
};

/// An authenticating reverse proxy for Zoho People and Zoho Calendar that never exceeds their call thresholds.
#[derive(Debug, Parser)]
#[command(name = "zoho-gateway", version = env!("ZOHO_GATEWAY_VERSION"))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT, then drain.
    Run(RunOptions),
    /// Write a minimal configuration file with comments. It asks nothing and never replaces a file.
    Init {
        /// The file to write.
        #[arg(value_name = "FILE", default_value = config_file::IN_THIS_FOLDER)]
        file: PathBuf,
        /// Print it instead.
        #[arg(long, conflicts_with = "file")]
        stdout: bool,
    },
    /// Check the configuration and print what would run.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Also fetch each account's token once, and count the calls for which it lacks a scope.
        #[arg(long)]
        online: bool,
        /// List each missing scope with the calls that need it. Needs --online.
        #[arg(long, requires = "online")]
        missing_scopes: bool,
    },
    /// Print the catalogue in force; or the route of one call, with its limit and the reason.
    Routes {
        /// The configuration file, whose overrides apply; without it, the one that `run` would use, if there is one.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The method of one call.
        #[arg(requires = "path")]
        method: Option<String>,
        /// Its path at the gateway, such as /people/api/v1/courses/1/share, or its whole URL at Zoho.
        path: Option<String>,
    },
    /// Get a refresh token for an account, by consent in a browser or with a self client's code, and write it to the file
    /// that the configuration names.
    Login(LoginOptions),
    /// Revoke an account's refresh token at Zoho and remove its file.
    Logout {
        #[command(flatten)]
        config: ConfigFile,
        /// The account's name in the configuration.
        #[arg(long, value_name = "NAME")]
        account: String,
    },
    /// Make an API key for a caller. The key goes to standard output, its SHA-256 for the configuration to standard error.
    Key {
        /// Print the SHA-256 of the key on standard input instead.
        #[arg(long)]
        hash: bool,
    },
    /// Print the JSON Schema (2020-12) of the configuration file.
    Schema,
    /// Run only the simulated Zoho.
    Sandbox(SandboxOptions),
    /// Exit with 0 if the gateway is ready: a probe for images without a shell. It asks the admin listener that the
    /// configuration or the environment (ZOHO_GATEWAY__ADMIN__LISTEN) names, by default http://127.0.0.1:9090.
    Healthcheck(RunningGateway),
    /// Print what waits, why, until when and for whom, which routes are locked, and what gateways with the same Redis hold.
    /// It asks the admin listener, as healthcheck does.
    Status {
        #[command(flatten)]
        gateway: RunningGateway,
        /// Repeat it every two seconds.
        #[arg(long)]
        watch: bool,
        /// Print /status as it is, in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what Zoho's answers suggest about the catalogue: payloads that Zoho rejected although the rules accepted them, and
    /// limits that hold or do not. The text has no payload, account or caller in it. It asks the admin listener, as
    /// healthcheck does.
    Report {
        #[command(flatten)]
        gateway: RunningGateway,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a running gateway read its configuration again, and print what has changed, or why it was refused (exit code 2).
    /// Nothing that waits or runs is lost. It asks the admin listener, as healthcheck does.
    Reload(RunningGateway),
    /// List, show and remove the jobs of a running gateway (calls with "Prefer: respond-async"). It asks the admin listener,
    /// as healthcheck does.
    Jobs {
        #[command(flatten)]
        gateway: RunningGateway,
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        action: Option<jobs::Action>,
    },
    /// Hold back all calls of a caller, an account or a route, or those to which several apply. New and waiting calls get the
    /// problem call-paused (503) at once, jobs wait. It holds for this gateway until it is resumed or restarted.
    Pause {
        #[command(flatten)]
        gateway: RunningGateway,
        #[command(flatten)]
        calls: Calls,
        /// For how long, such as 10m; without it, until it is resumed.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        r#for: Option<Duration>,
    },
    /// End a pause: exactly the one that these options began, or all.
    Resume {
        #[command(flatten)]
        gateway: RunningGateway,
        #[command(flatten)]
        calls: Calls,
        /// End all pauses.
        #[arg(long, conflicts_with_all = ["caller", "account", "route"])]
        all: bool,
    },
    /// Lift a lock of Zoho's before its end. Zoho may still hold it: then the next call is refused too, and Zoho may lock for
    /// longer. One call goes alone first.
    Unlock {
        #[command(flatten)]
        gateway: RunningGateway,
        /// The account's name.
        #[arg(long, value_name = "NAME")]
        account: String,
        /// The route's id.
        #[arg(long, value_name = "ID")]
        route: String,
        /// Take that risk.
        #[arg(long)]
        yes: bool,
    },
    /// Cancel calls that wait for their slot: they get the problem `call-cancelled` (409). Jobs among them fail.
    Cancel {
        #[command(flatten)]
        gateway: RunningGateway,
        #[command(flatten)]
        calls: Calls,
        /// The id (X-Request-Id) of one call.
        #[arg(long, value_name = "ID", conflicts_with_all = ["caller", "account", "route"])]
        request_id: Option<String>,
        /// The id of a job; it is removed.
        #[arg(long, value_name = "ID", conflicts_with_all = ["caller", "account", "route", "request_id"])]
        job: Option<String>,
    },
    /// Take the gateway out of service: it is not ready and refuses new calls, and those in flight end. The process goes on.
    Drain {
        #[command(flatten)]
        gateway: RunningGateway,
        /// Wait until no request is in flight.
        #[arg(long)]
        wait: bool,
        /// Accept calls again.
        #[arg(long, conflicts_with = "wait")]
        undo: bool,
    },
    /// Print a script that completes commands and options in a shell.
    Completions {
        /// The shell: bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
    /// Print the manual page of the program, or of one command, in roff: `zoho-gateway man | man -l -`.
    Man {
        /// The command.
        command: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file; "-" is standard input. Without it, the first of these that exists: $ZOHO_GATEWAY_CONFIG,
    /// ./zoho-gateway.toml, $XDG_CONFIG_HOME/zoho-gateway/gateway.toml (~/.config/...), /etc/zoho-gateway/gateway.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RunningGateway {
    /// The configuration file that names the admin listener; without it, the one that `run` would use, if there is one.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The admin listener, instead of the configuration's: a URL, or HOST:PORT.
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    /// A file with the operators' key (admin.key_sha256); or the variable ZOHO_GATEWAY_ADMIN_KEY holds it.
    #[arg(long, value_name = "FILE", global = true)]
    admin_key_file: Option<PathBuf>,
    /// A PEM file with an authority that issued the admin listener's certificate, in addition to the public ones.
    #[arg(long, value_name = "FILE", global = true)]
    admin_ca_file: Option<PathBuf>,
}

/// Calls to which everything applies that is given.
#[derive(Debug, clap::Args)]
struct Calls {
    /// The caller's name.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// The account's name.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The route's id, in which * matches any characters, such as "people.lms.*".
    #[arg(long, value_name = "ID")]
    route: Option<String>,
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Use a built-in simulated Zoho: no file, no credentials, no network. If --listen names an address that other machines
    /// can reach, it makes an API key and prints it.
    #[arg(long, conflicts_with = "config")]
    sandbox: bool,
    /// Where callers connect, instead of proxy.listen: HOST:PORT or unix:PATH, or several, comma-separated.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<ListenAddress>,
    /// Where operators and probes connect, instead of admin.listen.
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<ListenAddress>,
    /// Let undocumented calls of the simulated Zoho succeed, instead of answering 404.
    #[arg(long, requires = "sandbox")]
    lenient: bool,
    /// Take over the sockets and the state of the gateway that runs with the same state.dir, without an outage. It finishes
    /// what it has, and ends. If none runs, start as usual.
    #[arg(long, conflicts_with = "sandbox")]
    take_over: bool,
}

#[derive(Debug, clap::Args)]
struct LoginOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// The account's name in the configuration.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// A self client's code from the API console, instead of a browser; "-" reads it from standard input.
    #[arg(long, value_name = "CODE", conflicts_with = "redirect_port", allow_hyphen_values = true)]
    code: Option<String>,
    /// Ask only for these scopes, comma-separated, instead of all that the catalogue's routes need.
    #[arg(long, value_name = "LIST", conflicts_with = "code", value_delimiter = ',', value_parser = login::command::scope)]
    scopes: Vec<String>,
    /// List each scope that was not granted, with the calls that need it.
    #[arg(long)]
    missing_scopes: bool,
    /// Print the refresh token once to standard output, instead of writing it to its file.
    #[arg(long)]
    print: bool,
    /// The local port to which Zoho sends the browser back. http://127.0.0.1:PORT/callback must be registered for the
    /// client.
    #[arg(long, value_name = "PORT", default_value_t = REDIRECT_PORT)]
    redirect_port: u16,
}

#[derive(Debug, clap::Args)]
struct SandboxOptions {
    /// The address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9300")]
    listen: SocketAddr,
    /// The threshold of every call, instead of the documented one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
    /// The window of every threshold.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    window: Option<Duration>,
    /// The lock after one call too many.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    lock: Option<Duration>,
    /// The form of a lock's answer: 429, 400, 200 or 200-array.
    #[arg(long, value_name = "SHAPE", default_value = "429", value_parser = sandbox::lock_answer)]
    lock_answer: crate::sandbox::LockAnswer,
    /// The longest random delay in each direction.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    delay: Option<Duration>,
    /// The token calls allowed in ten minutes, instead of the documented 10.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    token_requests: Option<u32>,
    /// The lifetime of an access token.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    token_life: Option<Duration>,
    /// How long a token answer takes.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    token_delay: Option<Duration>,
    /// Let undocumented calls succeed, instead of answering 404.
    #[arg(long)]
    lenient: bool,
}

/// Why the program fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Wrong usage, in words for the operator.
    #[error("{0}")]
    Usage(String),
    /// A failure at run time, in words for the operator.
    #[error("{0}")]
    Run(String),
    /// Standard output cannot be written.
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
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`], with the message for the operator.
    pub async fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(options) if options.sandbox => run::run_on_sandbox(options).await,
            Command::Run(options) => run::run(options).await,
            Command::Init { file, stdout } => init::init(&file, stdout),
            Command::Check { config, online, missing_scopes } => {
                check::check(&config.find()?, online, missing_scopes).await
            }
            Command::Routes { config, json, method, path } => {
                let config = config_file::find_any(config)?;
                match (method, path) {
                    (Some(method), Some(path)) => which::which(config.as_deref(), json, &method, &path),
                    _ => routes::routes(config.as_deref(), json),
                }
            }
            Command::Login(options) => login::command::login(options).await,
            Command::Logout { config, account } => logout::logout(&config.find()?, &account).await,
            Command::Key { hash: false } => key::make(),
            Command::Key { hash: true } => key::hash(),
            Command::Schema => Ok(print(&format!("{:#}\n", config::schema()))?),
            Command::Sandbox(options) => sandbox::sandbox(options).await,
            Command::Healthcheck(gateway) => healthcheck::healthcheck(&gateway).await,
            Command::Status { gateway, watch, json } => {
                let form = if json { status::Form::Json } else { status::Form::Sentences };
                status::status(&gateway, watch, form).await
            }
            Command::Reload(gateway) => reload::reload(gateway).await,
            Command::Pause { gateway, calls, r#for } => actions::pause(&gateway, calls, r#for).await,
            Command::Resume { gateway, calls, all } => actions::resume(&gateway, calls, all).await,
            Command::Unlock { gateway, account, route, yes } => actions::unlock(&gateway, account, route, yes).await,
            Command::Cancel { gateway, calls, request_id, job } => {
                actions::cancel(&gateway, calls, request_id, job).await
            }
            Command::Drain { gateway, undo: true, .. } => actions::end_drain(&gateway).await,
            Command::Drain { gateway, wait, .. } => actions::drain(&gateway, wait).await,
            Command::Report { gateway, json } => report::report(&gateway, json).await,
            Command::Jobs { gateway, json, action } => jobs::jobs(gateway, action, json).await,
            Command::Completions { shell } => pages::completions(shell),
            Command::Man { command } => pages::manual(command.as_deref()),
        }
    }
}

fn load(path: &Path) -> Result<Config, ConfigErrors> {
    config::load(path, std::env::vars_os())
}

/// The same before a login: refresh tokens may be missing.
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

/// Prints a result. A reader that stops reading, such as `head`, is not an error: the command goes on.
fn print(text: &str) -> io::Result<()> {
    unless_reader_left(print_once(text))
}

/// Prints a result that exists nowhere else, so a reader that stopped reading is an error.
fn print_once(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a message for a person; standard output is for results.
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
