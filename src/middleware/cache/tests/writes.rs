//! Reads and writes.

use super::*;
use crate::call::attempt_log::AttemptLog;

/// The outcome of a write, as the layers below record it.
type Outcome = fn(&AttemptLog) -> Result<StatusCode, Cause>;

/// A Zoho whose writes have this outcome.
fn writing(outcome: Outcome) -> Service {
    let zoho = service_fn(move |call: Call| {
        let outcome = if call.method == Method::GET { Ok(StatusCode::OK) } else { outcome(&call.attempt_log) };
        let answer = outcome
            .map_err(Refusal::from)
            .map(|status| Response::builder().status(status).body(Body::full(GOOD)).unwrap());
        let answer: BoxFuture<_, _> = Box::pin(std::future::ready(answer));
        answer
    });
    BoxCloneSyncService::new(layer().layer(zoho))
}

fn answered(attempt_log: &AttemptLog, status: StatusCode) -> Result<StatusCode, Cause> {
    attempt_log.sends();
    attempt_log.answered(status);
    Ok(status)
}

/// Sent, and never answered.
fn unanswered(attempt_log: &AttemptLog) -> Result<StatusCode, Cause> {
    attempt_log.sends();
    Err(silent())
}

/// Sent, and rejected by Zoho unexecuted.
fn refused(attempt_log: &AttemptLog) {
    attempt_log.sends();
    attempt_log.answered(StatusCode::OK);
    attempt_log.refused();
}

#[tokio::test(start_paused = true)]
async fn only_a_write_that_may_be_executed_makes_answers_stale() {
    let outcomes: [(Outcome, bool); 11] = [
        (|attempt_log| answered(attempt_log, StatusCode::OK), true),
        (|attempt_log| answered(attempt_log, StatusCode::FOUND), true),
        (|attempt_log| answered(attempt_log, StatusCode::UNPROCESSABLE_ENTITY), true),
        (|attempt_log| answered(attempt_log, StatusCode::BAD_GATEWAY), true),
        (unanswered, true),
        (|_| Err(Cause::ThresholdSaturated { retry_after: seconds(1), daily: false, position: None }), false),
        (|_| Err(Cause::StateUnavailable), false),
        (|_| Err(Cause::TokenThrottled { retry_after: seconds(1) }), false),
        (
            |attempt_log| {
                attempt_log.sends();
                attempt_log.not_sent();
                Err(silent())
            },
            false,
        ),
        (
            |attempt_log| {
                refused(attempt_log);
                Err(Cause::ThresholdLocked { retry_after: seconds(1) })
            },
            false,
        ),
        // Sent again after a dead token.
        (
            |attempt_log| {
                refused(attempt_log);
                unanswered(attempt_log)
            },
            true,
        ),
    ];
    for (number, (outcome, changes)) in outcomes.into_iter().enumerate() {
        let cache = writing(outcome);
        ask(&cache, get("/a", &[])).await;
        let _ = cache.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
        let again = ask(&cache, get("/a", &[])).await;
        assert_eq!(!status(&again).contains("hit"), changes, "outcome {number}");
    }
}

