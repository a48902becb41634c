//! The source before an accounts server that counts and says what the test wants.

use std::{
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

use super::*;
use crate::{
    account::{Account, AccountName},
    credential::Credential,
    endpoint::DataCenter,
    refusal::Cause,
    secret::Secret,
    telemetry::Metrics,
    upstream,
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

fn source_at(endpoints: crate::endpoint::Endpoints) -> Arc<Source> {
    let account = Account {
        name: AccountName::new("main"),
        data_center: DataCenter::Us,
        endpoints,
        client_id: "1000.ID".into(),
        client_secret: Credential::written(Secret::new("secret".into())).unwrap(),
        refresh_token: Credential::written(Secret::new("1000.refresh".into())).unwrap(),
        daily_calls: None,
    };
    let client = upstream::client(upstream::tls(&upstream::ExtraRoots::default()), Duration::from_secs(5));
    Source::new(Arc::new(account), Grants::new(client, Duration::from_secs(5)), Arc::new(Metrics::new()))
}

async fn all(source: &Arc<Source>, callers: usize) -> Vec<Result<u64, Cause>> {
    let tokens = (0..callers).map(|_| async { source.token().await.map(|token| token.generation) });
    futures_util::future::join_all(tokens).await
}

#[tokio::test]
async fn one_request_serves_all_who_wait_and_all_who_come_later() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(50)).await;
    assert!(all(&source, 200).await.iter().all(|token| matches!(token, Ok(1))));
    assert!(
        matches!(source.token().await, Ok(token) if token.header == "Zoho-oauthtoken 1000.a.b" && token.header.is_sensitive())
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dead_token_is_replaced_once_however_often_it_is_reported() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(5)).await;
    source.token().await.unwrap();
    for _ in 0..3 {
        source.dead(1);
    }
    assert!(all(&source, 50).await.iter().all(|token| matches!(token, Ok(2))));
    source.dead(1);
    assert!(matches!(source.token().await, Ok(token) if token.generation == 2), "the new one is not the dead one");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_goes_on_when_the_caller_who_started_it_leaves() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(100)).await;
    let impatient = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.token().await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    impatient.abort();
    source.token().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again() {
    let (source, asked) = source(&[r#"{"error":"invalid_code"}"#, GRANTED], Duration::ZERO).await;
    for outcome in all(&source, 5).await.into_iter().chain(all(&source, 5).await) {
        assert!(matches!(outcome, Err(Cause::AccountUnauthorised { reason }) if reason == "invalid_code"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(source.standing(), Standing::Unauthorised("invalid_code".into()));
}

#[tokio::test]
async fn after_a_throttle_answer_zoho_is_left_alone() {
    let throttled = r#"{"error_description":"x","error":"Access Denied","status":"failure"}"#;
    let answers: &[&str] = Box::leak(Box::new([throttled, GRANTED]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    for _ in 0..3 {
        let Err(Cause::TokenThrottled { retry_after }) = source.token().await else { panic!() };
        assert!(retry_after > Duration::from_secs(590) && retry_after <= Duration::from_secs(600));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_eleventh_request_in_ten_minutes_is_not_made() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    for generation in 1..=10 {
        assert_eq!(source.token().await.unwrap().generation, generation);
        source.alive(generation);
        source.dead(generation);
    }
    assert!(matches!(source.token().await, Err(Cause::TokenThrottled { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn tokens_that_never_work_are_not_replaced_one_after_the_other() {
    let (source, asked) = source(&[GRANTED], Duration::ZERO).await;
    source.token().await.unwrap();
    assert!(source.dead(1), "the first may have died before its first call");
    source.token().await.unwrap();
    assert!(!source.dead(2), "the second is not to blame");
    assert_eq!(source.token().await.unwrap().generation, 2);
    source.alive(2);
    assert!(source.dead(2), "it worked, so now it did die");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_while_it_serves() {
    let (source, asked) = source(&[GRANTED], Duration::from_millis(100)).await;
    source.token().await.unwrap();
    source.pretend_that_renewal_is_due();
    assert_eq!(source.token().await.unwrap().generation, 1, "the old one serves while the new one is fetched");
    while source.token().await.unwrap().generation == 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_serves_on_when_its_early_renewal_fails() {
    let answers: &[&str] = Box::leak(Box::new([GRANTED, "<html>"]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    source.token().await.unwrap();
    source.pretend_that_renewal_is_due();
    while asked.load(Ordering::SeqCst) < 2 {
        assert_eq!(source.token().await.unwrap().generation, 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(source.token().await.unwrap().generation, 1);
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
        assert!(matches!(source.token().await, Err(Cause::UpstreamUnreachable(_))));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_said_to_be_none() {
    let (source, _) = source(&["<html>1000.secret</html>"], Duration::ZERO).await;
    let Err(Cause::UpstreamInvalidResponse(fault)) = source.token().await else { panic!() };
    assert!(!fault.log.contains("secret"));
}

#[tokio::test]
async fn a_moments_outage_does_not_cost_all_requests() {
    let answers: &[&str] = Box::leak(Box::new(["<html>", GRANTED]));
    let (source, asked) = source(answers, Duration::ZERO).await;
    for _ in 0..50 {
        assert!(matches!(source.token().await, Err(Cause::UpstreamInvalidResponse(_))));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    while source.token().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
