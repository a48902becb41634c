//! Gateways end, freeze and are cut off under load: no job is lost, none is sent twice, none is in two states.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::json;

use super::sharing;
use crate::{
    jobs::{ROUTE, accepted, form, kills::is_one_story, share, state, until_in},
    support::{Gateway, Link, Random, RedisServer, Reply, Setup, Upstream, get, ms, until},
};

const EVENTS: usize = 10;
const CALLERS: u64 = 6;

/// What a caller knows of a job: where it is, and the states in which it was seen, in their order.
type Known = BTreeMap<u64, (String, Vec<String>)>;

/// What the callers of a test share.
#[derive(Clone)]
struct Callers {
    addresses: [String; 2],
    over: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    known: Arc<Mutex<Known>>,
}

impl Callers {
    /// Makes jobs until the end, and looks at earlier ones. A caller without an answer sends its request again, with its
    /// key and to the other gateway.
    async fn call(self) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let call =
                share(number).header("prefer", "respond-async").header("idempotency-key", &format!("\"{number}\""));
            for turn in number as usize.. {
                match call.attempt(&self.addresses[turn % 2]).await {
                    Some(answer) if [409, 503].contains(&answer.status) => {}
                    // The first request with the key was accepted, and its job has ended.
                    Some(answer) if [200, 502].contains(&answer.status) => break,
                    Some(answer) => {
                        let known = (accepted(&answer), Vec::new());
                        self.known.lock().expect("no panic").insert(number, known);
                        break;
                    }
                    None => {}
                }
                tokio::time::sleep(ms(20)).await;
            }
            self.look(number.saturating_sub(7), number as usize % 2).await;
            tokio::time::sleep(ms(60)).await;
        }
    }

    async fn look(&self, number: u64, gateway: usize) {
        let location = self.known.lock().expect("no panic").get(&number).map(|known| known.0.clone());
        let Some(location) = location else { return };
        let Some(answer) = get(&location).attempt(&self.addresses[gateway]).await else { return };
        if answer.status == 503 {
            return;
        }
        assert_eq!(answer.status, 200, "a job was lost: {answer:?}");
        let state = answer.json()["state"].as_str().expect("a state").to_owned();
        if let Some(known) = self.known.lock().expect("no panic").get_mut(&number) {
            known.1.push(state);
        }
    }
}

