//! What operators do to a running gateway, by the admin listener and by the commands.

use serde_json::{Value, json};
use zoho_gateway::os::clock;

use crate::support::{
    Answer, Authority, COURSE, Call, Connection, Gateway, HASH_OF_ONE, Process, Reply, SHARE, Sandbox, Upstream, call,
    get, ms, one_slot_taken, put, until,
};

const READS: &str = "people.lms.get-shared-users";
const WRITES: &str = "people.lms.share-course";
const HASH_OF_TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
const PEOPLE_API: &str = "PUT /api/v1/courses/{id}/share";

async fn post(gateway: &Gateway, path: &str) -> Answer {
    call("POST", path).send(gateway.admin_address()).await
}

/// Runs a command for this gateway.
fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = Process::run(&[arguments, &["--admin", &gateway.admin_url()]].concat(), &[]);
    (ended.code, ended.stdout + &ended.stderr)
}

/// The audit's lines of actions so far.
fn audited(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.process().log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["target"] == "zoho_gateway::middleware::audit" && line["message"] == "action").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_route_is_not_called_until_it_is_resumed() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup, |call| call).await;
    let waiting = tokio::spawn(get(&format!("{COURSE}?startIndex=1")).sending(gateway.address()));
    gateway.until_waiting(1).await;
    let (code, told) = run(&gateway, &["pause", "--route", "people.lms.get-*"]);
    assert!(code == Some(0) && told.contains("waiting calls that were refused: 1"), "{told}");
    waiting.await.expect("no panic").problem_of(503, "call-paused", READS);
    let body = gateway.send(&get(COURSE)).await.problem_of(503, "call-paused", READS);
    assert_eq!(body["retry_after"], 10, "{body}");
    let dry = gateway.send(&get(COURSE).header("gateway-dry-run", "?1")).await.json();
    assert_eq!((&dry["verdict"], &dry["problem"]["status"]), (&json!("refused"), &json!(503)), "{dry}");
    let status = gateway.admin("/status").await.json();
    let expected =
        json!([{ "caller": null, "account": null, "route": "people.lms.get-*", "for_seconds": null, "until": null }]);
    assert_eq!(status["paused"], expected, "{status}");
    assert!(run(&gateway, &["status"]).1.contains("route people.lms.get-*: until it is resumed"));
    // The call in flight is answered, and other routes are served.
    gate.notify_one();
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);

    let (code, told) = run(&gateway, &["resume", "--route", "people.lms.get-shared-users"]);
    assert!(code == Some(1) && told.contains("paused is: route people.lms.get-*"), "{told}");
    assert_eq!(run(&gateway, &["resume", "--route", "people.lms.get-*"]).0, Some(0));
    gateway.send(&get(COURSE)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 3, "nothing of the paused route was sent");
    let actions: Vec<_> = audited(&gateway).iter().map(|line| (line["action"].clone(), line["done"].clone())).collect();
    assert_eq!(
        actions,
        [(json!("pause"), json!(true)), (json!("resume"), json!(false)), (json!("resume"), json!(true))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_caller_waits_and_others_do_not() {
    let zoho = Sandbox::boundless();
    let by = |caller: &str| get(COURSE).header("authorization", &format!("Bearer {caller}"));
    let setup = ["one", "two"].into_iter().fold(Gateway::before(&zoho), |setup, caller| {
        let hash = if caller == "one" { HASH_OF_ONE } else { HASH_OF_TWO };
        setup
            .set(&format!("callers.{caller}.key_sha256"), hash)
            .set(&format!("callers.{caller}.accounts"), json!(["main"]))
            .set(&format!("callers.{caller}.allow"), json!(["*"]))
    });
    let gateway = setup.start();
    for unknown in
        ["caller=onee", "route=people.lmss.*", "account=other", "", "for=1m", "caller=one&rote=x", "caller=one&for=x"]
    {
        let refused = post(&gateway, &format!("/pause?{unknown}")).await;
        assert_eq!(refused.status, 400, "{unknown}: {refused:?}");
    }
    assert_eq!(post(&gateway, "/pause?caller=one&account=main&for=1h").await.status, 200);
    let body = gateway.send(&by("one")).await.problem_of(503, "call-paused", READS);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (3590..=3600).contains(&seconds)), "{body}");
    gateway.send(&by("two")).await.is_zohos(200);
    assert_eq!(post(&gateway, "/resume?all=true").await.json()["count"], 1);
    gateway.send(&by("one")).await.is_zohos(200);
    // A pause ends by itself.
    assert_eq!(post(&gateway, "/pause?caller=one&for=300ms").await.status, 200);
    until("the pause has ended", async || gateway.send(&by("one")).await.status == 200).await;
    assert_eq!(gateway.admin("/status").await.json()["paused"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_job_is_sent_after_the_pause() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let paused = clock::now();
    assert_eq!(post(&gateway, "/pause?account=main&for=1500ms").await.status, 200);
    let answer = gateway.send(&put(COURSE).form(SHARE).header("prefer", "respond-async")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").expect("a location").to_owned();
    assert_eq!(gateway.send(&get(&location)).await.json()["state"], "queued");
    assert_eq!(upstream.received().len(), 0);
    until("the job is done", async || gateway.send(&get(&location)).await.json()["state"] == "done").await;
    assert!(clock::now() - paused >= ms(1500), "sent during the pause");
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lifted_lock_lets_one_call_try() {
    let zoho = Sandbox::start(&["--requests", "100000"]);
    let gateway = Gateway::before(&zoho).set("queue.max_wait", "10m").start();
    // Zoho's lock is shorter than its documentation says.
    zoho.lock(PEOPLE_API, 0.3).await;
    let waiting = tokio::spawn(put(COURSE).form(SHARE).sending(gateway.address()));
    gateway.until_waiting(1).await;
    let unlock = ["unlock", "--account", "main", "--route", WRITES];
    let (code, told) = run(&gateway, &unlock);
    assert!(code == Some(1) && told.contains("Zoho may lock for longer") && told.contains("--yes"), "{told}");
    assert_eq!(gateway.admin("/status").await.json()["waiting"], 1);
    // Zoho's lock is over.
    tokio::time::sleep(ms(400)).await;
    let (code, told) = run(&gateway, &[&unlock[..], &["--yes"]].concat());
    assert!(code == Some(0) && told.contains("lifted the lock"), "{told}");
    waiting.await.expect("no panic").is_zohos(200);
    let (code, told) = run(&gateway, &[&unlock[..], &["--yes"]].concat());
    assert!(code == Some(1) && told.contains("is not locked"), "{told}");

    // Zoho still holds this one, so the next call meets it.
    zoho.lock(PEOPLE_API, 300.0).await;
    gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await;
    assert_eq!(post(&gateway, &format!("/unlock?account=main&route={WRITES}&confirm=true")).await.status, 200);
    let met = gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await;
    assert_eq!(met.status, 429, "{met:?}");
    assert_eq!(zoho.tally(PEOPLE_API).await.arrivals_during_lock, 3);
    gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await.problem_of(429, "threshold-locked", WRITES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_calls_are_cancelled_by_id_or_together() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup, |call| call).await;
    let numbered = |number: u32| {
        let call = get(&format!("{COURSE}?startIndex={number}")).header("x-request-id", &format!("call-{number}"));
        tokio::spawn(call.sending(gateway.address()))
    };
    let [first, second, third] = [1, 2, 3].map(numbered);
    gateway.until_waiting(3).await;
    let status = get("/status").send(gateway.admin_address()).await.json();
    let ids = status.pointer("/buckets/0/callers/0/request_ids").and_then(Value::as_array).expect("a list");
    let mut ids: Vec<_> = ids.iter().filter_map(Value::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["call-1", "call-2", "call-3"]);
    let (code, told) = run(&gateway, &["cancel", "--request-id", "call-2"]);
    assert!(code == Some(0) && told.contains("waiting calls: 1"), "{told}");
    second.await.expect("no panic").problem_of(409, "call-cancelled", READS);
    assert_eq!(run(&gateway, &["cancel", "--request-id", "call-2"]).0, Some(1));
    assert_eq!(run(&gateway, &["cancel", "--route", WRITES]).0, Some(1));
    let (code, told) = run(&gateway, &["cancel", "--caller", "anonymous", "--route", "people.*"]);
    assert!(code == Some(0) && told.contains("waiting calls: 2"), "{told}");
    for waiting in [first, third] {
        waiting.await.expect("no panic").problem_of(409, "call-cancelled", READS);
    }
    gate.notify_one();
    gateway.until_free(READS, 1).await;
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_gateway_finishes_its_work_and_can_be_put_back() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup, |call| call).await;
    let waiting = tokio::spawn(get(&format!("{COURSE}?startIndex=1")).sending(gateway.address()));
    gateway.until_waiting(1).await;
    let (code, told) = run(&gateway, &["drain"]);
    assert!(code == Some(0) && told.contains("requests in flight: 2"), "{told}");
    let ready = gateway.admin("/readyz").await;
    assert_eq!((ready.status, &ready.json()["checks"]["listener"]), (503, &json!("draining")));
    gateway.send(&put(COURSE).form(SHARE)).await.problem(503, "shutting-down");
    let status = gateway.admin("/status").await.json();
    assert_eq!((&status["gateway"]["draining"], &status["gateway"]["in_flight"]), (&json!(true), &json!(2)));
    gate.notify_one();
    waiting.await.expect("no panic").is_zohos(200);
    assert_eq!(
        run(&gateway, &["drain", "--wait"]),
        (Some(0), "draining: new calls are refused; requests in flight: 0\ndrained".to_owned())
    );
    assert_eq!(run(&gateway, &["drain", "--undo"]).0, Some(0));
    gateway.until_ready().await;
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quitquitquit_ends_the_gateway_where_that_is_allowed() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    assert_eq!(post(&gateway, "/quitquitquit").await.status, 403);
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let mut gateway = gateway.stop().set("admin.quitquitquit", true).start();
    assert_eq!(get("/quitquitquit").send(gateway.admin_address()).await.status, 405);
    assert_eq!(post(&gateway, "/quitquitquit").await.status, 200);
    assert_eq!(gateway.wait(), Some(0));
    assert!(gateway.process().log().iter().any(|line| line.contains("\"drained\"")));
}

/// Every request of a page in a browser, and of everybody on the network, could act otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_are_for_operators_only() {
    let zoho = Sandbox::boundless();
    let pause = || call("POST", "/pause?account=main");
    let is_paused = async |gateway: &Gateway| gateway.send(&get(COURSE)).await.status == 503;
    let gateway = Gateway::before(&zoho).start();
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")]
    {
        assert_eq!(pause().header(name, value).send(gateway.admin_address()).await.status, 403, "{name}");
    }
    // A form of another page navigates, as a followed link does.
    let form = pause().header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
    assert_eq!(form.header("sec-fetch-dest", "document").send(gateway.admin_address()).await.status, 403);
    assert!(!is_paused(&gateway).await);

    let gateway = gateway.stop().set("admin.listen", "0.0.0.0:0").start();
    let refused = pause().send(gateway.admin_address()).await;
    assert!(refused.status == 403 && refused.text().contains("admin.key_sha256"), "{refused:?}");
    assert_eq!(call("DELETE", "/jobs/x").send(gateway.admin_address()).await.status, 403);
    assert_eq!(gateway.admin("/status").await.status, 200);
    assert!(!is_paused(&gateway).await);

    let gateway = gateway.stop().set("admin.key_sha256", HASH_OF_ONE).start();
    gateway.process().logs("the operators' key crosses the network in the clear");
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/status", 401), ("/jobs", 401)] {
        assert_eq!(gateway.admin(path).await.status, status, "{path}");
    }
    let with = |call: Call, value: &str| call.header("authorization", value);
    for wrong in ["Bearer two", "Basic b25lOnR3bw==", "one"] {
        let refused = with(pause(), wrong).send(gateway.admin_address()).await;
        assert_eq!(refused.status, 401, "{wrong}");
        assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.contains("Basic")), "{refused:?}");
    }
    assert!(!is_paused(&gateway).await);
    // Basic, with the key as the password, is what a browser can send.
    assert_eq!(with(get("/status"), "Basic YW55Om9uZQ==").send(gateway.admin_address()).await.status, 200);
    assert_eq!(with(pause(), "Bearer one").send(gateway.admin_address()).await.status, 200);
    assert!(is_paused(&gateway).await);
    assert_eq!(audited(&gateway)[0]["operator"], format!("key {}", &HASH_OF_ONE[..8]));
    assert_eq!(audited(&gateway)[0]["parameters"], "account=main");

    // The commands take the key from a file or from the environment.
    let url = gateway.admin_url().replace("0.0.0.0", "127.0.0.1");
    let resume = ["resume", "--all", "--admin", &url];
    let without = Process::run(&resume, &[]);
    assert!(without.code == Some(1) && without.stderr.contains("needs the operators' key"), "{without:?}");
    let key = gateway.setup().path("admin-key");
    std::fs::write(&key, "one\n").expect("the folder can be written to");
    let from_file = Process::run(&[&resume[..], &["--admin-key-file", key.to_str().expect("UTF-8")]].concat(), &[]);
    assert_eq!(from_file.code, Some(0), "{from_file:?}");
    let from_environment = Process::run(&["status", "--admin", &url], &[("ZOHO_GATEWAY_ADMIN_KEY", "one")]);
    assert_eq!(from_environment.code, Some(0), "{from_environment:?}");
}

