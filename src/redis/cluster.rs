//! Which node has a key. In a cluster a node that does not have it runs nothing and names the one that does, so there is
//! no map of slots here, only what nodes have said.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    RunError, Server, Settings, Topology,
    node::{Answer, Node},
    script::Run,
};

/// How often a script may be sent on. While a key moves, two nodes may name each other for a moment.
const MOST_REDIRECTIONS: u32 = 4;

/// The master; of a cluster, every node that is in use.
#[derive(Debug)]
pub(super) struct Nodes {
    settings: Arc<Settings>,
    /// The master; of a cluster, any node.
    first: Arc<Node>,
    named: Mutex<Named>,
}

/// What nodes have named.
#[derive(Debug, Default)]
struct Named {
    by_address: BTreeMap<Server, Arc<Node>>,
    by_key: BTreeMap<String, Arc<Node>>,
}

/// Where a node says that a key is.
#[derive(Debug, PartialEq, Eq)]
enum Redirection {
    /// There from now on.
    Moved(Server),
    /// There for this script.
    Ask(Server),
}

impl Nodes {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let first = Arc::new(Node::new(Arc::clone(&settings), None));
        Self { settings, first, named: Mutex::default() }
    }

    /// Runs a script on the node that has its key.
    pub(super) async fn run(&self, run: &Run<'_>) -> Result<Answer, RunError> {
        let (mut node, mut run) = (self.of_key(run.key), *run);
        for _ in 0..=MOST_REDIRECTIONS {
            let error = match node.run(&run).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Topology::Cluster(_) = self.settings.topology else { return Err(error) };
            (node, run.asking) = match Redirection::read(&error, self.settings.topology.is_tls()) {
                Some(Redirection::Moved(server)) => (self.moved(run.key, server), false),
                Some(Redirection::Ask(server)) => (self.at(server), true),
                None => return Err(self.failed(error, run.key, &node)),
            };
        }
        Err(RunError::Unreachable("the nodes of the cluster do not agree on who has the key".to_owned()))
    }

    /// Opens new connections from now on.
    pub(super) fn reconnect(&self) {
        self.first.reconnect();
        *self.named.lock() = Named::default();
    }

    fn of_key(&self, key: &str) -> Arc<Node> {
        let named = self.named.lock().by_key.get(key).map(Arc::clone);
        named.unwrap_or_else(|| Arc::clone(&self.first))
    }

    fn moved(&self, key: &str, server: Server) -> Arc<Node> {
        let node = self.at(server);
        self.named.lock().by_key.insert(key.to_owned(), Arc::clone(&node));
        node
    }

    fn at(&self, server: Server) -> Arc<Node> {
        let new = || Arc::new(Node::new(Arc::clone(&self.settings), Some(server.clone())));
        Arc::clone(self.named.lock().by_address.entry(server.clone()).or_insert_with(new))
    }

    /// After a failure another node is asked where the key is: its old one may have failed.
    fn failed(&self, error: RunError, key: &str, node: &Node) -> RunError {
        match error {
            // The node is cut off from the others, or a part of the cluster has failed. The script has not run.
            RunError::Refused(error) if error.starts_with("CLUSTERDOWN") => {
                self.named.lock().by_key.remove(key);
                node.reconnect();
                RunError::Unreachable(error)
            }
            RunError::Refused(error) if ["MOVED ", "ASK "].iter().any(|kind| error.starts_with(kind)) => {
                RunError::Refused(
                    "a node names another one without its host: set cluster-preferred-endpoint-type to ip".to_owned(),
                )
            }
            RunError::Refused(_) => error,
            RunError::Unreachable(_) | RunError::Unknown(_) => {
                self.named.lock().by_key.remove(key);
                error
            }
        }
    }
}

impl Redirection {
    /// `MOVED slot host:port` or `ASK slot host:port`; the host is missing if the node does not know it.
    fn read(error: &RunError, tls: bool) -> Option<Self> {
        let RunError::Refused(error) = error else { return None };
        let mut words = error.split(' ');
        let (kind, _slot, address) = (words.next()?, words.next()?, words.next()?);
        let (host, port) = address.rsplit_once(':').filter(|(host, _)| !["", "?"].contains(host))?;
        let server = Server::network(host.to_owned(), port.parse().ok()?, tls);
        match kind {
            "MOVED" => Some(Self::Moved(server)),
            "ASK" => Some(Self::Ask(server)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_the_one_that_has_the_key() {
        let server = |host: &str| Server::network(host.to_owned(), 6381, false);
        for (error, expected) in [
            ("MOVED 3999 127.0.0.1:6381", Some(Redirection::Moved(server("127.0.0.1")))),
            ("MOVED 3999 node.example:6381", Some(Redirection::Moved(server("node.example")))),
            ("ASK 3999 ::1:6381", Some(Redirection::Ask(server("::1")))),
            ("MOVED 3999 :6381", None),
            ("MOVED 3999 ?:6381", None),
            ("MOVED 3999 127.0.0.1", None),
            ("MOVED 3999 127.0.0.1:port", None),
            ("MOVED", None),
            ("ERR a script says MOVED", None),
        ] {
            assert_eq!(Redirection::read(&RunError::Refused(error.to_owned()), false), expected, "{error}");
        }
        assert_eq!(Redirection::read(&RunError::Unknown("MOVED 1 h:1".to_owned()), false), None);
    }
}
