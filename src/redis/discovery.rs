//! Finds the server to connect to: at its address, through Sentinels, or as any node of a cluster.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{
    RunError, Server, Settings, Topology,
    connect::{self, Stream},
    connection::Connection,
};

/// How errors of a Sentinel begin.
pub(super) const OF_SENTINEL: &str = "the Sentinel";

/// What a Sentinel says of a name that it does not know.
pub(super) const UNKNOWN_MASTER: &str = "it knows no master";

/// How long one Sentinel's answer waits for those of others, which may know a newer master.
const OTHERS: Duration = Duration::from_millis(250);

/// How long a node of a cluster may take before another one is tried.
const NODE: Duration = Duration::from_secs(1);

/// Opens a stream to the master, or to any node of a cluster.
pub(super) async fn open(settings: &Settings) -> Result<Stream, RunError> {
    match &settings.topology {
        Topology::Single(server) => connect::open(settings, server).await,
        Topology::Sentinel { sentinels, master } => {
            connect::open(settings, &known_master(settings, sentinels, master).await?).await
        }
        Topology::Cluster(nodes) => any(settings, nodes).await,
    }
}

/// The address that most of the Sentinels state. One that is cut off from the others may state an old one.
async fn known_master(settings: &Settings, sentinels: &[Server], master: &str) -> Result<Server, RunError> {
    let mut answers: FuturesUnordered<_> = sentinels.iter().map(|sentinel| ask(settings, sentinel, master)).collect();
    let (mut stated, mut failure) = (BTreeMap::<Server, usize>::new(), None);
    loop {
        let next = match stated.is_empty() {
            true => answers.next().await,
            false => timeout(OTHERS, answers.next()).await.unwrap_or(None),
        };
        match next {
            Some(Ok(server)) => {
                let count = stated.entry(server.clone()).or_default();
                *count += 1;
                if *count > sentinels.len() / 2 {
                    return Ok(server);
                }
            }
            // What somebody has to change is more helpful than that one is away.
            Some(Err(error)) if matches!(failure, None | Some(RunError::Unreachable(_))) => failure = Some(error),
            Some(Err(_)) => {}
            None => break,
        }
    }
    let most = stated.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(server, _)| server)
        .ok_or_else(|| failure.unwrap_or_else(|| RunError::Unreachable("there is no Sentinel".to_owned())))
}

/// The address of the master that one Sentinel states.
async fn ask(settings: &Settings, sentinel: &Server, master: &str) -> Result<Server, RunError> {
    let of_sentinel = |error| match error {
        RunError::Refused(error) => RunError::Refused(format!("{OF_SENTINEL} {sentinel} answers \"{error}\"")),
        RunError::Unreachable(error) | RunError::Unknown(error) => {
            RunError::Unreachable(format!("{OF_SENTINEL} {sentinel}: {error}"))
        }
    };
    let stream = connect::open_sentinel(settings, sentinel).await.map_err(of_sentinel)?;
    let connection = Connection::on(stream).await.map_err(of_sentinel)?;
    let stated = connection.ask_sentinel(master).await.map_err(of_sentinel)?;
    let (host, port) = stated.ok_or_else(|| of_sentinel(RunError::Refused(format!("{UNKNOWN_MASTER} {master}"))))?;
    Ok(Server::network(host, port, sentinel.is_tls()))
}

/// A stream to the first node that accepts one. Another node is tried first each time, because one that is cut off from
/// its cluster accepts connections too.
async fn any(settings: &Settings, nodes: &[Server]) -> Result<Stream, RunError> {
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    let first = OPENED.fetch_add(1, Ordering::Relaxed);
    let mut failure = RunError::Unreachable("there is no node".to_owned());
    for offset in 0..nodes.len() {
        let node = &nodes[(first + offset) % nodes.len()];
        failure = match timeout(NODE, connect::open(settings, node)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => RunError::Unreachable(format!("{node} does not answer")),
        };
    }
    Err(failure)
}
