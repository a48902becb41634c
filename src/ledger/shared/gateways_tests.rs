//! Several gateways in virtual time: real limiters, members and the real script. Only the connection to the server is
//! replaced, by pauses of a millisecond.

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    task::{LocalSet, spawn_local},
    time::{Instant, sleep, sleep_until},
};

use super::{
    account::SharedAccount,
    member::Member,
    shared_slots::SharedSlots,
    simulation::{Data, SCRIPT, Server},
    timing::Timing,
};
use crate::{
    ledger::{
        Backend, Caller, Health, Key, LimitSpec, LimiterContext, Limits, Refused, RouteLimiter, SlotRequest, Slots,
        Terms, slots::WaitingCalls, tests::threshold_of,
    },
    os::clock,
    zoho::catalogue::Pace,
};

const REQUESTS: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn caller(name: &str, weight: u32, reserve: u32, max_share: Option<u32>) -> Caller {
    let max_share = max_share.and_then(NonZeroU32::new);
    Caller::with_terms(name, Terms { weight: NonZeroU32::new(weight).unwrap(), reserve, max_share, max_wait: None })
}

/// The slots of one account.
#[derive(Debug)]
struct OneAccount(Arc<SharedAccount>);

impl Backend for OneAccount {
    fn slots(
        &self,
        own: LimitSpec,
        wider: Vec<LimitSpec>,
        callers: &[(Caller, u32)],
        calls: Weak<dyn WaitingCalls>,
    ) -> Box<dyn Slots> {
        Box::new(SharedSlots::new(Arc::clone(&self.0), &own, &wider, callers, calls))
    }

    fn left(&self) -> Vec<Key> {
        Vec::new()
    }

    fn keep_incident(&self, _report: String) {}

    fn health(&self) -> Health {
        Health::Good
    }
}

/// A call that ended.
#[derive(Debug, Clone)]
struct Ended {
    caller: Caller,
    asked: Instant,
    at: Instant,
    outcome: Result<(), Refused>,
}

impl Ended {
    fn waited(&self) -> f64 {
        (self.at - self.asked).as_secs_f64()
    }
}

/// Gateways of one login.
struct Gateways {
    limit: LimitSpec,
    limiters: Vec<Arc<RouteLimiter>>,
    ended: Rc<RefCell<Vec<Ended>>>,
    /// How often the script ran.
    scripts: Rc<Cell<usize>>,
    start: Instant,
}

impl Gateways {
    /// One for each list of callers with a reserve or a `max_share`.
    fn start(pace: Pace, callers: &[&[Caller]]) -> Self {
        let timing = Timing { lease: HOUR, longest: HOUR, frozen: HOUR, grace: HOUR, beat: seconds(1) };
        let start = clock::now();
        let member = |index: usize| Member::new(format!("g{index}"), String::new(), timing, true);
        let accounts: Vec<_> =
            (0..callers.len()).map(|index| SharedAccount::new("main".to_owned(), member(index))).collect();
        let scripts = Rc::new(Cell::new(0));
        let server = Rc::new((Server::new(SCRIPT), RefCell::new(Data::default())));
        for account in &accounts {
            let (account, all) = (Arc::clone(account), accounts.clone());
            spawn_local(link(account, all, Rc::clone(&server), Rc::clone(&scripts), start));
        }
        let key = Key { account: "main".to_owned(), limit: "people.a".to_owned() };
        let limit = LimitSpec::own(key, threshold_of(REQUESTS, WINDOW, pace));
        let limiter = |(account, callers): (Arc<SharedAccount>, &&[Caller])| {
            let context = LimiterContext {
                backend: Arc::new(OneAccount(account)),
                ..LimiterContext::in_memory(Limits::calls(9999))
            };
            RouteLimiter::new(limit.clone(), Vec::new(), callers, context)
        };
        let limiters = accounts.into_iter().zip(callers).map(limiter).collect();
        Self { limit, limiters, ended: Rc::default(), scripts, start }
    }

    /// A gateway has other callers with a reserve or a `max_share`.
    fn reload(&self, gateway: usize, callers: &[Caller]) {
        self.limiters[gateway].change(&self.limit, &[], callers);
    }

    /// A call at a gateway; its answer takes 50 ms.
    fn call(&self, gateway: usize, caller: &Caller, wait: Duration) {
        let (limiter, ended) = (Arc::clone(&self.limiters[gateway]), Rc::clone(&self.ended));
        let (caller, asked) = (caller.clone(), clock::now());
        spawn_local(async move {
            let request = SlotRequest { caller: caller.clone(), ..SlotRequest::plain(asked + wait) };
            let attempt = limiter.attempt(request).await;
            let end = |outcome| Ended { caller, asked, at: clock::now(), outcome };
            match attempt {
                Ok(mut attempt) => {
                    ended.borrow_mut().push(end(Ok(())));
                    attempt.sending().unwrap();
                    sleep(Duration::from_millis(50)).await;
                    attempt.answered(StatusCode::OK);
                    attempt.judged(true);
                }
                Err(refused) => ended.borrow_mut().push(end(Err(refused))),
            }
        });
    }

