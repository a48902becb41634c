//! The task that speaks with the server for one account.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    account::{SharedAccount, now},
    member::Unusable,
};
use crate::{
    os::clock,
    redis::{Redis, RunError, Script},
    secret::random,
};

/// How long leaving may take: a server that does not answer must not keep the gateway from ending.
const LEAVING: Duration = Duration::from_secs(2);

/// The account's record on the server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) account: Arc<SharedAccount>,
    pub(super) redis: Redis,
    pub(super) script: Arc<Script>,
    pub(super) key: String,
    /// Where the script publishes what other members must hear.
    pub(super) channel: String,
    pub(super) timeout: Duration,
}

impl Link {
    /// Speaks with the server until the gateway stops, and then leaves the record.
    pub(super) async fn run(self, stopped: CancellationToken) {
        loop {
            let demand = self.account.demand();
            let due = self.account.due(&demand).unwrap_or_else(clock::now);
            let lease = self.account.state.lock().member.lease_left(now());
            tokio::select! {
                () = stopped.cancelled() => break,
                () = sleep_until(due) => tokio::select! {
                    () = stopped.cancelled() => break,
                    () = self.exchange() => {}
                },
                () = self.account.news.notified() => {}
                // Calls that wait for a connection are held back when the lease ends.
                () = sleep_until(clock::now() + lease), if !lease.is_zero() => self.account.wake(),
            }
        }
        if self.account.state.lock().member.leave() {
            // If it is lost, the others find out later.
            let _ = timeout(LEAVING, self.exchange()).await;
        }
    }

    async fn exchange(&self) {
        let demand = self.account.demand();
        // Without random numbers, the server's part of the name still differs.
        let candidate = random::hex().map_or_else(|_| String::new(), |hex| hex.expose().to_owned());
        let request = self.account.request(demand, candidate);
        let Ok(text) = serde_json::to_string(&request) else { return self.account.failed("cannot write a request") };
        match self.answer(&text).await {
            Ok((reply, confirmed)) => match serde_json::from_str(&reply) {
                Ok(reply) => {
                    if self.account.receive(reply, confirmed) == Err(Unusable::Replica) {
                        self.redis.reconnect();
                    }
                }
                Err(error) => self.account.failed(&format!("answers something else: {error}")),
            },
            Err(error) => self.account.failed(&error.to_string()),
        }
    }

    /// The server's answer to a request, and whether a majority of its nodes has the change. Calls that wait for a
    /// connection are held back when the lease ends meanwhile.
    async fn answer(&self, text: &str) -> Result<(String, bool), RunError> {
        let arguments = [text, self.channel.as_str()];
        let mut answer = pin!(self.redis.run_confirmed(&self.script, &self.key, &arguments, self.timeout));
        let lease = self.account.state.lock().member.lease_left(now());
        let mut lease_over = pin!(sleep(lease));
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = &mut lease_over => self.account.wake(),
        }
        answer.await
    }
}
