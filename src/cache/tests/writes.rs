//! Reads and writes.

use super::*;

/// A Zoho whose writes end as told.
fn writing(outcome: fn() -> Result<StatusCode, Cause>) -> Room {
    let zoho = service_fn(move |call: Call| {
        let outcome = if call.method == Method::GET { Ok(StatusCode::OK) } else { outcome() };
        let answer = outcome
            .map_err(Refusal::from)
            .map(|status| Response::builder().status(status).body(Body::full(GOOD)).unwrap());
        let answer: BoxFuture<_, _> = Box::pin(std::future::ready(answer));
        answer
    });
    BoxCloneSyncService::new(layer().layer(zoho))
}

#[tokio::test(start_paused = true)]
async fn what_a_write_may_have_changed_is_not_served() {
    type Outcome = fn() -> Result<StatusCode, Cause>;
    let outcomes: [(Outcome, bool); 9] = [
        (|| Ok(StatusCode::OK), true),
        (|| Ok(StatusCode::FOUND), true),
        (|| Ok(StatusCode::UNPROCESSABLE_ENTITY), true),
        (|| Ok(StatusCode::BAD_GATEWAY), true),
        (|| Err(silent()), true),
        (|| Err(Cause::Internal), true),
        (|| Err(Cause::ThresholdLocked { retry_after: seconds(1) }), false),
        (|| Err(Cause::StateUnavailable), false),
        (|| Err(Cause::TokenThrottled { retry_after: seconds(1) }), false),
    ];
    for (number, (outcome, changes)) in outcomes.into_iter().enumerate() {
        let room = writing(outcome);
        ask(&room, get("/a", &[])).await;
        let _ = room.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
        let again = ask(&room, get("/a", &[])).await;
        assert_eq!(!status(&again).contains("hit"), changes, "outcome {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_may_be_executed_later() {
    let room = writing(|| Err(silent()));
    let _ = room.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
    for _ in 0..3 {
        let answer = ask(&room, get("/a", &[])).await;
        assert!(!status(&answer).contains("hit"), "nothing is kept while Zoho may still execute it");
        tokio::time::advance(seconds(19)).await;
    }
    tokio::time::advance(seconds(4)).await;
    assert!(!status(&ask(&room, get("/a", &[])).await).contains("hit"));
    assert!(status(&ask(&room, get("/a", &[])).await).contains("hit"), "after 60 s it is over");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_on_its_write_has_written() {
    let (room, calls) = room(GOOD);
    ask(&room, get("/a", &[])).await;
    let write = tokio::spawn(room.clone().oneshot(call(Method::DELETE, "main", "/a", &[])));
    tokio::time::sleep(Duration::from_millis(50)).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    assert!(!status(&ask(&room, get("/a", &[])).await).contains("hit"));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn both_roots_of_people_and_every_spelling_are_one_resource() {
    for (read, write) in [
        ("/api/v1/courses/1/share", "/people/api/v1/courses/1/share"),
        ("/people/api/v1/courses/1/share?a=1", "/api/v1/courses/1/share"),
        ("/api/v1/courses/1/share", "/api/v1/c%6Furses/1/share/"),
    ] {
        let room = writing(|| Ok(StatusCode::OK));
        ask(&room, get(read, &[])).await;
        ask(&room, call(Method::PUT, "main", write, &[])).await;
        assert!(!status(&ask(&room, get(read, &[])).await).contains("hit"), "{read} {write}");
    }
}
