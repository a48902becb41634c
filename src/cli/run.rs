//! `run`: the gateway itself.

use std::path::Path;

use tokio::net::TcpListener;

use super::{Failure, RunOptions, print, stop};
use crate::{
    app::{App, ConfigFile, Predecessor, Start},
    config::{self, Config, Overrides},
    listener::{Inherited, ListenAddress},
    middleware::caller::{KeyHash, new_key},
    sandbox,
    secret::Secret,
    telemetry,
};

/// The configuration of `run --sandbox`, without the sandbox's own address.
const SANDBOX_CONFIG: &str = include_str!("sandbox.toml");

/// Its caller, if other machines can reach the gateway.
const SANDBOX_CALLER: &str = "\n[callers.sandbox]\nkey_sha256 = \"HASH\"\naccounts = [\"main\"]\nallow = [\"*\"]\n";

/// If this is set, `run --sandbox` uses the state store.
const STATE_DIR: &str = "ZOHO_GATEWAY__STATE__DIR";

pub(super) async fn run(options: RunOptions) -> Result<(), Failure> {
    ignore_requests()?;
    let overrides = overrides(&options)?;
    let path = options.config.locate()?;
    let config = config::load(&path, overrides.clone())?;
    let start = match config.state.dir.as_deref().filter(|_| options.take_over) {
        Some(dir) => from_predecessor(dir).await?,
        None => Start { inherited: activated()?, ..Start::default() },
    };
    let source = path.display().to_string();
    serve(config, Start { file: Some(ConfigFile { path, overrides }), ..start }, &source, |_| None).await
}

pub(super) async fn run_on_sandbox(options: RunOptions) -> Result<(), Failure> {
    ignore_requests()?;
    let failed = |error: std::io::Error| Failure::Run(format!("cannot start the sandbox: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let zoho = format!("http://{}", listener.local_addr().map_err(failed)?);
    let mut text = SANDBOX_CONFIG.replace("SANDBOX_URL", &zoho);
    // Only known callers may call from other machines.
    let key = options.listen.iter().any(|address| !address.is_local()).then(new_key).transpose();
    let key = key.map_err(|error| Failure::Run(error.to_string()))?;
    if let Some(key) = &key {
        text += &SANDBOX_CALLER.replace("HASH", &KeyHash::of(key.expose().as_bytes()).to_string());
    }
    let mut config = config::parse("run --sandbox", &text, overrides(&options)?)?;
    if std::env::var_os(STATE_DIR).is_none() {
        // The simulated Zoho forgets everything at its end too, and a trial should leave nothing behind.
        config.state.dir = None;
    }
    let settings = sandbox::Settings { lenient: options.lenient, ..sandbox::Settings::default() };
    let serving = tokio::spawn(sandbox::serve(listener, settings, std::future::pending()));
    let greeting = |app: &App| Some(format!("A simulated Zoho listens on {zoho}.\n{}", suggestions(app, key.as_ref())));
    let start = Start { inherited: activated()?, ..Start::default() };
    let outcome = serve(config, start, "run --sandbox", greeting).await;
    serving.abort();
    outcome
}

/// The environment and the options that set keys.
fn overrides(options: &RunOptions) -> Result<Overrides, Failure> {
    let mut overrides = Overrides::from(std::env::vars_os());
    if !options.listen.is_empty() {
        let addresses = options.listen.iter().map(from_this_folder).collect::<Result<Vec<_>, _>>()?;
        overrides = overrides.with_option("--listen", ["proxy", "listen"], addresses.join(", "));
    }
    if let Some(address) = &options.admin_listen {
        overrides = overrides.with_option("--admin-listen", ["admin", "listen"], address.to_string());
    }
    Ok(overrides)
}

/// The address, whose path starts in the current folder, not in that of the configuration.
fn from_this_folder(address: &ListenAddress) -> Result<String, Failure> {
    let ListenAddress::Unix(path) = address else { return Ok(address.to_string()) };
    let whole = std::path::absolute(path).map_err(|error| Failure::Run(format!("{address}: {error}")))?;
    Ok(ListenAddress::Unix(whole).to_string())
}

/// `source` is where the configuration comes from.
async fn serve(
    config: Config,
    start: Start,
    source: &str,
    greeting: impl FnOnce(&App) -> Option<String>,
) -> Result<(), Failure> {
    telemetry::configure_log(config.log.format, &config.log.level);
    let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    tracing::info!(
        version = env!("ZOHO_GATEWAY_VERSION"),
        config = source,
        accounts = accounts.join(","),
        "zoho-gateway starts"
    );
    let mut signals = stop::listen().map_err(unheard)?;
    let mut reloads = stop::listen_for_reloads().map_err(unheard)?;
    let app = App::bind(config, start).await.map_err(|error| Failure::Run(error.to_string()))?;
    if let Some(greeting) = greeting(&app) {
        print(&greeting)?;
    }
    app.run(async || signals.asked().await, async || reloads.asked().await).await;
    Ok(())
}

/// The sockets that the service manager has opened.
fn activated() -> Result<Inherited, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").ok();
    Inherited::activated(names.as_deref()).map_err(|error| Failure::Usage(error.to_string()))
}

/// The gateway that runs with this folder, and its sockets. Without one, this is a usual start.
async fn from_predecessor(dir: &Path) -> Result<Start, Failure> {
    let failed =
        |error| Failure::Run(format!("the gateway that runs in {} does not hand over: {error}", dir.display()));
    match Predecessor::find(dir).await.map_err(failed)? {
        Some((predecessor, inherited)) => Ok(Start { inherited, predecessor: Some(predecessor), file: None }),
        None => Ok(Start { inherited: activated()?, ..Start::default() }),
    }
}

/// The first step: reading the configuration may take time, and a signal must not end the process meanwhile.
fn ignore_requests() -> Result<(), Failure> {
    stop::ignore_requests().map_err(unheard)
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::Run(format!("cannot listen for signals: {error}"))
}

/// Three calls to try, from Zoho's pages.
fn suggestions(app: &App, key: Option<&Secret>) -> String {
    let listen = app.proxy_addresses().into_iter().find(|address| !address.starts_with("unix:")).unwrap_or_default();
    // A listener on all addresses is also reached on loopback, where a container's port is usually published.
    let gateway = listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let (told, field) = match key {
        None => (String::new(), String::new()),
        Some(key) => {
            let key = key.expose();
            let told = format!("Other machines can reach it, so it takes calls with this key only: {key}\n");
            (told, format!(" -H 'Authorization: Bearer {key}'"))
        }
    };
    let course = format!("http://{gateway}/people/api/v1/courses/588882000000289003/share");
    let calendar = format!("http://{gateway}/calendar/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share");
    format!(
        "The gateway listens on {listen}, health and metrics are on http://{}. {told}Try:\n\
         curl -i -X PUT {course}{field} --data-urlencode 'erecnosList=[588882000000212025]'\n\
         curl -i '{course}?startIndex=0'{field}\n\
         curl -i -G -X PUT {calendar}{field} --data-urlencode 'shareData={{\"mailid\":\"user@domain.com\",\"privilege\":\"view\",\"type\":\"user\",\"mode\":\"edit\"}}'\n",
        app.admin_address(),
    )
}
