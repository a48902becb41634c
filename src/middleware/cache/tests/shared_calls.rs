//! Simultaneous reads.

use super::*;

/// A Zoho that lets each call queue for `queued` and then takes `takes`. Counts the calls that had a slot, and answers those
/// before number `good` with `failure`.
fn slow(queued: Duration, takes: Duration, good: usize, failure: fn() -> Cause) -> (Service, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |call: Call| {
        let counted = Arc::clone(&counted);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            call.queue_status.queues();
            if call.ready_at + Duration::from_secs(5) < clock::now() {
                return Err(Refusal::from(Cause::ThresholdSaturated {
                    retry_after: takes,
                    daily: false,
                    position: None,
                }));
            }
            tokio::time::sleep(queued).await;
            call.queue_status.leaves();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            match number < good {
                true => Err(failure().into()),
                false => Ok(Response::builder().header("x-call", number).body(Body::full(GOOD)).unwrap()),
            }
        });
        answer
    });
    (BoxCloneSyncService::new(layer().layer(zoho)), calls)
}

async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_slot_continues_without_readers() {
    let (cache, calls) = slow(seconds(1), seconds(2), 0, silent);
    let first = tokio::spawn(cache.clone().oneshot(get("/a", &[])));
    tokio::time::sleep(seconds(2)).await;
    first.abort();
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(status(&ask(&cache, get("/a", &[])).await), "zoho-gateway; hit; ttl=59");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_queued_call_without_readers_is_given_up() {
    let (cache, calls) = slow(seconds(3600), seconds(1), 0, silent);
    let readers = [(); 2].map(|()| tokio::spawn(cache.clone().oneshot(get("/a", &[]))));
    settled().await;
    readers[0].abort();
    tokio::time::sleep(seconds(10)).await;
    readers[1].abort();
    settled().await;
    tokio::time::sleep(seconds(7200)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0, "no slot was used");
    // The next reader starts a new call.
    let next = tokio::spawn(cache.clone().oneshot(get("/a", &[("prefer", "wait=7200")])));
    tokio::time::sleep(seconds(3602)).await;
    assert_eq!(next.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_follower_with_a_shorter_wait_is_rejected_in_time() {
    let (cache, calls) = slow(seconds(3600), seconds(1), 0, silent);
    let first = tokio::spawn(cache.clone().oneshot(get("/a", &[("prefer", "wait=7200")])));
    settled().await;
    let began = clock::now();
    let refusal = cache.clone().oneshot(get("/a", &[("prefer", "wait=6")])).await.unwrap_err();
    assert!(matches!(*refusal.cause, Cause::ThresholdSaturated { .. }));
    assert_eq!(clock::now() - began, seconds(6));
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_without_wait_follows_a_call_with_a_slot() {
    let (cache, calls) = slow(Duration::ZERO, seconds(20), 0, silent);
    let first = tokio::spawn(cache.clone().oneshot(get("/a", &[])));
    settled().await;
    let follower = ask(&cache, get("/a", &[("prefer", "wait=0")])).await;
    assert_eq!(status(&follower), "zoho-gateway; fwd=uri-miss; collapsed");
    first.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_no_longer_than_for_its_own_call() {
    // Every call takes 40 of the 60 seconds that an answer may take, and fails.
    let (cache, calls) = slow(Duration::ZERO, seconds(40), usize::MAX, silent);
    let reads: Vec<_> = (0..50).map(|_| cache.clone().oneshot(get("/a", &[("prefer", "wait=1")]))).collect();
    let began = clock::now();
    for outcome in futures_util::future::join_all(reads).await {
        assert!(matches!(*outcome.unwrap_err().cause, Cause::UpstreamTimeout(_) | Cause::ThresholdSaturated { .. }));
    }
    assert!(clock::now() - began <= seconds(61 + 40));
    assert!(calls.load(Ordering::SeqCst) <= 2, "one at a time");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_one_follower_makes_the_next_call() {
    let (cache, calls) = slow(Duration::ZERO, seconds(1), 1, silent);
    let reads: Vec<_> = (0..1000).map(|_| cache.clone().oneshot(get("/a", &[]))).collect();
    let outcomes = futures_util::future::join_all(reads).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "the failure of one");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn after_failures_followers_call_one_at_a_time() {
    let (cache, calls) = cache("refused");
    let began = clock::now();
    let reads = (0..500).map(|_| tokio::spawn(cache.clone().oneshot(get("/a", &[("prefer", "wait=3600")]))));
    for outcome in futures_util::future::join_all(reads.collect::<Vec<_>>()).await {
        assert!(outcome.unwrap().is_err());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 500);
    assert_eq!(clock::now() - began, Duration::from_millis(100) * 500);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_no_follower_waiting() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |_: Call| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            tokio::time::sleep(seconds(1)).await;
            assert!(number > 0, "the first call panics");
            Ok(Response::new(Body::full(GOOD)))
        });
        answer
    });
    let cache: Service = BoxCloneSyncService::new(layer().layer(zoho));
    let reads: Vec<_> = (0..3).map(|_| cache.clone().oneshot(get("/a", &[]))).collect();
    let outcomes = futures_util::future::join_all(reads).await;
    let broken: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(matches!(broken.as_slice(), [refusal] if matches!(*refusal.cause, Cause::Internal)));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unshareable_answer_lets_all_followers_call_at_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |_: Call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            tokio::time::sleep(seconds(1)).await;
            Ok(Response::builder().header("vary", "*").body(Body::full(GOOD)).unwrap())
        });
        answer
    });
    let cache: Service = BoxCloneSyncService::new(layer().layer(zoho));
    let began = clock::now();
    let reads: Vec<_> = (0..100).map(|_| ask(&cache, get("/a", &[]))).collect();
    futures_util::future::join_all(reads).await;
    assert_eq!(calls.load(Ordering::SeqCst), 100);
    assert_eq!(clock::now() - began, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_wants_a_new_answer_shares_no_earlier_call() {
    let (cache, calls) = cache(GOOD);
    let first = tokio::spawn(cache.clone().oneshot(get("/a", &[])));
    tokio::time::sleep(Duration::from_millis(50)).await;
    for directive in ["no-cache", "max-age=0", "min-fresh=61"] {
        ask(&cache, get("/a", &[("cache-control", directive)])).await;
    }
    first.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}
