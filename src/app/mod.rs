//! The gateway as a whole: built from a configuration, run until it is asked to stop, and built anew in part when the
//! configuration changes.
//!
//! `kept` has what is built once: windows, queues, jobs, the store. `configured` has what is built for each
//! configuration, above all the [`stack`] of layers. `current` passes each request to the newest stack, and `reload`
//! replaces it.

pub mod admin;
mod configured;
mod current;
mod handover;
mod kept;
mod reload;
pub mod stack;
mod state;

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};

use self::{
    admin::reload::{Reloads, Trigger, Wish},
    configured::Configured,
    current::Current,
    handover::HandOver,
    kept::Kept,
    reload::{Reloader, follow_file},
};
pub use self::{handover::Predecessor, reload::ConfigFile};
use crate::{
    config::{self, Config, Proxy},
    ledger::store::OpenError,
    listener::{self, BindError, ConnectionLimit, Inherited, Listener, SocketLabel, SocketRole},
    middleware::{
        caller::{self, Issuers},
        route::AmbiguousRoutes,
    },
    os::{clock, shutdown::Shutdown},
    secret::random::NoRandomness,
    telemetry::{self, Metrics},
};

/// How long the state may stay locked after its process has said that it ends.
const RELEASE: Duration = Duration::from_secs(5);

/// What sets the addresses, for messages.
const OF_PROXY: &str = "it is set by proxy.listen, or run --listen ADDR";
const OF_ADMIN: &str = "it is set by admin.listen, or run --admin-listen ADDR";

