//! The source before an accounts server that counts and says what the test wants.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{limits::TokenLimits, rejections::Rejection, *};
use crate::{
    call::Token,
    ledger::{Journal, KeptToken, LimiterContext, Limiters, Limits, RecordedBackend, Recovered, store::Store},
    os::clock,
    problem::Cause,
    secret::{Secret, credential::Credential},
    telemetry::Metrics,
    upstream,
    zoho::{
        account::{Account, AccountName},
        catalogue::RouteId,
        data_center::DataCenter,
        reply::TokenRefusal,
    },
};

const GRANTED: &str = r#"{"access_token":"1000.a.b","expires_in":3600,"token_type":"Bearer"}"#;

/// A source, and how often its accounts server was asked. Answers follow each other; the last one repeats.
async fn source(answers: &'static [&'static str], takes: Duration) -> (Arc<Source>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(takes).await;
                    let body = answers[number.min(answers.len() - 1)];
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let mut endpoints = DataCenter::Us.endpoints();
    endpoints.accounts = format!("http://{address}").parse().unwrap();
    (source_at(endpoints), asked)
}

fn source_at(endpoints: crate::zoho::endpoint::Endpoints) -> Arc<Source> {
    source_of(account_at(endpoints.accounts), &Limiters::in_memory(Limits::NOBODY), None)
}

const LIMITS: TokenLimits =
    TokenLimits { requests: NonZeroU32::new(10).expect("not zero"), window: Duration::from_secs(600), reserve: 2 };

fn source_of(account: Account, limiters: &Limiters, kept: Option<&KeptToken>) -> Arc<Source> {
    source_held_to(LIMITS, account, limiters, Journal::in_memory(), kept)
}

fn source_held_to(
    limits: TokenLimits,
    account: Account,
    limiters: &Limiters,
    journal: Journal,
    kept: Option<&KeptToken>,
) -> Arc<Source> {
    let ledger = TokenLedger::new(limiters, &account, limits);
    Source::new(Arc::new(account), grants(), ledger, journal, kept, Arc::new(Metrics::new()))
}

fn grants() -> Grants {
    let client = upstream::client(
        upstream::tls(&upstream::ExtraRoots::default()),
        &upstream::Egress::direct(),
        Duration::from_secs(5),
    );
    Grants::new(client, Duration::from_secs(5))
}

/// A token for a caller that waits for one attempt.
async fn token(source: &Arc<Source>) -> Result<Token, Cause> {
    source.token(clock::now()).await
}

/// A call of a route was not let in with the token of this generation.
async fn refused(source: &Arc<Source>, route: &str, generation: u64, refusal: TokenRefusal, second: bool) -> bool {
    let route = RouteId::new(route);
    source
        .rejected(&Rejection { generation, fresh: true, route: &route, refusal, since: clock::now(), second }, true)
        .await
}

/// A token that was good for a route has died.
async fn dies(source: &Arc<Source>, generation: u64) -> bool {
    source.accepted(&RouteId::new("a"), generation, generation > 1);
    refused(source, "a", generation, TokenRefusal::Dead, false).await
}

async fn all(source: &Arc<Source>, callers: usize) -> Vec<Result<u64, Cause>> {
    let tokens = (0..callers).map(|_| async { token(source).await.map(|token| token.generation) });
    futures_util::future::join_all(tokens).await
}