    /// The calls of a caller that got a slot.
    fn served(&self, caller: &Caller) -> Vec<Ended> {
        let ended = self.ended.borrow();
        ended.iter().filter(|end| end.caller == *caller && end.outcome.is_ok()).cloned().collect()
    }

    /// The most calls that got a slot within a window, of those that are counted.
    fn most_in_a_window(&self, is_counted: impl Fn(&Caller) -> bool) -> usize {
        let ended = self.ended.borrow();
        let served = ended.iter().filter(|end| end.outcome.is_ok() && is_counted(&end.caller));
        let at: Vec<Instant> = served.map(|end| end.at).collect();
        at.iter().map(|from| at.iter().filter(|at| **at >= *from && **at < *from + WINDOW).count()).max().unwrap_or(0)
    }
}

/// Speaks with the server, as `Link` does.
async fn link(
    account: Arc<SharedAccount>,
    all: Vec<Arc<SharedAccount>>,
    server: Rc<(Server, RefCell<Data>)>,
    scripts: Rc<Cell<usize>>,
    start: Instant,
) {
    loop {
        let demand = account.demand();
        let due = account.due(&demand).unwrap_or_else(clock::now);
        tokio::select! {
            () = sleep_until(due) => {}
            () = account.news.notified() => continue,
        }
        let request = account.request(account.demand(), "1".to_owned());
        sleep(Duration::from_millis(1)).await;
        let now = u64::try_from((clock::now() - start).as_millis()).unwrap();
        let (reply, messages) = server.0.run(&mut server.1.borrow_mut(), "master", 1_000_000 + now, &request);
        scripts.set(scripts.get() + 1);
        for message in messages {
            for other in &all {
                other.state.lock().member.hear(&message, clock::now());
                other.news.notify_one();
            }
        }
        sleep(Duration::from_millis(1)).await;
        account.receive(reply, true).unwrap();
    }
}