/// What keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("{error} ({keys})")]
    Bind {
        /// What is wrong.
        #[source]
        error: BindError,
        /// What sets the address.
        keys: &'static str,
    },
    /// The state store could not be opened.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The thread that writes the state store could not be started.
    #[error("cannot start the journal of the state store: {0}")]
    Journal(#[source] std::io::Error),
    /// The server of the shared ledger cannot be used.
    #[error("the server of state.redis {0}")]
    Redis(String),
    /// The gateway has no name among the others.
    #[error(transparent)]
    Random(NoRandomness),
    /// The timer that kills a frozen process could not be started.
    #[error("cannot guard against a frozen process, which state.redis needs: {0}")]
    FreezeGuard(#[source] std::io::Error),
    /// The audit file cannot be opened.
    #[error("cannot open the audit's file {}: {error}", .path.display())]
    Audit {
        /// The path of the audit file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The store of the jobs could not be opened.
    #[error("cannot open the jobs in state.dir: {0}")]
    Jobs(#[source] std::io::Error),
    /// A socket that another process has opened cannot be used.
    #[error("cannot use a socket that another process has opened: {0}")]
    Inherited(#[source] std::io::Error),
    /// The gateway before this one did not hand over.
    #[error("the gateway that runs in state.dir does not hand over: {0}")]
    HandOver(#[source] std::io::Error),
    /// The catalogue has ambiguous routes.
    #[error(transparent)]
    Routes(#[from] AmbiguousRoutes),
}

/// What a process starts with besides its configuration.
#[derive(Debug, Default)]
pub struct Start {
    /// What reloads read again.
    pub file: Option<ConfigFile>,
    /// Sockets that another process has opened.
    pub inherited: Inherited,
    /// The gateway from which this one takes over.
    pub predecessor: Option<Predecessor>,
}

/// A gateway with its sockets open. Requests wait until it runs.
pub struct App {
    /// The addresses as bound.
    proxy: Vec<String>,
    admin: String,
    listeners: JoinSet<()>,
    /// With a folder for the state.
    hand_over: Option<HandOver>,
    reloader: Reloader,
    wishes: mpsc::Receiver<Wish>,
}

impl App {
    /// Opens the sockets and builds everything. If it takes over from another gateway, it accepts at once, and requests wait
    /// until that gateway has ended.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was sent and all sockets are closed.
    pub async fn bind(config: Config, start: Start) -> Result<Self, StartError> {
        let Start { file, mut inherited, predecessor } = start;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        open_audit(&config.audit)?;
        if let Some(egress) = config.upstream.egress.description() {
            tracing::info!(egress, "connections to Zoho and to issuers go through a proxy");
        }
        let Opened { proxy, admin, sockets } = Opened::open(&config, &mut inherited, predecessor.is_some()).await?;
        let (proxy_addresses, admin_address) = (proxy.iter().map(Listener::to_string).collect(), admin.to_string());
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::default());
        let ((to_proxy, to_admin), (reloads, wishes)) = ((Current::new(), Current::new()), Reloads::new());
        let Proxy { timeouts, max_connections, tls, .. } = config.proxy.clone();
        let connections = ConnectionLimit::for_callers(max_connections);
        tracing::info!(connections = connections.free(), "limit of concurrent connections");
        let mut listeners = JoinSet::new();
        for listener in proxy {
            let (service, connections, shutdown) = (to_proxy.clone(), connections.clone(), shutdown.clone());
            listeners.spawn(listener::serve(listener, service, connections, timeouts, shutdown));
        }
        let (service, connections) = (to_admin.clone(), ConnectionLimit::for_operators());
        listeners.spawn(listener::serve(admin, service, connections, timeouts, shutdown.clone()));
        if let Some(tls) = tls {
            listeners.spawn(listener::follow_tls(tls, "proxy.tls", Some(Arc::clone(&metrics)), shutdown.clone()));
        }
        let config::Admin { tls, keys, .. } = config.admin.clone();
        if let Some(tls) = tls {
            listeners.spawn(listener::follow_tls(tls, "admin.tls", None, shutdown.clone()));
        }
        if !keys.is_empty() {
            listeners.spawn(caller::follow_files(keys, Issuers::default(), shutdown.clone()));
        }
        let patience = match predecessor {
            Some(predecessor) => {
                to_admin.set(admin::while_waiting());
                tracing::info!("takes over the sockets; requests wait until the gateway before this one has ended");
                predecessor.ended().await.map_err(StartError::HandOver)?;
                RELEASE
            }
            None => Duration::ZERO,
        };
        let kept = Arc::new(Kept::open(&config, metrics, shutdown, patience).await?);
        let configured = Configured::new(&kept, config, None)?;
        let hand_over = configured.config.state.dir.as_deref().and_then(|dir| {
            let prepared = HandOver::prepare(dir, sockets);
            prepared.inspect_err(|error| tracing::warn!(%error, "run --take-over will not work")).ok()
        });
        let at_start = configured.config.keys.clone();
        let reloader = Reloader { file, kept, configured, at_start, proxy: to_proxy, admin: to_admin, reloads };
        Ok(Self { proxy: proxy_addresses, admin: admin_address, listeners, hand_over, reloader, wishes })
    }

    /// The addresses of the proxy, with the ports that the system chose.
    #[must_use]
    pub fn proxy_addresses(&self) -> Vec<String> {
        self.proxy.clone()
    }

    /// The address of the admin listener.
    #[must_use]
    pub fn admin_address(&self) -> String {
        self.admin.clone()
    }

    /// Serves until it is `asked` to stop, then drains: it rejects new work, and waits for work in flight until the
    /// configured time is over or it is asked again. Reloads the configuration when `hung_up` resolves.
    pub async fn run(self, mut asked: impl AsyncFnMut(), mut hung_up: impl AsyncFnMut()) {
        let Self { proxy, admin, mut listeners, hand_over, reloader, wishes } = self;
        let (kept, reloads) = (Arc::clone(&reloader.kept), reloader.reloads.clone());
        let usual_drain = reloader.configured.config.proxy.drain;
        let Kept { shutdown, limiters, journal, jobs, traces, .. } = &*kept;
        for address in proxy {
            tracing::info!(address, "the proxy listens");
        }
        tracing::info!(address = admin, "the admin listener listens");
        if let Some(file) = &reloader.file {
            listeners.spawn(follow_file(file.clone(), reloads.clone(), shutdown.clone()));
        }
        reloader.serve();
        let reloading = tokio::spawn(reloader.run(wishes));
        let reloads_on_signal = async {
            loop {
                hung_up().await;
                reloads.ask(Trigger::Signal).await;
            }
        };
        let taken_over = async {
            match &hand_over {
                Some(hand_over) => hand_over.taken_over().await,
                None => std::future::pending().await,
            }
        };
        let successor = tokio::select! {
            () = asked() => None,
            () = shutdown.end_asked() => None,
            () = reloads_on_signal => None,
            successor = taken_over => Some(successor),
        };
        // The next process makes its own.
        drop(hand_over);
        if successor.is_some() {
            tracing::info!("another process has taken over the sockets");
            shutdown.hand_over();
        } else {
            shutdown.drain();
        }
        let configured = reloading.await;
        let drain = configured.as_ref().map_or(usual_drain, |configured| configured.config.proxy.drain);
        // A call that gets no slot before the end is rejected at once, and does not delay the end.
        if let Some(end) = clock::now().checked_add(drain) {
            limiters.close(end);
        }
        tracing::info!(longest_s = drain.as_secs(), "draining: new work is rejected, work in flight may end");
        tokio::select! {
            () = shutdown.drained() => {}
            () = tokio::time::sleep(drain) => {
                tracing::warn!("the drain's time is over; work in flight is cut off");
            }
            () = asked() => tracing::warn!("asked again to stop; work in flight is cut off"),
        }
        shutdown.cut();
        while listeners.join_next().await.is_some() {}
        if let Ok(configured) = configured {
            configured.sources.values().for_each(|source| source.ended_on_purpose());
        }
        // Other gateways may use its slots as soon as they know that this one ends.
        let _ = limiters.context().backend.close().await;
        jobs.close().await;
        // The last answers are written, or the next process would count their calls as unanswered.
        journal.close().await;
        traces.clone().close().await;
        tracing::info!("drained");
        drop(successor);
    }
}

/// The listeners, and copies of their sockets for the next process.
struct Opened {
    proxy: Vec<Listener>,
    admin: Listener,
    sockets: Vec<(SocketLabel, OwnedFd)>,
}

impl Opened {
    /// Opens the addresses of the configuration, unless another process has opened them. `is_own`: that process leaves them
    /// to this one.
    async fn open(config: &Config, inherited: &mut Inherited, is_own: bool) -> Result<Self, StartError> {
        let access = &config.proxy.unix;
        let mut sockets = Vec::new();
        let mut shared = |listener: Listener, label: SocketLabel| {
            sockets.push((label, listener.share().map_err(StartError::Inherited)?));
            Ok::<_, StartError>(listener)
        };
        let adopted = |socket| Listener::adopt(socket, is_own).map_err(StartError::Inherited);
        let mut proxy = Vec::new();
        for socket in inherited.take_activated(SocketRole::Proxy) {
            proxy.push(shared(adopted(socket)?, SocketLabel::activated(SocketRole::Proxy))?);
        }
        let addresses = if proxy.is_empty() { config.proxy.listen.as_slice() } else { &[] };
        for address in addresses {
            let label = SocketLabel::new(SocketRole::Proxy, &address.to_string());
            let listener = match inherited.take(&label) {
                Some(socket) => adopted(socket)?,
                None => {
                    Listener::bind(address, access).await.map_err(|error| StartError::Bind { error, keys: OF_PROXY })?
                }
            };
            proxy.push(shared(listener, label)?);
        }
        if let Some(tls) = &config.proxy.tls {
            proxy = proxy.into_iter().map(|listener| listener.over_tls(tls)).collect();
        }
        let activated = inherited.take_activated(SocketRole::Admin).pop();
        let label = SocketLabel::new(SocketRole::Admin, &config.admin.listen.to_string());
        let admin = match (activated, inherited.take(&label)) {
            (Some(socket), _) => shared(adopted(socket)?, SocketLabel::activated(SocketRole::Admin))?,
            (None, Some(socket)) => shared(adopted(socket)?, label)?,
            // Always a TCP address, so the mode of Unix sockets does not apply.
            (None, None) => {
                let bound = Listener::bind(&config.admin.listen, access).await;
                shared(bound.map_err(|error| StartError::Bind { error, keys: OF_ADMIN })?, label)?
            }
        };
        let admin = match &config.admin.tls {
            Some(tls) => admin.over_tls(tls),
            None => admin,
        };
        Ok(Self { proxy, admin, sockets })
    }
}

/// Opens the file of the audit, if it has one.
fn open_audit(audit: &config::Audit) -> Result<(), StartError> {
    let config::Audit { file, fsync, required } = audit;
    if *required && !tracing::enabled!(target: telemetry::AUDIT, tracing::Level::INFO) {
        tracing::warn!("audit.required is set, and RUST_LOG turns the audit off: nothing is recorded");
    }
    telemetry::audit_to(file.as_deref(), *fsync).map_err(|error| StartError::Audit {
        path: file.clone().unwrap_or_else(|| PathBuf::from("standard error")),
        error,
    })
}