/// A caller that leaves the queue has not written; a caller that leaves later may have.
#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_has_written_once_its_call_is_sent() {
    type Step = fn(&AttemptLog);
    let steps: [(Step, bool); 4] = [
        (|_| {}, false),
        (refused, false),
        (AttemptLog::sends, true),
        (
            |attempt_log| {
                refused(attempt_log);
                attempt_log.sends();
            },
            true,
        ),
    ];
    for (number, (step, changes)) in steps.into_iter().enumerate() {
        let zoho = service_fn(move |Call { attempt_log, method, .. }: Call| {
            let answer: BoxFuture<_, _> = Box::pin(async move {
                if method != Method::GET {
                    step(&attempt_log);
                    std::future::pending::<()>().await;
                }
                Ok(Response::new(Body::full(GOOD)))
            });
            answer
        });
        let cache: Service = BoxCloneSyncService::new(layer().layer(zoho));
        ask(&cache, get("/a", &[])).await;
        let write = tokio::spawn(cache.clone().oneshot(call(Method::DELETE, "main", "/a", &[])));
        tokio::time::sleep(Duration::from_millis(50)).await;
        write.abort();
        assert!(write.await.unwrap_err().is_cancelled());
        assert_eq!(!status(&ask(&cache, get("/a", &[])).await).contains("hit"), changes, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_may_be_executed_later() {
    let cache = writing(unanswered);
    let _ = cache.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
    for _ in 0..3 {
        let answer = ask(&cache, get("/a", &[])).await;
        assert!(!status(&answer).contains("hit"), "nothing is stored while Zoho may still execute the write");
        tokio::time::advance(seconds(19)).await;
    }
    tokio::time::advance(seconds(4)).await;
    assert!(!status(&ask(&cache, get("/a", &[])).await).contains("hit"));
    assert!(status(&ask(&cache, get("/a", &[])).await).contains("hit"), "after 60 s the write is done");
}

#[tokio::test(start_paused = true)]
async fn both_roots_of_people_and_every_spelling_are_one_resource() {
    for (read, write) in [
        ("/api/v1/courses/1/share", "/people/api/v1/courses/1/share"),
        ("/people/api/v1/courses/1/share?a=1", "/api/v1/courses/1/share"),
        ("/api/v1/courses/1/share", "/api/v1/c%6Furses/1/share/"),
    ] {
        let cache = writing(|attempt_log| answered(attempt_log, StatusCode::OK));
        ask(&cache, get(read, &[])).await;
        ask(&cache, call(Method::PUT, "main", write, &[])).await;
        assert!(!status(&ask(&cache, get(read, &[])).await).contains("hit"), "{read} {write}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_makes_linked_reads_under_other_paths_stale() {
    let catalogue = Catalogue::published().unwrap();
    let of = |mut call: Call, id: &str, stale: &[&str], by: Option<&str>| {
        let (known, route) = (catalogue.find(id).unwrap(), Arc::make_mut(&mut call.context.route));
        (route.id, route.path) = (known.id.clone(), known.path.clone());
        let reads = stale.iter().map(|glob| glob.parse().unwrap()).collect();
        route.stale = Stale { reads, by: by.map(str::to_owned) }.into();
        call
    };
    let read = || of(get("/people/api/forms/asset/getRecords", &[]), "people.forms.get-records", &[], None);
    const BY: Option<&str> = Some("formLinkName");
    for (form, stale, by, outcome, changes) in [
        ("asset", &["people.forms.*"][..], None, StatusCode::OK, true),
        ("asset", &["people.forms.*"], None, StatusCode::BAD_GATEWAY, true),
        ("asset", &["people.lms.*", "people.forms.get-fields"], None, StatusCode::OK, false),
        ("asset", &[], None, StatusCode::OK, false),
        ("asset", &["people.forms.*"], BY, StatusCode::OK, true),
        ("laptop", &["people.forms.*"], BY, StatusCode::OK, false),
        ("laptop", &["people.forms.*"], None, StatusCode::OK, true),
        ("laptop", &["people.forms.*"], Some("courseId"), StatusCode::OK, true),
    ] {
        let zoho = service_fn(move |call: Call| {
            let status = if call.method == Method::GET { StatusCode::OK } else { outcome };
            let _ = answered(&call.attempt_log, status);
            let answer: BoxFuture<_, _> =
                Box::pin(std::future::ready(Ok(Response::builder().status(status).body(Body::full(GOOD)).unwrap())));
            answer
        });
        let cache: Service = BoxCloneSyncService::new(layer().layer(zoho));
        ask(&cache, read()).await;
        let write = call(Method::POST, "main", &format!("/api/forms/json/{form}/insertRecord"), &[]);
        ask(&cache, of(write, "people.forms.insert-record", stale, by)).await;
        assert_eq!(!status(&ask(&cache, read()).await).contains("hit"), changes, "{form} {stale:?} {by:?} {outcome}");
    }
}
