//! The source in front of an accounts server that counts requests and gives the answers of the test.

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
        share::Share,
    },
};

const GRANTED: &str = r#"{"access_token":"1000.a.b","expires_in":3600,"token_type":"Bearer"}"#;

/// A source, and the number of requests that its accounts server got. The server gives the answers in order; the last one
/// repeats.
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
    source_with(LIMITS, account, limiters, Journal::in_memory(), kept)
}

fn source_with(
    limits: TokenLimits,
    account: Account,
    limiters: &Limiters,
    journal: Journal,
    kept: Option<&KeptToken>,
) -> Arc<Source> {
    let ledger = TokenLedger::new(limiters, &account, limits);
    Source::new(Arc::new(account), grants(), ledger, journal, kept, None, Arc::new(Metrics::new()))
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

/// Reports a 401 to a call of a route with the token of this generation.
async fn rejected(source: &Arc<Source>, route: &str, generation: u64, refusal: TokenRefusal, second: bool) -> bool {
    let route = RouteId::new(route);
    source
        .rejected(&Rejection { generation, fresh: true, route: &route, refusal, since: clock::now(), second }, true)
        .await
}

/// Reports that a token died which a route had accepted.
async fn dies(source: &Arc<Source>, generation: u64) -> bool {
    source.accepted(&RouteId::new("a"), generation, generation > 1);
    rejected(source, "a", generation, TokenRefusal::Dead, false).await
}

async fn all(source: &Arc<Source>, callers: usize) -> Vec<Result<u64, Cause>> {
    let tokens = (0..callers).map(|_| async { token(source).await.map(|token| token.generation) });
    futures_util::future::join_all(tokens).await
}

#[tokio::test]
async fn one_request_serves_all_callers() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(50)).await;
    assert!(all(&source, 200).await.iter().all(|token| matches!(token, Ok(1))));
    assert!(
        matches!(token(&source).await, Ok(token) if token.header == "Zoho-oauthtoken 1000.a.b" && token.header.is_sensitive())
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dead_token_is_replaced_once() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(5)).await;
    token(&source).await.unwrap();
    assert!(dies(&source, 1).await);
    for _ in 0..3 {
        assert!(rejected(&source, "a", 1, TokenRefusal::Dead, false).await);
    }
    assert!(all(&source, 50).await.iter().all(|token| matches!(token, Ok(2))));
    assert!(rejected(&source, "b", 1, TokenRefusal::Unclear(1), false).await, "the new token exists");
    assert!(matches!(token(&source).await, Ok(token) if token.generation == 2), "the new token is not dead");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_continues_when_its_caller_leaves() {
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
async fn rejected_credentials_are_not_tried_again() {
    let (source, asked) = source(&[r#"{"error":"invalid_code"}"#, GRANTED], Duration::ZERO).await;
    for outcome in all(&source, 5).await.into_iter().chain(all(&source, 5).await) {
        assert!(matches!(outcome, Err(Cause::AccountUnauthorised { reason }) if reason == "invalid_code"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(matches!(source.health(), TokenHealth::Rejected(words) if words.contains("invalid_code")));
}

#[tokio::test]
async fn after_a_block_no_request_is_made() {
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

/// A route that always answered 401 caused a renewal per call, until every route of the account got 503.
#[tokio::test]
async fn a_failing_route_costs_one_request() {
    for refusal in [TokenRefusal::Dead, TokenRefusal::Unclear(7)] {
        let (source, asked) = source(&[GRANTED], Duration::from_millis(20)).await;
        token(&source).await.unwrap();
        let storm = (0..20).map(|_| rejected(&source, "broken", 1, refusal, false));
        assert!(futures_util::future::join_all(storm).await.into_iter().all(|again| again));
        for _ in 0..20 {
            assert!(!rejected(&source, "broken", 2, refusal, true).await);
            assert!(!rejected(&source, "broken", 2, refusal, false).await);
        }
        assert_eq!(token(&source).await.unwrap().generation, 2, "it stays in use");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        for route in 0..50 {
            let route = format!("r{route}");
            let generation = token(&source).await.unwrap().generation;
            if rejected(&source, &route, generation, refusal, false).await {
                assert!(!rejected(&source, &route, generation + 1, refusal, true).await);
            }
        }
        assert!(asked.load(Ordering::SeqCst) <= 4, "{refusal:?}: {}", asked.load(Ordering::SeqCst));
        let generation = token(&source).await.unwrap().generation;
        assert!(dies(&source, generation).await, "a dead token is still replaced");
        assert_eq!(token(&source).await.unwrap().generation, generation + 1);
    }
}

#[tokio::test]
async fn without_another_token_the_present_one_stays_in_use() {
    let answers: &[&str] = Box::leak(Box::new([GRANTED, r#"{"error":"internal_error"}"#]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    token(&source).await.unwrap();
    for _ in 0..10 {
        assert!(!rejected(&source, "broken", 1, TokenRefusal::Dead, false).await);
        assert_eq!(token(&source).await.unwrap().generation, 1);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the next attempt waits");
}

#[tokio::test]
async fn a_streamed_call_does_not_wait_for_another_token() {
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
async fn a_token_is_renewed_while_it_is_in_use() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(100)).await;
    token(&source).await.unwrap();
    source.make_renewal_due();
    assert_eq!(token(&source).await.unwrap().generation, 1, "the old token is used while the new one is fetched");
    while token(&source).await.unwrap().generation == 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_stays_in_use_when_its_renewal_fails() {
    let answers: &[&str] = Box::leak(Box::new([GRANTED, "<html>"]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    token(&source).await.unwrap();
    source.make_renewal_due();
    while asked.load(Ordering::SeqCst) < 2 {
        assert_eq!(token(&source).await.unwrap().generation, 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(token(&source).await.unwrap().generation, 1);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the next attempt waits");
}

#[tokio::test]
async fn an_unreachable_accounts_server_is_tried_again() {
    let mut endpoints = DataCenter::Us.endpoints();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    endpoints.accounts = format!("http://{closed}").parse().unwrap();
    let source = source_at(endpoints);
    // More attempts than the ledger allows requests: nothing was sent, so no slot is used.
    for _ in 0..15 {
        assert!(matches!(token(&source).await, Err(Cause::UpstreamUnreachable(_))));
    }
}

#[tokio::test]
async fn an_answer_without_json_is_invalid() {
    let (source, _) = source(&["<html>1000.secret</html>"], Duration::ZERO).await;
    let Err(Cause::UpstreamInvalidResponse(fault)) = token(&source).await else { panic!() };
    assert!(!fault.log.contains("secret"));
}

#[tokio::test]
async fn a_short_outage_costs_one_request() {
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

/// An accounts server that always gives the same answer, and the number of its requests.
async fn counting(answer: &'static str) -> (crate::zoho::endpoint::Endpoint, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let endpoint = server(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        answer.into()
    });
    (endpoint.await, asked)
}

/// A token without lifetime cost a request per call.
#[tokio::test]
async fn a_token_without_lifetime_costs_one_request() {
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
async fn the_last_allowed_token_lasts_until_the_next_request() {
    let short = r#"{"access_token":"1000.a.b","expires_in":1,"token_type":"Bearer"}"#;
    let (endpoint, asked) = counting(short).await;
    let limits = TokenLimits { requests: NonZeroU32::new(4).expect("not zero"), ..LIMITS };
    let source =
        source_with(limits, account_at(endpoint), &Limiters::in_memory(Limits::NOBODY), Journal::in_memory(), None);
    token(&source).await.unwrap();
    assert!(!source.serves_at(clock::now() + Duration::from_secs(1)));
    while token(&source).await.unwrap().generation < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(source.serves_at(clock::now() + Duration::from_secs(550)), "two of four requests are reserved");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// An accounts server that computes its answer from the request.
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
        share: Share::WHOLE,
    }
}

#[tokio::test]
async fn renewals_leave_the_reserve_to_dead_tokens() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    for generation in 1..=8 {
        token(&source).await.unwrap();
        source.expire();
        assert_eq!(asked.load(Ordering::SeqCst), generation);
    }
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "eight renewals at most");
    source.call_dead();
    token(&source).await.unwrap();
    source.call_dead();
    token(&source).await.unwrap();
    source.call_dead();
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "ten in all");
    assert_eq!(asked.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn an_account_with_a_share_requests_its_part() {
    let (endpoint, asked) = counting(GRANTED).await;
    let account = Account { share: "1/2".parse().unwrap(), ..account_at(endpoint) };
    let source = source_of(account, &Limiters::in_memory(Limits::NOBODY), None);
    for _ in 0..4 {
        token(&source).await.unwrap();
        source.expire();
    }
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "half of eight renewals");
    source.call_dead();
    token(&source).await.unwrap();
    source.call_dead();
    assert!(matches!(token(&source).await, Err(Cause::TokenThrottled { .. })), "half of ten in all");
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_used_token_is_renewed_without_a_caller() {
    let short = r#"{"access_token":"1000.a.b","expires_in":1,"token_type":"Bearer"}"#;
    let (source, asked) = source(Box::leak(Box::new([short])), Duration::ZERO).await;
    token(&source).await.unwrap();
    token(&source).await.unwrap();
    while asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The second token was not used, so there is no third.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn waiting_callers_get_a_token_after_an_outage() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let source =
        source_of(account_at(format!("http://{address}").parse().unwrap()), &Limiters::in_memory(Limits::NOBODY), None);
    let waiting = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.token(clock::now() + Duration::from_secs(20)).await }
    });
    assert!(
        matches!(token(&source).await, Err(Cause::UpstreamUnreachable(_))),
        "a caller that does not wait is rejected"
    );
    assert!(matches!(source.health(), TokenHealth::Degraded(words) if words.contains("upstream-unreachable")));
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 8192]).await.unwrap();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{GRANTED}", GRANTED.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    });
    assert_eq!(waiting.await.unwrap().unwrap().generation, 1);
    assert_eq!(source.health(), TokenHealth::Good);
}

#[tokio::test]
async fn finds_the_data_center_of_the_credentials() {
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
    assert!(data_centers::others(&account).is_empty(), "the configuration sets the server");
    let us = account_at(DataCenter::Us.endpoints().accounts);
    assert_eq!(data_centers::others(&us).len(), DataCenter::ALL.len() - 1);
}

#[tokio::test]
async fn changed_credentials_are_tried_at_once() {
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
    while source.health() == TokenHealth::Good {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(token(&source).await.unwrap().generation, 1, "the old token stays in use");
    assert!(dies(&source, 1).await);
    assert!(matches!(token(&source).await, Err(Cause::AccountUnauthorised { .. })));

    std::fs::write(&file, "1000.third\n").unwrap();
    source.reread(|_| None);
    assert_eq!(token(&source).await.unwrap().generation, 2);
    assert_eq!(source.health(), TokenHealth::Good);
}

#[tokio::test]
async fn a_token_and_the_request_count_survive_a_restart() {
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
            let journal = Journal::keep(opened.store, Arc::clone(&past), Arc::new(())).unwrap();
            let backend = Arc::new(RecordedBackend::new(past, journal.clone()));
            let limiters = Limiters::new(LimiterContext { backend, ..LimiterContext::in_memory(Limits::NOBODY) });
            let refresh_token = Credential::written(Secret::from(refresh_token)).unwrap();
            let account = Account { refresh_token, ..account_at(accounts) };
            let kept = opened.tokens.get("main");
            let source = source_with(LIMITS, account, &limiters, journal.clone(), kept);
            let outcome = token(&source).await;
            journal.close().await;
            outcome.map(|token| token.header)
        }
    };
    for _ in 0..5 {
        assert_eq!(process("1000.refresh").await.unwrap(), "Zoho-oauthtoken 1000.a.b");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "five processes, one request");
    // Other credentials cannot read the kept token, and the requests of all processes count.
    for other in ["b", "c", "d", "e", "f", "g", "h"] {
        process(other).await.unwrap();
    }
    assert!(matches!(process("i").await, Err(Cause::TokenThrottled { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_newer_token_may_have_more_scopes() {
    const READ: &str = r#"{"access_token":"1000.a","expires_in":3600,"scope":"ZOHOPEOPLE.training.READ"}"#;
    const ALL: &str = r#"{"access_token":"1000.b","expires_in":3600,"scope":"ZohoPeople.training.all"}"#;
    const SILENT: &str = r#"{"access_token":"1000.c","expires_in":3600,"scope":""}"#;
    let (source, _) = source(&[READ, ALL, SILENT], Duration::ZERO).await;
    let catalogue = crate::zoho::catalogue::Catalogue::published().unwrap();
    let share = catalogue.find("people.lms.share-course").unwrap();
    assert!(source.authorises(share).is_ok(), "before the first token, nothing is known");
    token(&source).await.unwrap();
    let cause = source.authorises(share).unwrap_err();
    source.lacks_scope(&share.id, &cause);
    assert!(matches!(source.health(), TokenHealth::Degraded(words) if words.contains("people.lms.share-course")));

    source.expire();
    token(&source).await.unwrap();
    assert!(source.authorises(share).is_ok());
    assert_eq!(source.health(), TokenHealth::Good);

    source.expire();
    token(&source).await.unwrap();
    let events = catalogue.find("calendar.events.get-events").unwrap();
    assert!(source.authorises(events).is_ok(), "an answer without scopes says nothing");
}
