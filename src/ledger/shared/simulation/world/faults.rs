//! What goes wrong.

use super::{
    super::{
        flaw::Flaw,
        scene::Fault::{self, *},
    },
    Event, World,
    nodes::Node,
};

impl World {
    pub(super) fn gone_after(&self) -> u64 {
        let longest = self.plan.longest.iter().copied().max().unwrap_or_default();
        self.plan.lease + longest + self.plan.frozen + self.plan.grace
    }

    pub(super) fn freeze(&mut self, gateway: usize) {
        let most = match self.random.below(if self.plan.scene.is_tight() { 6 } else { 2 }) {
            0 => 2 * self.gone_after(),
            1 => 3 * self.plan.frozen,
            _ => self.plan.frozen,
        };
        let length = 1 + self.random.below(most);
        self.tell(|| format!("g{gateway} is frozen for {length}"));
        self.gateways[gateway].stopped_until = self.now + length;
        if length > self.plan.frozen && self.flaw != Some(Flaw::NoFreezeGuard) {
            let incarnation = self.gateways[gateway].incarnation;
            self.at(self.now + self.plan.frozen, Event::Kill { gateway, incarnation });
        }
    }

    pub(super) fn fault(&mut self) {
        let node = self.random.below(self.nodes.len() as u64) as usize;
        if self.random.in_a_thousand(500) {
            let Node { data, snapshots, .. } = &mut self.nodes[node];
            snapshots.push(data.clone());
            if snapshots.len() > 3 {
                snapshots.remove(0);
            }
        }
        let faults: Vec<Fault> = self.plan.scene.faults.to_vec();
        if faults.is_empty() {
            return;
        }
        let fault = faults[self.random.below(faults.len() as u64) as usize];
        let gateway = self.random.below(self.gateways.len() as u64) as usize;
        let running = self.gateways[gateway].alive && self.now >= self.gateways[gateway].stopped_until;
        let gone_after = self.gone_after();
        // In a tight scene, so long that others get the slots.
        let least = if self.plan.scene.is_tight() { gone_after } else { 0 };
        let long = least + self.random.below(2 * gone_after);
        let short = self.random.below(2 * self.plan.lease);
        let length = if self.random.in_a_thousand(500) { long } else { short };
        match fault {
            Late | Repeated | Lost | Rare | Rates | Locks | Timings => {}
            Roles => self.change_roles(node, gateway),
            Stall => self.nodes[node].stalled_until = self.now + length,
            Cut => self.gateways[gateway].cut_until = self.now + length,
            Crash if self.gateways[gateway].alive => self.crash(gateway),
            Leave if running => self.leave(gateway),
            Freeze if running => self.freeze(gateway),
            Sleep if running => {
                // A call in flight may sleep for as long as `frozen`.
                let busy = self.calls.iter().any(|call| call.gateway == gateway && !call.ended && call.sent.is_some());
                let length = if busy { length % self.plan.frozen } else { length };
                self.gateways[gateway].stopped_until = self.now + length;
                self.gateways[gateway].slept += length;
            }
            Crash | Leave | Freeze | Sleep => {}
            Emptied | Deleted | Cold => {
                let forks = fault != Deleted && self.random.in_a_thousand(500);
                self.lose(node, None, fault != Deleted, forks);
                if fault == Cold {
                    (0..self.gateways.len())
                        .filter(|gateway| self.gateways[*gateway].alive)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .for_each(|gateway| self.crash(gateway));
                }
            }
            RolledBack | FailedOver if !self.nodes[node].snapshots.is_empty() => {
                let index = self.random.below(self.nodes[node].snapshots.len() as u64) as usize;
                let record = self.nodes[node].snapshots[index].record.clone();
                // A server that restarts from its files may keep its history; one that fails over does not restart.
                let forks = fault == FailedOver || self.random.in_a_thousand(500);
                self.lose(node, record, fault == RolledBack, forks);
            }
            RolledBack | FailedOver => {}
        }
    }
}
