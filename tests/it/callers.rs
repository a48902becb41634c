//! `[callers]`: who may call, and how callers share a busy route.

use std::fs;

use serde_json::json;

use crate::support::{
    CALENDAR, CLIENT_SECRET, COURSE, Call, Gateway, HASH_OF_ONE, HASH_OF_THREE, Process, Reply, Sandbox, Setup,
    Upstream, get, ms, one_slot_taken, shell, until,
};

/// Two callers, the second with three times the weight of the first; each key is its caller's name.
fn with_callers(setup: Setup) -> Setup {
    setup
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.three.key_sha256", HASH_OF_THREE)
        .set("callers.three.weight", 3)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["people.lms.*"]))
        .set("callers.three.accounts", json!(["main"]))
        .set("callers.three.allow", json!(["*"]))
}

fn of(caller: &str, target: &str) -> Call {
    by(caller, "GET", target)
}

fn by(caller: &str, method: &str, target: &str) -> Call {
    Call::new(method, target).header("authorization", &format!("Bearer {caller}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_known_callers_may_call_and_keys_are_not_forwarded() {
    let zoho = Sandbox::boundless();
    let gateway = with_callers(Gateway::before(&zoho)).start();
    for unknown in [get(COURSE), of("four", COURSE), get(COURSE).header("authorization", "Basic b25lOg==")] {
        let answer = gateway.send(&unknown).await;
        answer.problem(401, "caller-unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"zoho-gateway\""));
    }
    for malformed in [of("", COURSE), of("one", COURSE).header("authorization", "Bearer one")] {
        let body = gateway.send(&malformed).await.problem(401, "caller-unauthenticated");
        assert!(body["detail"].to_string().contains("once"), "{body}");
    }
    assert_eq!((zoho.requests().await.len(), zoho.token_calls().await), (0, 0));
    gateway.send(&of("one", COURSE)).await.is_zohos(200);
    let seen = zoho.requests().await.remove(0);
    assert!(seen.header("authorization").iter().all(|value| value.starts_with("Zoho-oauthtoken ")), "{seen:?}");
}

/// A service that was moved behind the gateway and still sends Zoho's credentials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zoho_token_is_distinguished_from_a_missing_key() {
    let zoho = Sandbox::boundless();
    let gateway = with_callers(Gateway::before(&zoho)).start();
    let shows = |value: &str| get(COURSE).header("authorization", value);
    for call in [
        shows("Zoho-oauthtoken 1000.0123456789abcdef0123456789abcdef.0123456789abcdef0123456789abcdef"),
        shows("zoho-oauthtoken 1000.a.b"),
        shows("Zoho-authtoken 0123456789abcdef0123456789abcdef"),
        shows("Bearer 1000.0123456789abcdef0123456789abcdef.0123456789abcdef0123456789abcdef"),
        shows("1000.0123456789.0123456789"),
        shows("OAuth 1000.0123456789.0123456789"),
        get(&format!("{COURSE}?authtoken=0123456789abcdef&startIndex=1")),
        get(&format!("{COURSE}?startIndex=1&access_token=1000.0123456789.0123456789")),
    ] {
        let answer = gateway.send(&call).await;
        let body = answer.problem(401, "caller-unauthenticated");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("drop it, and send the key") && !detail.contains("0123456789"), "{detail}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"zoho-gateway\""));
    }
    let body = gateway.send(&get(COURSE)).await.problem(401, "caller-unauthenticated");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("neither a key or a token")), "{body}");
    assert_eq!((zoho.requests().await.len(), zoho.token_calls().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_not_allowed_are_denied() {
    let zoho = Sandbox::boundless();
    let setup = with_callers(Gateway::before(&zoho))
        .set("accounts.other.client_id", "1000.SANDBOX")
        .set("accounts.other.client_secret", CLIENT_SECRET)
        .set("accounts.other.refresh_token", "1000.sandbox.other");
    let gateway = setup.start();
    gateway.send(&of("one", COURSE)).await.is_zohos(200);
    let forbidden = gateway.send(&of("one", CALENDAR)).await;
    forbidden.problem_of(403, "caller-forbidden", "calendar.calendars.get-share-details");
    for account in ["other", "nowhere"] {
        let call = of("three", COURSE).header("gateway-account", account);
        gateway.send(&call).await.problem(403, "caller-forbidden");
    }
    assert_eq!(zoho.requests().await.len(), 1);
}

/// `getRecords` and `insertRecord` both accept any method; the last call is not in the catalogue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_caller_cannot_write() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = with_callers(Gateway::before_upstream(&upstream)).set("callers.three.read_only", true).start();
    let records = "/people/people/api/forms/Assets/getRecords";
    let insert = "/people/people/api/forms/json/Assets/insertRecord?inputData=%7B%7D";
    for (call, why) in [
        (by("three", "POST", records), "three may only read, and POST people.forms.get-records may"),
        (of("three", insert), "three may only read, and GET people.forms.insert-record may change something at Zoho"),
        (by("three", "DELETE", COURSE), "DELETE people.lms.remove-shared-user may change something"),
        (of("three", "/people/people/api/forms/Assets/purge"), "GET people.other.any-call is the default route for"),
    ] {
        let body = gateway.send(&call).await.problem(403, "caller-forbidden");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{body}");
    }
    assert_eq!(upstream.received().len(), 0);
    for call in [of("three", records), by("three", "HEAD", records), of("three", COURSE)] {
        gateway.send(&call).await.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_over_its_rate_gets_the_time_to_wait() {
    let zoho = Sandbox::boundless();
    let gateway = with_callers(Gateway::before(&zoho)).set("callers.one.limit.requests", 2).start();
    for _ in 0..2 {
        gateway.send(&of("one", COURSE)).await.is_zohos(200);
    }
    let body = gateway.send(&of("one", COURSE)).await.problem(429, "caller-limit");
    assert!((25..=30).contains(&body["retry_after"].as_u64().unwrap_or_default()), "{body}");
    gateway.send(&of("three", COURSE)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_route_is_shared_by_weight() {
    let first = |call: Call| call.header("authorization", "Bearer one");
    let (upstream, gateway, gate) = one_slot_taken(with_callers, first).await;

    // The first caller fills the queue, twelve to twelve.
    let mut waiting = Vec::new();
    for (caller, index) in [("one", 1), ("three", 3)] {
        for _ in 0..12 {
            let call = of(caller, &format!("{COURSE}?startIndex={index}"));
            waiting.push(tokio::spawn(call.sending(gateway.address())));
            gateway.until_waiting(waiting.len()).await;
        }
    }
    gate.notify_one();
    for task in waiting {
        task.await.expect("no panic").is_zohos(200);
    }
    let lines: Vec<_> = upstream.received().into_iter().skip(1).map(|received| received.line).collect();
    let of_three = lines.iter().take(12).filter(|line| line.contains("startIndex=3 ")).count();
    assert_eq!(of_three, 9, "three of four turns while both wait: {lines:#?}");
}

/// Six positions in the queue: caller one may use all while caller three does not call; then 4.5 of them belong to
/// three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_shared_by_weight_and_lent_if_unused() {
    let first = |call: Call| call.header("authorization", "Bearer one");
    let (upstream, gateway, gate) =
        one_slot_taken(|setup| with_callers(setup).set("queue.max_waiting", 6), first).await;
    let wait = |caller: &str, index: usize| {
        let call = of(caller, &format!("{COURSE}?startIndex={index}"));
        tokio::spawn(call.sending(gateway.address()))
    };
    let mut lent = Vec::new();
    for number in 1..=6 {
        lent.push(wait("one", number));
        gateway.until_waiting(number).await;
    }
    let full = wait("one", 7).await.expect("no panic").problem(429, "queue-full");
    assert!(full["detail"].as_str().is_some_and(|detail| detail.contains("(queue.max_waiting)")), "{full}");

    let mut owners = Vec::new();
    for number in 11..=14 {
        owners.push(wait("three", number));
        // The youngest call gets its answer while the slot is still in use.
        let body = lent.pop().expect("one more").await.expect("no panic").problem(429, "queue-full");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("(callers.NAME.weight)")), "{body}");
        assert!(body["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
    }
    wait("three", 15).await.expect("no panic").problem(429, "queue-full");
    wait("one", 8).await.expect("no panic").problem(429, "queue-full");
    gateway.until_waiting(6).await;
    gate.notify_one();
    for task in lent.into_iter().chain(owners) {
        task.await.expect("no panic").is_zohos(200);
    }
    assert_eq!(upstream.received().len(), 7);
}

/// A new key and its hash, as `key` prints them.
fn new_key() -> (String, String) {
    let ended = Process::run(&["key"], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let key = ended.stdout;
    assert!(key.len() == 68 && key.starts_with("zgw_") && !ended.stderr.contains(&key), "{key}\n{}", ended.stderr);
    let line = ended.stderr.lines().find_map(|line| line.strip_prefix("key_sha256 = \""));
    let hash = line.and_then(|line| line.strip_suffix('"')).expect("the line for the configuration").to_owned();
    (key, hash)
}

#[test]
fn key_prints_the_key_and_its_sha256() {
    let (key, hash) = new_key();
    assert_eq!(shell(&format!("printf %s {key} | sha256sum")).split(' ').next(), Some(hash.as_str()));
    let program = env!("CARGO_BIN_EXE_zoho-gateway");
    for end in ["", "\\n", "\\r\\n"] {
        assert_eq!(shell(&format!("printf '{key}{end}' | {program} key --hash")), format!("{hash}\n"));
    }
    assert_ne!(new_key(), (key, hash));
    // Nothing, two lines, and a word that is not a key.
    for input in ["", "\\n", "a\\nb", "a b"] {
        let message = shell(&format!("printf '{input}' | {program} key --hash 2>&1; echo code $?"));
        assert!(message.contains("expected a key on standard input") && message.ends_with("code 2\n"), "{message}");
    }
}

/// The usual rotation: both keys for a while, then only the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_without_a_restart() {
    let zoho = Sandbox::boundless();
    let ((old, old_hash), (new, new_hash)) = (new_key(), new_key());
    let setup = with_callers(Gateway::before(&zoho))
        .without("callers.one.key_sha256")
        .set("callers.one.key_sha256.file", "keys/one")
        .route("people.lms.get-shared-users", "throttle", "off");
    fs::create_dir(setup.path("keys")).expect("a folder");
    let write = |text: String| fs::write(setup.path("keys/one"), text).expect("a file");
    write(format!("{old_hash}\n"));
    let mut gateway = setup.start();
    gateway.must_not_print(&old);
    gateway.must_not_print(&new);
    let status = async |key: &str| gateway.send(&of(key, COURSE)).await.status;
    assert_eq!((status(&old).await, status(&new).await, status("three").await), (200, 401, 200));
    write(format!("# until Monday\n{old_hash}\n\n{new_hash} # from now on\n"));
    until("the new key is taken", async || status(&new).await == 200).await;
    assert_eq!(status(&old).await, 200);
    write(format!("{new_hash}\n"));
    until("the old key is taken no more", async || status(&old).await == 401).await;
    assert_eq!(status(&new).await, 200);

    // Another caller's key, and no hash at all: reported, and the old keys stay valid.
    for (text, words) in
        [(format!("{old_hash}\n{HASH_OF_THREE}\n"), "another caller has"), (old.clone(), "line 1: expected")]
    {
        write(text);
        gateway
            .process()
            .logged(|line| (line.contains("a key file cannot be used") && line.contains(words)).then_some(()));
        assert_eq!((status(&old).await, status(&new).await, status("three").await), (401, 200, 200));
    }
    fs::remove_file(setup.path("keys/one")).expect("it was there");
    gateway.process().logs("cannot be read");
    assert_eq!(status(&new).await, 200);

    // A pipe without a writer: it does not block the watcher, and the next change is read.
    shell(&format!("mkfifo {}", setup.path("keys/one").display()));
    tokio::time::sleep(ms(6000)).await;
    fs::remove_file(setup.path("keys/one")).expect("it was there");
    write(format!("{old_hash}\n"));
    until("the old key is taken again", async || status(&old).await == 200).await;
}

#[test]
fn a_key_file_with_another_callers_key_is_an_error() {
    let unreachable = "http://127.0.0.1:1";
    let setup = with_callers(Setup::before_all(unreachable, unreachable, unreachable))
        .without("callers.one.key_sha256")
        .set("callers.one.key_sha256.file", "./one");
    fs::write(setup.path("one"), format!("{HASH_OF_THREE}\n")).expect("a file");
    let config = setup.write();
    let ended = Process::run(&["check".as_ref(), "--config".as_ref(), config.as_os_str()], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("is used twice: whose key is it?"), "{ended:?}");
}