/// What may happen to a gateway.
async fn harm(gateway: Gateway, random: &mut Random) -> Gateway {
    let pause = ms(random.below(500));
    match random.below(4) {
        0 => {
            let setup = gateway.kill();
            tokio::time::sleep(pause).await;
            setup.start()
        }
        1 => {
            let setup = tokio::task::spawn_blocking(|| gateway.stop()).await.expect("it ends well");
            tokio::time::sleep(pause).await;
            setup.start()
        }
        2 => {
            gateway.process().signal("STOP");
            tokio::time::sleep(3 * pause).await;
            gateway.process().signal("CONT");
            gateway
        }
        // The kernel kills it.
        _ => {
            gateway.process().signal("STOP");
            tokio::time::sleep(ms(5500)).await;
            gateway.kill().start()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_stops_and_freezes_lose_no_job_and_send_none_twice() {
    let mut random = Random::seeded();
    let seed = random.seed();
    let redis = RedisServer::start(&[]);
    let upstream = Upstream::start(|_| Reply::json(200, "{}").after(ms(60))).await;
    let setup = || {
        let setup = sharing(Gateway::before_upstream(&upstream), &redis).set("token.requests", 1000);
        let address = format!("unix:{}", setup.path("proxy.sock").display());
        let setup = setup.route(ROUTE, "requests", 600).route(ROUTE, "window", "300ms");
        (setup.set("proxy.listen", json!([address.clone()])), address)
    };
    let [(one, first), (other, second)] = [setup(), setup()];
    let callers = Callers {
        addresses: [first, second],
        over: Arc::default(),
        next: Arc::new(AtomicU64::new(1)),
        known: Arc::default(),
    };
    let mut gateways = [Some(one.start()), Some(other.start())];
    let tasks: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(callers.clone().call())).collect();
    for _ in 0..EVENTS {
        tokio::time::sleep(ms(100 + random.below(500))).await;
        let gateway = &mut gateways[random.below(2) as usize];
        let harmed = harm(gateway.take().expect("it is there"), &mut random).await;
        *gateway = Some(harmed);
    }
    callers.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    let [one, other] = gateways.map(|gateway| gateway.expect("it is there"));
    until("all jobs have ended", async || {
        let answer = one.send(&get("/gateway/jobs?limit=1")).await;
        answer.status == 200 && answer.json()["counts"]["queued"] == 0 && answer.json()["counts"]["sending"] == 0
    })
    .await;

    let mut sent: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for request in upstream.received() {
        *sent.entry(request.body).or_default() += 1;
    }
    assert!(sent.values().all(|times| *times == 1), "seed {seed}: sent twice: {sent:?}");
    let known = std::mem::take(&mut *callers.known.lock().expect("no panic"));
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (number, (location, mut seen)) in known {
        let (job, same) = (state(&one, &location).await, state(&other, &location).await);
        assert_eq!(job, same, "seed {seed}");
        let end = job["state"].as_str().expect("a state").to_owned();
        seen.push(end.clone());
        let was_sent = sent.contains_key(form(number).as_bytes());
        assert!(end == "unknown" || (end == "done" && was_sent), "seed {seed}: {job}, sent: {was_sent}");
        is_one_story(&seen, seed);
        *ends.entry(end).or_default() += 1;
    }
    let listed = one.send(&get("/gateway/jobs?limit=1")).await.json()["counts"].clone();
    let listed = [&listed["done"], &listed["unknown"]].into_iter().filter_map(serde_json::Value::as_u64).sum::<u64>();
    assert_eq!(listed, callers.next.load(Ordering::Relaxed) - 1, "seed {seed}: each request is one job");
    // Gateways that take hardly any jobs would pass the test.
    assert!(ends["done"] >= 50, "seed {seed}: {ends:?}");
    assert!(ends.get("unknown").copied().unwrap_or_default() <= EVENTS * 10, "only what was on the way: {ends:?}");
}

/// One slot, so that jobs wait.
fn through(link: &Link, upstream: &Upstream, redis: &RedisServer) -> Setup {
    let url = format!("redis://127.0.0.1:{}", link.port());
    sharing(Gateway::before_upstream(upstream), redis).set("state.redis", url).route(ROUTE, "requests", 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_cut_off_sends_nothing_that_another_one_took_over() {
    let redis = RedisServer::start(&[]);
    let upstream = Upstream::start(|_| Reply::json(200, "{}").after(ms(700))).await;
    let [link, whole] = [Link::to(redis.port()).await, Link::to(redis.port()).await];
    let cut_off = through(&link, &upstream, &redis).start();
    let waits = share(1).header("prefer", "respond-async, wait=20");
    let caller = tokio::spawn(waits.sending(cut_off.address()));
    upstream.until_received(1).await;
    let list = cut_off.send(&get("/gateway/jobs")).await.json();
    let on_the_way = format!("/gateway/jobs/{}", list["jobs"][0]["id"].as_str().expect("an id"));
    let waiting = accepted(&cut_off.send(&share(2).header("prefer", "respond-async")).await);
    link.cut();
    let other = through(&whole, &upstream, &redis).start();
    // Who waits for the answer gets it, although it cannot be stored.
    caller.await.expect("no panic").is_zohos(200);
    until_in(&other, &on_the_way, "unknown").await;
    // What it knows may be wrong by now.
    for location in [&on_the_way, &waiting] {
        cut_off.send(&get(location)).await.problem(503, "state-unavailable");
    }
    until_in(&other, &waiting, "done").await;
    link.restore();
    for (location, end) in [(&on_the_way, "unknown"), (&waiting, "done")] {
        until("it answers", async || cut_off.send(&get(location)).await.status == 200).await;
        assert_eq!(state(&cut_off, location).await["state"], end);
    }
    tokio::time::sleep(ms(2500)).await;
    assert_eq!(upstream.received().len(), 2);
    for location in [&on_the_way, &waiting] {
        assert_eq!(state(&cut_off, location).await, state(&other, location).await);
    }
}
