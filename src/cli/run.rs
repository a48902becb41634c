//! `run`: the gateway itself.

use std::path::Path;

use tokio::net::TcpListener;

use super::{Failure, print, stop};
use crate::{
    app::{App, ConfigFile, Predecessor, Start},
    config::{self, Config},
    listener::Inherited,
    sandbox, telemetry,
};

/// The configuration of `run --sandbox`, without the sandbox's own address.
const SANDBOX_CONFIG: &str = include_str!("sandbox.toml");

/// If this is set, `run --sandbox` uses the state store.
const STATE_DIR: &str = "ZOHO_GATEWAY__STATE__DIR";

pub(super) async fn run(path: &Path, take_over: bool) -> Result<(), Failure> {
    ignore_requests()?;
    let environment: Vec<_> = std::env::vars_os().collect();
    let config = config::load(path, environment.iter().cloned())?;
    let file = Some(ConfigFile { path: path.to_owned(), environment });
    let start = match config.state.dir.as_deref().filter(|_| take_over) {
        Some(dir) => from_predecessor(dir).await?,
        None => Start { inherited: activated()?, ..Start::default() },
    };
    serve(config, Start { file, ..start }, &path.display().to_string(), "").await
}

pub(super) async fn run_on_sandbox(lenient: bool) -> Result<(), Failure> {
    ignore_requests()?;
    let failed = |error: std::io::Error| Failure::Run(format!("cannot start the sandbox: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let zoho = format!("http://{}", listener.local_addr().map_err(failed)?);
    let text = SANDBOX_CONFIG.replace("SANDBOX_URL", &zoho);
    let mut config = config::parse("run --sandbox", &text, std::env::vars_os())?;
    if std::env::var_os(STATE_DIR).is_none() {
        // The simulated Zoho forgets everything at its end too, and a trial should leave nothing behind.
        config.state.dir = None;
    }
    let settings = sandbox::Settings { lenient, ..sandbox::Settings::default() };
    let serving = tokio::spawn(sandbox::serve(listener, settings, std::future::pending()));
    let start = Start { inherited: activated()?, ..Start::default() };
    let outcome = serve(config, start, "run --sandbox", &format!("A simulated Zoho listens on {zoho}.\n")).await;
    serving.abort();
    outcome
}

/// `source` is where the configuration comes from.
async fn serve(config: Config, start: Start, source: &str, greeting: &str) -> Result<(), Failure> {
    telemetry::configure_log(config.log.format, &config.log.level);
    let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = source,
        accounts = accounts.join(","),
        "zoho-gateway starts"
    );
    let mut signals = stop::listen().map_err(unheard)?;
    let mut reloads = stop::listen_for_reloads().map_err(unheard)?;
    let app = App::bind(config, start).await.map_err(|error| Failure::Run(error.to_string()))?;
    if !greeting.is_empty() {
        print(&format!("{greeting}{}", suggestions(&app)))?;
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
fn suggestions(app: &App) -> String {
    let gateway = app.proxy_addresses().into_iter().find(|address| !address.starts_with("unix:")).unwrap_or_default();
    let course = format!("http://{gateway}/people/api/v1/courses/588882000000289003/share");
    let calendar = format!("http://{gateway}/calendar/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share");
    format!(
        "The gateway listens on {gateway}, health and metrics are on http://{}. Try:\n\
         curl -i -X PUT {course} --data-urlencode 'erecnosList=[588882000000212025]'\n\
         curl -i '{course}?startIndex=0'\n\
         curl -i -G -X PUT {calendar} --data-urlencode 'shareData={{\"mailid\":\"user@domain.com\",\"privilege\":\"view\",\"type\":\"user\",\"mode\":\"edit\"}}'\n",
        app.admin_address(),
    )
}
