//! The server: one node, or three of which a majority decides.

use super::{
    super::{
        super::message::{Message, Reply, Status},
        scene::{Fault::*, LATE},
        server::Data,
    },
    Event, Sent, World,
};

/// A node of the server.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) data: Data,
    /// The node that it copies, unless it is a master.
    pub(super) master: Option<usize>,
    /// Later masters have greater numbers.
    reign: u64,
    pub(super) stalled_until: u64,
    pub(super) snapshots: Vec<Data>,
}

/// An answer that waits until a replica has what its request changed.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    node: usize,
    gateway: usize,
    incarnation: u32,
    reply: Reply,
}

impl World {
    pub(super) fn trip(&mut self, gateway: usize) -> u64 {
        let late = if self.plan.has(Rare) && gateway.is_multiple_of(2) { LATE } else { self.plan.late };
        let late = self.plan.has(Late) && self.random.in_a_thousand(late);
        let most = match late {
            // So late that the sender still waits for the answer.
            true if self.random.in_a_thousand(500) => self.plan.lease / 2,
            true => 2 * self.gone_after(),
            false => self.plan.trip,
        };
        self.now + self.random.below(most + 1)
    }

    pub(super) fn execute(&mut self, sent: Sent) {
        let node = &mut self.nodes[sent.node];
        if self.now < node.stalled_until {
            let at = node.stalled_until;
            self.at(at, Event::Execute { request: sent });
            return;
        }
        self.tally.executed += 1;
        let role = if node.master.is_none() { "master" } else { "slave" };
        let (reply, messages) = self.server.run(&mut node.data, role, 1_000_000 + self.now, &sent.request);
        if self.plan.locks > 0 && self.nodes.len() == 1 {
            self.note_locks(&reply);
        }
        for message in messages {
            self.publish(&message);
        }
        let Sent { gateway, incarnation, node, .. } = sent;
        if self.nodes.len() == 1 || reply.status != Status::Ok {
            self.answer(gateway, incarnation, reply, true);
            return;
        }
        self.sequence += 1;
        let key = self.sequence;
        self.unconfirmed.insert(key, Unconfirmed { node, gateway, incarnation, reply });
        let at = self.now + 1 + self.random.below(self.plan.lease / 2);
        self.at(at, Event::Unconfirmed { key });
    }

    fn publish(&mut self, message: &Message) {
        for gateway in 0..self.gateways.len() {
            if self.now >= self.gateways[gateway].cut_until && !self.random.in_a_thousand(100) {
                let incarnation = self.gateways[gateway].incarnation;
                let at = self.trip(gateway);
                self.at(at, Event::Message { gateway, incarnation, message: message.clone() });
            }
        }
    }

    fn answer(&mut self, gateway: usize, incarnation: u32, reply: Reply, confirmed: bool) {
        let lost = self.plan.has(Lost) && self.random.in_a_thousand(30);
        if self.now >= self.gateways[gateway].cut_until && !lost {
            let at = self.trip(gateway);
            self.at(at, Event::Answer { gateway, incarnation, reply: Box::new(reply), confirmed });
        }
    }

    /// Notes which locks the record has.
    fn note_locks(&mut self, reply: &Reply) {
        for lock in reply.locks.values() {
            if let Some(end) = self.lock_ends.get(&lock.name) {
                self.known.entry(lock.name.clone()).or_insert((self.now, *end));
            }
        }
    }

    // === Replicas ===

    /// No replica has confirmed the answer for so long that it is sent without.
    pub(super) fn give_up_confirmation(&mut self, key: u64) {
        if let Some(Unconfirmed { gateway, incarnation, reply, .. }) = self.unconfirmed.remove(&key) {
            self.answer(gateway, incarnation, reply, false);
        }
    }

    /// A replica copies its master, and so confirms all that the master has changed. It and the master are a majority.
    pub(super) fn replicate(&mut self, replica: usize) {
        let Some(master) = self.nodes[replica].master else { return };
        let busy = [master, replica].iter().any(|node| self.now < self.nodes[*node].stalled_until);
        if busy || self.nodes[master].master.is_some() {
            return;
        }
        let Data { record, replid, .. } = self.nodes[master].data.clone();
        let copy = &mut self.nodes[replica].data;
        (copy.record, copy.replid) = (record, replid);
        let keys: Vec<_> =
            self.unconfirmed.iter().filter(|(_, waits)| waits.node == master).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(Unconfirmed { gateway, incarnation, reply, .. }) = self.unconfirmed.remove(&key) {
                self.answer(gateway, incarnation, reply, true);
            }
        }
    }

    /// One of the things that happen to nodes in a failover. A replica that followed a newer master never goes back.
    pub(super) fn change_roles(&mut self, node: usize, gateway: usize) {
        match self.random.below(9) {
            0 => self.promote(node),
            1 | 2 => {
                let Some(master) = self.nodes[node].master else { return };
                if let Some(newest) = self.newest_master(node)
                    && (self.nodes[newest].reign > self.nodes[master].reign || self.nodes[master].master.is_some())
                {
                    self.follow(node, newest);
                }
            }
            3 | 4 => {
                let newer = self.newest_master(node).filter(|newer| self.nodes[*newer].reign > self.nodes[node].reign);
                if self.nodes[node].master.is_none()
                    && let Some(newer) = newer
                {
                    self.follow(node, newer);
                }
            }
            5 if self.nodes[node].master.is_none() => {
                let record = self.nodes[node].data.record.clone().filter(|_| self.random.in_a_thousand(500));
                self.lose(node, record, true, true);
            }
            _ => self.gateways[gateway].node = node,
        }
        if self.nodes.iter().all(|node| node.master.is_some()) {
            self.promote(node);
        }
    }

    /// The master that was promoted last, other than this node.
    pub(super) fn newest_master(&self, node: usize) -> Option<usize> {
        let masters = (0..self.nodes.len()).filter(|other| *other != node && self.nodes[*other].master.is_none());
        masters.max_by_key(|master| self.nodes[*master].reign)
    }

    fn promote(&mut self, node: usize) {
        if self.nodes[node].master.take().is_none() {
            return;
        }
        self.promotions += 1;
        self.nodes[node].reign = self.promotions;
        let record = self.nodes[node].data.record.clone();
        self.lose(node, record, false, true);
        self.tell(|| format!("node {node} is a master now"));
    }

    fn follow(&mut self, node: usize, master: usize) {
        self.tell(|| format!("node {node} follows node {master} now"));
        self.nodes[node].master = Some(master);
        self.unconfirmed.retain(|_, waits| waits.node != node);
        self.replicate(node);
    }

    /// The server has this record now, and is another run or has another history.
    pub(super) fn lose(&mut self, node: usize, record: Option<mlua::Table>, restarts: bool, forks: bool) {
        self.tell(|| format!("node {node} has another record now: {record:?}"));
        self.tally.lost_data += 1;
        self.known.clear();
        self.nodes[node].data.record = record;
        self.new_life(node, restarts, forks);
        // It would be wrong to call this a first start.
        self.gateways.iter_mut().for_each(|gateway| gateway.member.fresh = false);
    }

    pub(super) fn new_life(&mut self, node: usize, restarts: bool, forks: bool) {
        let (run_id, replid) = (self.random.below(1 << 40), self.random.below(1 << 40));
        let data = &mut self.nodes[node].data;
        if restarts {
            (data.run_id, data.commands) = (run_id, 0);
            self.unconfirmed.retain(|_, waits| waits.node != node);
        }
        if forks {
            data.replid = replid;
        }
    }
}