/// TLS, and operators who are known by their certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_speaks_tls() {
    let zoho = Sandbox::boundless();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let setup = ["cert", "key", "client_ca"].into_iter().fold(Gateway::before(&zoho), |setup, key| {
        let text = match key {
            "cert" => issued.pem(),
            "key" => issued.key_pem(),
            _ => authority.pem(),
        };
        std::fs::write(setup.path(key), text).expect("the folder can be written to");
        setup.set(&format!("admin.tls.{key}"), key)
    });
    let gateway = setup.set("admin.tls.client_auth", "optional").set("admin.listen", "0.0.0.0:0").start();
    let url = gateway.admin_url().replace("http://0.0.0.0", "https://localhost");
    let ca = gateway.setup().path("client_ca");
    let probe = ["healthcheck", "--admin", &url];
    assert_eq!(Process::run(&probe, &[]).code, Some(1), "an unknown authority");
    let known = Process::run(&[&probe[..], &["--admin-ca-file", ca.to_str().expect("UTF-8")]].concat(), &[]);
    assert_eq!(known.code, Some(0), "{known:?}");

    let pause = call("POST", "/pause?account=main");
    for (client, status) in
        [(authority.client(), 403), (authority.client_showing(&authority.issue(&["anna.operators.example"])), 200)]
    {
        let stream = client.connect(gateway.admin_address()).await.expect("a handshake");
        let answer = Connection::over(stream, "localhost").await.expect("HTTP").send(&pause).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(audited(&gateway)[0]["operator"], "certificate anna.operators.example");
    gateway.send(&get(COURSE)).await.problem_of(503, "call-paused", READS);
}
