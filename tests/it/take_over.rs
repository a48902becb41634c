//! Restart without an outage: a gateway takes over from the running one, or finds the sockets of a service manager.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::json;
use zoho_gateway::os::clock;

use crate::support::{COURSE, Call, Connection, Gateway, Judge, Process, Rule, SHARE, get, ms, put, until};

const ROUTE: &str = "people.lms.share-course";
const READ: &str = "people.lms.get-shared-users";

/// A caller with a connection for each call.
async fn calls(call: Call, address: String, over: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    while !over.load(Ordering::Relaxed) {
        let answer = call.send(&address).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(ms(50)).await;
    }
}

/// A caller that keeps its connection. As every client does, it opens another one when the server has closed the idle one.
async fn calls_on_one_connection(call: Call, address: String, over: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let mut connection = Connection::open(&address).await;
    while !over.load(Ordering::Relaxed) {
        let answer = match connection.try_send(&call).await {
            Ok(answer) => answer,
            Err(_) => {
                connection = Connection::open(&address).await;
                connection.send(&call).await
            }
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(ms(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_call_fails_and_no_threshold_is_exceeded() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream).route(READ, "throttle", "off");
    let setup = setup.route(ROUTE, "requests", 20).route(ROUTE, "window", "1s");
    let mut first = setup.start();
    let (address, admin) = (first.address().to_owned(), first.admin_address().to_owned());
    let (over, served, began) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), clock::now().into_std());
    let mut callers = Vec::new();
    for _ in 0..12 {
        let (over, served) = (Arc::clone(&over), Arc::clone(&served));
        callers.push(tokio::spawn(calls(get(COURSE), address.clone(), Arc::clone(&over), Arc::clone(&served))));
        let shares = calls(put(COURSE).form(SHARE), address.clone(), Arc::clone(&over), Arc::clone(&served));
        callers.push(tokio::spawn(shares));
        callers.push(tokio::spawn(calls_on_one_connection(get(COURSE), address.clone(), over, served)));
    }
    tokio::time::sleep(ms(1500)).await;
    let second = setup.take_over();
    assert_eq!((second.address(), second.admin_address()), (&*address, &*admin));
    assert_eq!(first.wait(), Some(0));
    second.until_ready().await;
    let (before, third) = (served.load(Ordering::Relaxed), setup.take_over());
    drop(second);
    third.until_ready().await;
    tokio::time::sleep(ms(1500)).await;
    assert!(served.load(Ordering::Relaxed) > before);
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call fails");
    }
    println!("{} calls in {:?}", served.load(Ordering::Relaxed), began.elapsed());
    judge.check(&[Rule { requests: 20, window: ms(1000), from: began }]);
    assert_eq!(judge.upstream.token_calls(), 1, "the token is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_running_gateway_it_starts_as_usual_and_a_unix_socket_is_handed_over_too() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream);
    let socket = format!("unix:{}", setup.path("proxy.sock").display());
    let setup = setup.set("proxy.listen", json!([socket]));
    let mut first = setup.take_over();
    get(COURSE).send(&socket).await.is_zohos(200);
    let second = setup.take_over();
    assert_eq!(first.wait(), Some(0));
    get(COURSE).send(&socket).await.is_zohos(200);
    drop(second);
    assert!(!setup.path("proxy.sock").exists(), "the last one removes the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_the_service_manager_outlives_the_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let judge = Judge::start().await;
    let config = Gateway::before_upstream(&judge.upstream);
    let path = config.write();
    let arguments = ["run", "--config", path.to_str().expect("a path")];
    let start = |name: &str| {
        let socket = OwnedFd::from(listener.try_clone().expect("a copy"));
        Process::start_activated(socket, name, &arguments, &[])
    };
    let mut gateway = start("proxy");
    get(COURSE).send(&address).await.is_zohos(200);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    // The connection waits for the next gateway.
    let waiting = tokio::spawn(get(COURSE).sending(&address));
    let mut gateway = start("proxy");
    waiting.await.expect("no panic").is_zohos(200);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let mut misnamed = start("web");
    assert_eq!(misnamed.wait(), Some(2));
    assert!(misnamed.printed().contains("FileDescriptorName=proxy"), "{}", misnamed.printed());
    until("its socket is still open", async || std::net::TcpStream::connect(&address).is_ok()).await;
}