/// Runs a test in virtual time, after the gateways have begun.
async fn virtually(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_share_is_never_exceeded_over_all_gateways() {
    virtually(async {
        let (batch, other) = (caller("batch", 1, 0, Some(10)), caller("other", 1, 0, None));
        let limited = std::slice::from_ref(&batch);
        let gateways = Gateways::start(Pace::Burst, &[limited, limited]);
        sleep(seconds(5)).await;
        for gateway in [0, 1] {
            for _ in 0..40 {
                gateways.call(gateway, &batch, HOUR);
            }
        }
        sleep(seconds(1)).await;
        assert_eq!(gateways.served(&batch).len(), 10);
        // All other slots are for others, at once, at either gateway.
        for call in 0..20 {
            gateways.call(call % 2, &other, seconds(2));
        }
        sleep(seconds(3)).await;
        assert_eq!(gateways.served(&other).len(), 20, "others pass");
        sleep(seconds(56 + 4 * 61)).await;
        let served = gateways.served(&batch).len();
        assert!((48..=60).contains(&served), "{served}");
        assert_eq!(gateways.most_in_a_window(|caller| *caller == batch), 10);
        assert!(gateways.most_in_a_window(|_| true) <= REQUESTS as usize);
        let scripts = gateways.scripts.get();
        println!("{scripts} scripts in {:?}", clock::now() - gateways.start);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reserve_is_free_at_whichever_gateway_its_caller_calls() {
    virtually(async {
        let (portal, batch) = (caller("portal", 1, 5, None), caller("batch", 1, 0, None));
        let limited = std::slice::from_ref(&portal);
        let gateways = Gateways::start(Pace::Burst, &[limited, limited, limited]);
        sleep(seconds(5)).await;
        for gateway in [0, 1] {
            for _ in 0..200 {
                gateways.call(gateway, &batch, HOUR);
            }
        }
        sleep(seconds(2)).await;
        assert_eq!(gateways.served(&batch).len(), 25);
        // Two windows in a row, each time at other gateways.
        for (round, at) in [[0, 0, 0, 0, 0], [2, 1, 2, 1, 0]].into_iter().enumerate() {
            for gateway in at {
                gateways.call(gateway, &portal, seconds(0));
            }
            sleep(seconds(2)).await;
            let served = gateways.served(&portal);
            assert_eq!(served.len(), 5 * (round + 1), "all within their wait");
            assert!(served.iter().all(|end| end.waited() < 1.0), "{served:?}");
            sleep(seconds(65)).await;
        }
        assert_eq!(gateways.most_in_a_window(|caller| *caller == batch), 25);
        assert!(gateways.most_in_a_window(|_| true) <= REQUESTS as usize);
    })
    .await;
}

/// First one gateway has the new settings, then the other one too.
#[tokio::test(start_paused = true)]
async fn a_reload_changes_reserves_and_shares() {
    virtually(async {
        let (portal, batch) = (caller("portal", 1, 5, None), caller("batch", 1, 0, Some(10)));
        let (more, fewer) = (caller("portal", 1, 10, None), caller("batch", 1, 0, Some(4)));
        let gateways = Gateways::start(Pace::Burst, &[&[portal.clone(), batch.clone()], &[portal, batch.clone()]]);
        let counts = |from: usize| gateways.served(&batch).len() - from;
        let calls = |caller: &Caller, count: usize| {
            (0..count).for_each(|call| gateways.call(call % 2, caller, Duration::ZERO));
        };
        sleep(seconds(5)).await;
        calls(&batch, 20);
        sleep(seconds(2)).await;
        assert_eq!(counts(0), 10);

        // The smaller share holds for both gateways, and what the reserve lacks at the other one nobody uses.
        gateways.reload(0, &[more.clone(), fewer.clone()]);
        sleep(seconds(65)).await;
        calls(&batch, 20);
        calls(&caller("other", 1, 0, None), 60);
        sleep(seconds(2)).await;
        assert_eq!(counts(10), 4);
        assert_eq!(gateways.most_in_a_window(|caller| caller.name() != "portal"), 20);

        // Both gateways have it: ten slots are in the reserve.
        gateways.reload(1, &[more.clone(), fewer]);
        sleep(seconds(65)).await;
        calls(&caller("other", 1, 0, None), 60);
        sleep(seconds(2)).await;
        calls(&more, 20);
        sleep(seconds(2)).await;
        assert_eq!(gateways.served(&more).len(), 10);

        // At one gateway nothing restricts a caller any more, then at both.
        gateways.reload(0, &[]);
        sleep(seconds(65)).await;
        (0..60).for_each(|_| gateways.call(0, &batch, Duration::ZERO));
        sleep(seconds(2)).await;
        assert_eq!(counts(14), REQUESTS as usize);
        gateways.reload(1, &[]);
        sleep(seconds(65)).await;
        calls(&batch, 60);
        sleep(seconds(2)).await;
        assert_eq!(counts(14 + REQUESTS as usize), REQUESTS as usize);
        assert!(gateways.most_in_a_window(|_| true) <= REQUESTS as usize);
    })
    .await;
}

/// A share that one gateway no longer has, and that another has raised.
#[tokio::test(start_paused = true)]
async fn a_share_that_is_gone_does_not_restrict_other_gateways() {
    virtually(async {
        let (four, eight) = (caller("batch", 1, 0, Some(4)), caller("batch", 1, 0, Some(8)));
        let gateways = Gateways::start(Pace::Burst, &[std::slice::from_ref(&four), std::slice::from_ref(&four)]);
        sleep(seconds(5)).await;
        (0..20).for_each(|call| gateways.call(call % 2, &four, Duration::ZERO));
        // Calls in flight count against the limits with which they began.
        gateways.reload(0, &[]);
        gateways.reload(1, std::slice::from_ref(&eight));
        sleep(seconds(65)).await;
        let before = gateways.served(&eight).len();
        (0..20).for_each(|_| gateways.call(1, &eight, Duration::ZERO));
        sleep(seconds(2)).await;
        assert_eq!(gateways.served(&eight).len() - before, 8);
    })
    .await;
}

/// The one without the reserve counts against the threshold and nothing else.
#[tokio::test(start_paused = true)]
async fn gateways_with_other_settings_keep_the_threshold_and_the_smaller_share() {
    virtually(async {
        let (ten, twenty) = (caller("batch", 1, 0, Some(10)), caller("batch", 1, 0, Some(20)));
        let portal = caller("portal", 1, 5, None);
        let gateways = Gateways::start(Pace::Burst, &[&[ten.clone(), portal.clone()], std::slice::from_ref(&twenty)]);
        sleep(seconds(5)).await;
        for _ in 0..60 {
            gateways.call(0, &ten, HOUR);
            gateways.call(1, &twenty, HOUR);
            gateways.call(1, &portal, HOUR);
        }
        sleep(seconds(200)).await;
        assert_eq!(gateways.most_in_a_window(|caller| *caller == ten), 10);
        assert!(gateways.most_in_a_window(|_| true) <= REQUESTS as usize);
    })
    .await;
}
