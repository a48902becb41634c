//! The main promise: a burst of three thresholds is answered in full, and Zoho never receives one call too many.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};
use zoho_gateway::os::clock;

use crate::support::{COURSE, Gateway, SHARE, Sandbox, all, ms, put};

const API: &str = "PUT /api/v1/courses/{id}/share";

/// How long ninety calls at once take. `window` allows thirty, and the network delays each way by up to 50 ms.
async fn ninety_at_once(window: &str) -> Duration {
    let options = ["--requests", "30", "--window", window, "--lock", "60s", "--delay", "50ms"];
    let zoho = Sandbox::start(&options);
    let route = "people.lms.share-course";
    let gateway = Gateway::before(&zoho).route(route, "requests", 30).route(route, "window", window).start();
    let share = put(COURSE).form(SHARE);

    let began = clock::now();
    let answers = all((0..90).map(|_| share.sending(gateway.address()))).await;
    let elapsed = clock::now() - began;

    for answer in answers {
        answer.is_zohos(200);
    }
    let tally = zoho.tally(API).await;
    assert_eq!((tally.arrivals, tally.accepted, tally.locks, tally.arrivals_during_lock), (90, 90, 0, 0));
    assert!(tally.most_in_any_window <= 30, "{tally:?}");
    elapsed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ninety_calls_at_once_are_answered_without_a_lock() {
    ninety_at_once("1s").await;
}

/// Two windows have to pass; the rest is the delay of network and gateway. The window is four seconds long, so that a
/// busy machine does not dominate the result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thresholds_take_little_more_than_two_windows() {
    let elapsed = ninety_at_once("4s").await;
    assert!(elapsed < ms(4000 * 26 / 10), "{elapsed:?}");
}

/// The system accepts connections for a process that is too busy to do so, up to its backlog.
#[tokio::test]
async fn four_hundred_connections_in_one_moment_wait_for_a_busy_process() {
    let zoho = Sandbox::start(&[]);
    let gateway = Gateway::before(&zoho).start();
    gateway.process().signal("STOP");
    let address = gateway.address().to_owned();
    let connect = || timeout(Duration::from_secs(20), TcpStream::connect(address.clone()));
    let connections = all((0..400).map(|_| connect())).await;
    gateway.process().signal("CONT");
    let refused = connections.iter().filter(|connection| !matches!(connection, Ok(Ok(_)))).count();
    assert_eq!(refused, 0);
}
