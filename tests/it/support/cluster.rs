//! A cluster of a test.

use super::{RedisServer, until};

const SLOTS: usize = 16_384;

/// Three masters without replicas.
pub(crate) struct Cluster(Vec<RedisServer>);

impl Cluster {
    /// Starts it, and waits until every node accepts commands.
    pub(crate) async fn start() -> Self {
        let nodes: Vec<_> = (0..3).map(|_| start_node()).collect();
        for (index, node) in nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            let [first, last] = [index * SLOTS / 3, (index + 1) * SLOTS / 3 - 1];
            assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]), "OK");
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        let cluster = Self(nodes);
        cluster.until_ok().await;
        cluster
    }

    /// Adds replicas of one of its nodes, and waits until they are in step.
    pub(crate) async fn add_replicas(&mut self, node: usize, count: usize) {
        let master = self.0[node].port().to_string();
        let id = self.0[node].command(&["CLUSTER", "MYID"]);
        for _ in 0..count {
            let replica = start_node();
            replica.command(&["CLUSTER", "MEET", "127.0.0.1", &master]);
            let replicate = async || replica.command(&["CLUSTER", "REPLICATE", &id]) == "OK";
            until("the replica knows its master", replicate).await;
            self.0.push(replica);
        }
        let online = || self.0[node].command(&["INFO", "replication"]).matches("state=online").count();
        until("the replicas are connected", async || online() == count).await;
        self.until_ok().await;
    }

    /// The URL of two of its nodes.
    pub(crate) fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", self.0[0].port(), self.0[1].port())
    }

    /// Its nodes.
    pub(crate) fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.0
    }

    /// The number of the node that has a key.
    pub(crate) fn node_of(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let has = |node: &RedisServer| node.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) != "0";
        self.0.iter().position(has).unwrap_or_else(|| panic!("no node has {key}"))
    }

    /// The number of the node that gets a key, until its slot moves.
    pub(crate) fn owner_of(&self, key: &str) -> usize {
        let slot: usize = self.slot(key).parse().expect("a number");
        (0..3).find(|node| slot < (node + 1) * SLOTS / 3).expect("each slot has a node")
    }

    /// Resolves when every node says that all slots are served.
    pub(crate) async fn until_ok(&self) {
        let is_ok = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{}", self.0.len()))
        };
        until("the cluster is complete", async || self.0.iter().all(is_ok)).await;
    }

    /// Begins to move a key's slot to another node: the key is there, and the slot is still here.
    pub(crate) fn begin_to_move(&self, key: &str, to: usize) {
        let (slot, from) = (self.slot(key), self.node_of(key));
        let [from_id, to_id] = [from, to].map(|node| self.0[node].command(&["CLUSTER", "MYID"]));
        let port = self.0[to].port().to_string();
        for (node, arguments) in [
            (to, vec!["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]),
            (from, vec!["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]),
            (from, vec!["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]),
        ] {
            assert_eq!(self.0[node].command(&arguments), "OK", "{arguments:?}");
        }
    }

    /// Ends the move, with all other keys of the slot.
    pub(crate) fn end_to_move(&self, key: &str, to: usize) {
        let (slot, id) = (self.slot(key), self.0[to].command(&["CLUSTER", "MYID"]));
        let port = self.0[to].port().to_string();
        for from in (0..3).filter(|from| *from != to) {
            let left = self.0[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            for key in left.lines().filter(|key| !key.is_empty()) {
                let moved = self.0[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
                assert!(["OK", "NOKEY"].contains(&moved.as_str()), "{key}: {moved}");
            }
        }
        for node in [to, 0, 1, 2] {
            assert_eq!(self.0[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
    }

    fn slot(&self, key: &str) -> String {
        self.0[0].command(&["CLUSTER", "KEYSLOT", key])
    }
}

fn start_node() -> RedisServer {
    RedisServer::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
}
