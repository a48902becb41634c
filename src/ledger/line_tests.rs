//! The queue's manners.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    daily::Daily,
    tests::{ms, threshold},
    *,
};
use crate::{
    catalogue::Pace,
    clock,
    store::{Key, Row},
};

fn saturated(retry_after: Duration) -> Refused {
    Refused::Saturated { retry_after, daily: false }
}

const FAR: Duration = Duration::from_secs(3600);

/// A line of its own before `places` places.
fn line(requests: u32, places: usize) -> Arc<Line> {
    line_of(requests, None, Books::in_memory(Limits::calls(places)))
}

fn line_of(requests: u32, daily: Option<Arc<Daily>>, books: Books) -> Arc<Line> {
    let bucket = Bucket::new(threshold(requests, 1000, Pace::Burst), clock::now());
    Line::new(Key::default(), bucket, daily, books)
}

fn claim(deadline: Instant, entrance: Entrance) -> Claim {
    Claim { entrance, ..Claim::plain(deadline) }
}

/// Sends a call that is answered at once.
async fn served(line: &Arc<Line>, wait: Duration) -> Result<Instant, Refused> {
    let mut permit = line.permit(claim(clock::now() + wait, Entrance::Back)).await?;
    permit.sending().unwrap();
    permit.answered();
    permit.executed();
    Ok(clock::now())
}

#[tokio::test(start_paused = true)]
async fn serves_in_order_of_arrival() {
    let line = line(2, 100);
    let calls: Vec<_> = (0..6).map(|_| served(&line, FAR)).collect();
    let start = clock::now();
    let moments: Vec<_> = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [0, 0, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_hears_so_at_once() {
    let line = line(1, 100);
    served(&line, FAR).await.unwrap();
    let start = clock::now();
    assert_eq!(served(&line, ms(999)).await, Err(saturated(ms(1000))));
    assert_eq!(served(&line, ms(0)).await, Err(saturated(ms(1000))));
    assert_eq!(clock::now(), start);
    assert!(served(&line, ms(1000)).await.is_ok(), "exactly in time is in time");
}

#[tokio::test(start_paused = true)]
async fn the_queue_before_a_caller_counts_into_its_wait() {
    let line = line(1, 100);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let line = Arc::clone(&line);
                async move { served(&line, FAR).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(served(&line, ms(2999)).await, Err(saturated(ms(3000))));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_spends_nothing_and_wakes_the_next() {
    let line = line(1, 100);
    served(&line, FAR).await.unwrap();
    let (start, quota) = (clock::now(), line.allowance().route);
    let head = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    let next = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    head.abort();
    assert_eq!(next.await.unwrap().unwrap() - start, ms(1000), "the next one takes the slot of the first");
    assert_eq!(quota.remaining, 0);
}

#[tokio::test(start_paused = true)]
async fn the_waiting_room_is_bounded() {
    let line = line(1, 1);
    served(&line, FAR).await.unwrap();
    let waiting = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(served(&line, FAR).await, Err(Refused::Full { retry_after: ms(2000), limit: Limit::Calls }));
    waiting.await.unwrap().unwrap();
    served(&line, FAR).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_tells_those_at_once_who_cannot_wait_for_it() {
    let line = line(1, 100);
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    let start = clock::now();
    let short = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, ms(3000)).await }
    });
    let long = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    permit.answered();
    assert_eq!(permit.locked(None).unwrap().until, start + ms(5000));
    assert_eq!(short.await.unwrap(), Err(Refused::Locked { retry_after: ms(5000) }));
    assert_eq!(clock::now(), start);
    drop(permit);
    assert_eq!(long.await.unwrap().unwrap() - start, ms(5000));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_met_a_lock_goes_before_those_who_came_later() {
    let line = line(1, 100);
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    permit.answered();
    let start = clock::now();
    let later = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    permit.locked(None);
    drop(permit);
    let mut again = line.permit(claim(start + FAR, Entrance::Front)).await.unwrap();
    assert_eq!(clock::now() - start, ms(5000));
    again.sending().unwrap();
    again.answered();
    again.executed();
    assert_eq!(later.await.unwrap().unwrap() - start, ms(6000));
}

#[tokio::test(start_paused = true)]
async fn those_who_met_a_lock_keep_their_order_and_are_not_turned_away() {
    let line = line(1, 1);
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    permit.answered();
    permit.locked(None);
    drop(permit);
    let back = |entrance| {
        let line = Arc::clone(&line);
        async move {
            let mut permit = line.permit(claim(clock::now() + FAR, entrance)).await?;
            permit.sending().unwrap();
            permit.answered();
            permit.executed();
            Ok::<_, Refused>(clock::now())
        }
    };
    let start = clock::now();
    let calls = [Entrance::Back, Entrance::Front, Entrance::Front].map(|entrance| tokio::spawn(back(entrance)));
    let moments = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap().unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [7, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_never_sent_is_given_back() {
    let line = line(1, 100);
    drop(line.permit(claim(clock::now(), Entrance::Back)).await.unwrap());
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    permit.not_sent();
    drop(permit);
    assert!(served(&line, ms(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_permit_without_an_answer_is_not() {
    let line = line(1, 100);
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    drop(permit);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(served(&line, ms(0)).await, Err(saturated(retry_after)));
}

#[tokio::test(start_paused = true)]
async fn who_can_no_longer_be_served_hears_so_at_once() {
    let line = line(1, 100);
    let mut permit = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    permit.sending().unwrap();
    let start = clock::now();
    let waiting = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, ms(4000)).await }
    });
    tokio::task::yield_now().await;
    drop(permit);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(waiting.await.unwrap(), Err(saturated(retry_after)));
    assert_eq!(clock::now(), start);
}

/// The day's bucket waited for the call that goes alone after a kill and never heard of its end, so that of each life of
/// the process one call was served.
#[tokio::test(start_paused = true)]
async fn a_day_that_began_before_a_kill_goes_on() {
    let books = Books::in_memory(Limits::calls(100));
    let threshold = threshold(5, 60_000, Pace::Burst);
    let row = Row { window: threshold.window, in_flight: 1, ..Row::default() };
    let day = Bucket::restored(threshold, &row, clock::now());
    let day = Daily::new(day, Key::default(), books.journal.clone());
    let line = line_of(10, Some(day), books);
    for _ in 0..4 {
        served(&line, ms(0)).await.unwrap();
    }
    let refused = served(&line, ms(0)).await;
    assert!(matches!(refused, Err(Refused::Saturated { daily: true, .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permit_held_when_a_lock_comes_is_worth_nothing() {
    let line = line(3, 100);
    let mut first = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    let mut held = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    let mut connecting = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    first.sending().unwrap();
    connecting.sending().unwrap();
    first.answered();
    let until = first.locked(None).unwrap().until;
    assert_eq!(held.sending(), Err(until));
    assert_eq!(connecting.overtaken().await, until);
    connecting.not_sent();
    drop((held, connecting));
    tokio::time::sleep_until(until).await;
    let mut probe = line.permit(claim(clock::now(), Entrance::Back)).await.unwrap();
    assert_eq!(probe.sending(), Ok(()), "the one that goes alone may");
}