#[tokio::test]
async fn one_request_serves_all_who_wait_and_all_who_come_later() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(50)).await;
    assert!(all(&source, 200).await.iter().all(|token| matches!(token, Ok(1))));
    assert!(
        matches!(token(&source).await, Ok(token) if token.header == "Zoho-oauthtoken 1000.a.b" && token.header.is_sensitive())
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dead_token_is_replaced_once_however_often_it_is_reported() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(5)).await;
    token(&source).await.unwrap();
    assert!(dies(&source, 1).await);
    for _ in 0..3 {
        assert!(refused(&source, "a", 1, TokenRefusal::Dead, false).await);
    }
    assert!(all(&source, 50).await.iter().all(|token| matches!(token, Ok(2))));
    assert!(refused(&source, "b", 1, TokenRefusal::Unclear(1), false).await, "the new one is there");
    assert!(matches!(token(&source).await, Ok(token) if token.generation == 2), "the new one is not the dead one");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_goes_on_when_the_caller_who_started_it_leaves() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(100)).await;
    let impatient = tokio::spawn({
        let source = Arc::clone(&source);
        async move { token(&source).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    impatient.abort();
    token(&source).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again() {
    let (source, asked) = source(&[r#"{"error":"invalid_code"}"#, GRANTED], Duration::ZERO).await;
    for outcome in all(&source, 5).await.into_iter().chain(all(&source, 5).await) {
        assert!(matches!(outcome, Err(Cause::AccountUnauthorised { reason }) if reason == "invalid_code"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(matches!(source.standing(), Standing::Refused(words) if words.contains("invalid_code")));
}

#[tokio::test]
async fn after_a_throttle_answer_zoho_is_left_alone() {
    let throttled = r#"{"error_description":"x","error":"Access Denied","status":"failure"}"#;
    let answers: &[&str] = Box::leak(Box::new([throttled, GRANTED]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    for _ in 0..3 {
        let Err(Cause::TokenThrottled { retry_after }) = token(&source).await else { panic!() };
        assert!(retry_after > Duration::from_secs(590) && retry_after <= Duration::from_secs(600));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_eleventh_request_in_ten_minutes_is_not_made() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    for generation in 1..=10 {
        assert_eq!(token(&source).await.unwrap().generation, generation);
        assert!(dies(&source, generation).await);
    }
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 10);
}

/// A route that always answers 401 made the gateway renew per call, until every route of the account got 503.
#[tokio::test]
async fn a_route_that_takes_no_token_costs_one_request_and_nobody_else_a_token() {
    for refusal in [TokenRefusal::Dead, TokenRefusal::Unclear(7)] {
        let (source, asked) = source(&[GRANTED], Duration::from_millis(20)).await;
        token(&source).await.unwrap();
        let storm = (0..20).map(|_| refused(&source, "broken", 1, refusal, false));
        assert!(futures_util::future::join_all(storm).await.into_iter().all(|again| again));
        for _ in 0..20 {
            assert!(!refused(&source, "broken", 2, refusal, true).await);
            assert!(!refused(&source, "broken", 2, refusal, false).await);
        }
        assert_eq!(token(&source).await.unwrap().generation, 2, "it serves on");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        for route in 0..50 {
            let route = format!("r{route}");
            let generation = token(&source).await.unwrap().generation;
            if refused(&source, &route, generation, refusal, false).await {
                assert!(!refused(&source, &route, generation + 1, refusal, true).await);
            }
        }
        assert!(asked.load(Ordering::SeqCst) <= 4, "{refusal:?}: {}", asked.load(Ordering::SeqCst));
        let generation = token(&source).await.unwrap().generation;
        assert!(dies(&source, generation).await, "a token that does die is replaced");
        assert_eq!(token(&source).await.unwrap().generation, generation + 1);
    }
}

#[tokio::test]
async fn without_another_token_the_one_there_serves_on() {
    let answers: &[&str] = Box::leak(Box::new([GRANTED, r#"{"error":"internal_error"}"#]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    token(&source).await.unwrap();
    for _ in 0..10 {
        assert!(!refused(&source, "broken", 1, TokenRefusal::Dead, false).await);
        assert_eq!(token(&source).await.unwrap().generation, 1);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the next attempt waits");
}

#[tokio::test]
async fn a_call_that_cannot_be_sent_again_waits_for_no_token() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    token(&source).await.unwrap();
    let route = RouteId::new("a");
    let refusal = TokenRefusal::Dead;
    let rejection =
        Rejection { generation: 1, fresh: true, route: &route, refusal, since: clock::now(), second: false };
    assert!(!source.rejected(&rejection, false).await);
    while asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_while_it_serves() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(100)).await;
    token(&source).await.unwrap();
    source.pretend_that_renewal_is_due();
    assert_eq!(token(&source).await.unwrap().generation, 1, "the old one serves while the new one is fetched");
    while token(&source).await.unwrap().generation == 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_serves_on_when_its_early_renewal_fails() {
    let answers: &[&str] = Box::leak(Box::new([GRANTED, "<html>"]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    token(&source).await.unwrap();
    source.pretend_that_renewal_is_due();
    while asked.load(Ordering::SeqCst) < 2 {
        assert_eq!(token(&source).await.unwrap().generation, 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(token(&source).await.unwrap().generation, 1);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the next attempt waits");
}

#[tokio::test]
async fn an_accounts_server_out_of_reach_is_asked_again() {
    let mut endpoints = DataCenter::Us.endpoints();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    endpoints.accounts = format!("http://{closed}").parse().unwrap();
    let source = source_at(endpoints);
    // More often than the ledger would allow requests: none was sent, so none is charged.
    for _ in 0..15 {
        assert!(matches!(token(&source).await, Err(Cause::UpstreamUnreachable(_))));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_said_to_be_none() {
    let (source, _) = source(&["<html>1000.secret</html>"], Duration::ZERO).await;
    let Err(Cause::UpstreamInvalidResponse(fault)) = token(&source).await else { panic!() };
    assert!(!fault.log.contains("secret"));
}

#[tokio::test]
async fn a_moments_outage_does_not_cost_all_requests() {
    let answers: &[&str] = Box::leak(Box::new(["<html>", GRANTED]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    for _ in 0..50 {
        assert!(matches!(token(&source).await, Err(Cause::UpstreamInvalidResponse(_))));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    while token(&source).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// An accounts server that always answers the same, and how often it was asked.
async fn counting(answer: &'static str) -> (crate::zoho::endpoint::Endpoint, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let endpoint = server(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        answer.into()
    });
    (endpoint.await, asked)
}

/// A token of no life at all cost a request per call.
#[tokio::test]
async fn a_life_that_is_none_does_not_cost_a_request_per_call() {
    for life in ["0", "-1", "null", "\"\"", "[]"] {
        let answer = format!(r#"{{"access_token":"1000.a.b","expires_in":{life},"token_type":"Bearer"}}"#);
        let (endpoint, asked) = counting(Box::leak(answer.into_boxed_str())).await;
        let source = source_of(account_at(endpoint), &Limiters::in_memory(Limits::NOBODY), None);
        for _ in 0..50 {
            assert_eq!(token(&source).await.unwrap().generation, 1, "{life}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{life}");
    }
}

#[tokio::test]
async fn the_last_token_that_may_be_requested_lasts_until_another_may() {
    let short = r#"{"access_token":"1000.a.b","expires_in":1,"token_type":"Bearer"}"#;
    let (endpoint, asked) = counting(short).await;
    let limits = TokenLimits { requests: NonZeroU32::new(4).expect("not zero"), ..LIMITS };
    let source =
        source_held_to(limits, account_at(endpoint), &Limiters::in_memory(Limits::NOBODY), Journal::in_memory(), None);
    token(&source).await.unwrap();
    assert!(!source.serves_at(clock::now() + Duration::from_secs(1)));
    while token(&source).await.unwrap().generation < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(source.serves_at(clock::now() + Duration::from_secs(550)), "two of four are kept");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// An accounts server that is given the request it got and says what to answer.
async fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> crate::zoho::endpoint::Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut request).await {
                    let body = answer(&String::from_utf8_lossy(&request[..read]));
                    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{address}").parse().unwrap()
}

fn account_at(accounts: crate::zoho::endpoint::Endpoint) -> Account {
    let mut endpoints = DataCenter::Us.endpoints();
    endpoints.accounts = accounts;
    Account {
        name: AccountName::new("main"),
        data_center: DataCenter::Us,
        endpoints,
        client_id: "1000.ID".into(),
        client_secret: Credential::written(Secret::new("secret".into())).unwrap(),
        refresh_token: Credential::written(Secret::new("1000.refresh".into())).unwrap(),
        daily_calls: None,
    }
}

#[tokio::test]
async fn renewals_leave_the_reserve_to_dead_tokens() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    for generation in 1..=8 {
        token(&source).await.unwrap();
        source.pretend_that_it_ended();
        assert_eq!(asked.load(Ordering::SeqCst), generation);
    }
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "eight renewals, and no ninth");
    source.pretend_that_zoho_called_it_dead();
    token(&source).await.unwrap();
    source.pretend_that_zoho_called_it_dead();
    token(&source).await.unwrap();
    source.pretend_that_zoho_called_it_dead();
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "ten in all");
    assert_eq!(asked.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn a_token_in_use_is_renewed_before_anybody_asks_for_it() {
    let short = r#"{"access_token":"1000.a.b","expires_in":1,"token_type":"Bearer"}"#;
    let (source, asked) = source(Box::leak(Box::new([short])), Duration::ZERO).await;
    token(&source).await.unwrap();
    token(&source).await.unwrap();
    while asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody has used the second one, so there is no third.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_waits_is_served_once_the_accounts_server_can_be_reached() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let source =
        source_of(account_at(format!("http://{address}").parse().unwrap()), &Limiters::in_memory(Limits::NOBODY), None);
    let waiting = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.token(clock::now() + Duration::from_secs(20)).await }
    });
    assert!(matches!(token(&source).await, Err(Cause::UpstreamUnreachable(_))), "who does not wait hears so");
    assert!(matches!(source.standing(), Standing::Troubled(words) if words.contains("upstream-unreachable")));
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 8192]).await.unwrap();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{GRANTED}", GRANTED.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    });
    assert_eq!(waiting.await.unwrap().unwrap().generation, 1);
    assert_eq!(source.standing(), Standing::Good);
}

#[tokio::test]
async fn credentials_of_another_data_centre_are_told() {
    let here = server(|_| r#"{"error":"invalid_client"}"#.into()).await;
    let there = server(|_| GRANTED.into()).await;
    let nowhere: crate::zoho::endpoint::Endpoint = "http://127.0.0.1:1".parse().unwrap();
    let account = account_at(here);
    let others = [
        (DataCenter::In, nowhere.clone()),
        (DataCenter::Au, account.endpoints.accounts.clone()),
        (DataCenter::Eu, there),
    ];
    let unauthorised = |reason: &str| Cause::AccountUnauthorised { reason: reason.into() };
    let told = grants().diagnose(&account, unauthorised("invalid_client"), &others).await;
    assert!(
        matches!(told, Cause::WrongDataCenter { configured: DataCenter::Us, valid_at: DataCenter::Eu }),
        "{told:?}"
    );
    for (cause, others) in [("invalid_client", &others[..2]), ("invalid_code", &others[..])] {
        let told = grants().diagnose(&account, unauthorised(cause), others).await;
        assert!(matches!(told, Cause::AccountUnauthorised { reason } if reason == cause));
    }
    assert!(elsewhere::others(&account).is_empty(), "somebody has decided where to ask");
    let us = account_at(DataCenter::Us.endpoints().accounts);
    assert_eq!(elsewhere::others(&us).len(), DataCenter::ALL.len() - 1);
}

#[tokio::test]
async fn changed_credentials_are_tried_at_once_and_the_old_token_serves_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "1000.first").unwrap();
    let accounts = server(|request| {
        let good = request.contains("refresh_token=1000.first") || request.contains("refresh_token=1000.third");
        if good { GRANTED.into() } else { r#"{"error":"invalid_code"}"#.into() }
    })
    .await;
    let account = Account { refresh_token: Credential::in_file(file.clone()).unwrap(), ..account_at(accounts) };
    let source = source_of(account, &Limiters::in_memory(Limits::NOBODY), None);
    assert_eq!(token(&source).await.unwrap().generation, 1);

    std::fs::write(&file, "1000.second").unwrap();
    source.reread(|_| None);
    while source.standing() == Standing::Good {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(token(&source).await.unwrap().generation, 1, "the old one serves on");
    assert!(dies(&source, 1).await);
    assert!(matches!(token(&source).await, Err(Cause::AccountUnauthorised { .. })));

    std::fs::write(&file, "1000.third\n").unwrap();
    source.reread(|_| None);
    assert_eq!(token(&source).await.unwrap().generation, 2);
    assert_eq!(source.standing(), Standing::Good);
}

#[tokio::test]
async fn a_token_and_the_count_of_its_requests_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let accounts = server(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        GRANTED.into()
    })
    .await;
    let process = |refresh_token: &'static str| {
        let (path, accounts) = (folder.path().to_owned(), accounts.clone());
        async move {
            let opened = Store::open(&path).unwrap();
            let past = Arc::new(Recovered::new(opened.start_state, clock::now()));
            let journal = Journal::keep(opened.store, Arc::clone(&past)).unwrap();
            let backend = Arc::new(RecordedBackend::new(past, journal.clone()));
            let limiters = Limiters::new(LimiterContext { backend, ..LimiterContext::in_memory(Limits::NOBODY) });
            let refresh_token = Credential::written(Secret::from(refresh_token)).unwrap();
            let account = Account { refresh_token, ..account_at(accounts) };
            let kept = opened.tokens.get("main");
            let source = source_held_to(LIMITS, account, &limiters, journal.clone(), kept);
            let outcome = token(&source).await;
            journal.close().await;
            outcome.map(|token| token.header)
        }
    };
    for _ in 0..5 {
        assert_eq!(process("1000.refresh").await.unwrap(), "Zoho-oauthtoken 1000.a.b");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "five processes, one request");
    // Changed credentials cannot read what was kept; and requests are counted over all processes.
    for other in ["b", "c", "d", "e", "f", "g", "h"] {
        process(other).await.unwrap();
    }
    assert!(matches!(process("i").await, Err(Cause::TokenThrottled { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_newer_token_may_be_granted_more() {
    const READ: &str = r#"{"access_token":"1000.a","expires_in":3600,"scope":"ZOHOPEOPLE.training.READ"}"#;
    const ALL: &str = r#"{"access_token":"1000.b","expires_in":3600,"scope":"ZohoPeople.training.all"}"#;
    const SILENT: &str = r#"{"access_token":"1000.c","expires_in":3600,"scope":""}"#;
    let (source, _) = source(&[READ, ALL, SILENT], Duration::ZERO).await;
    let catalogue = crate::zoho::catalogue::Catalogue::published().unwrap();
    let share = catalogue.find("people.lms.share-course").unwrap();
    assert!(source.authorises(share).is_ok(), "before there is a token nothing is known");
    token(&source).await.unwrap();
    let cause = source.authorises(share).unwrap_err();
    source.lacks_scope(&share.id, &cause);
    assert!(matches!(source.standing(), Standing::Troubled(words) if words.contains("people.lms.share-course")));

    source.pretend_that_it_ended();
    token(&source).await.unwrap();
    assert!(source.authorises(share).is_ok());
    assert_eq!(source.standing(), Standing::Good);

    source.pretend_that_it_ended();
    token(&source).await.unwrap();
    let events = catalogue.find("calendar.events.get-events").unwrap();
    assert!(source.authorises(events).is_ok(), "an answer that names none says nothing");
}
