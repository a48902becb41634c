//! What operators see of jobs: `zoho-gateway jobs`, the admin listener, the metrics and the log.

use serde_json::{Value, json};

use super::{accepted, gated, job, one_at_a_time, share, until_in};
use crate::support::{Gateway, Process, Sandbox, call, get, python};

pub(crate) fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = Process::run(&[&["jobs", "--admin", &gateway.admin_url()], arguments].concat(), &[]);
    (ended.code, ended.stdout + &ended.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_list_show_and_cancel_jobs() {
    let (upstream, gateway, gate) = gated(|setup| one_at_a_time(setup).env("RUST_LOG", "zoho_gateway=debug")).await;
    let first = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let second =
        accepted(&gateway.send(&share(2).header("prefer", "respond-async").header("x-request-id", "mine")).await);
    gateway.until_waiting(1).await;
    let [first_id, second_id] =
        [&first, &second].map(|location| location.rsplit('/').next().expect("an id").to_owned());

    let (code, list) = run(&gateway, &[]);
    assert_eq!(code, Some(0), "{list}");
    assert!(list.contains(&format!("{first_id}  sending  anonymous  main  PUT people.lms.share-course")), "{list}");
    assert!(list.contains(&second_id), "{list}");
    assert!(list.trim_end().ends_with("1 queued, 1 sending, 0 done, 0 failed, 0 unknown"), "{list}");
    let (_, only) = run(&gateway, &["list", "--state", "queued", "--json"]);
    let only: Value = serde_json::from_str(&only).expect("JSON");
    assert_eq!((only["jobs"].as_array().map(Vec::len), &only["jobs"][0]["id"]), (Some(1), &json!(second_id)));
    let (_, shown) = run(&gateway, &["show", &second_id]);
    assert!(
        shown.contains("place 1, about") && shown.contains("request id: mine") && shown.contains("accepted: "),
        "{shown}"
    );
    let admin = gateway.admin(&format!("/jobs/{second_id}")).await;
    assert_eq!((admin.status, &admin.json()["state"]), (200, &json!("queued")));
    for text in [&list, &shown, &admin.text()] {
        assert!(!text.contains("erecnosList") && !text.contains("588882000000000"), "a payload: {text}");
    }
    assert!(gateway.has_metric("zoho_gateway_jobs{state=\"queued\"} 1").await);

    let (code, refused) = run(&gateway, &["cancel", &first_id]);
    assert!(code == Some(1) && refused.contains("job-sent"), "{refused}");
    assert_eq!(run(&gateway, &["cancel", &second_id]).0, Some(0));
    gateway.send(&get(&second)).await.problem(404, "unknown-job");
    for unknown in [&second_id, "x"] {
        let (code, text) = run(&gateway, &["show", unknown]);
        assert!(code == Some(1) && text.contains("unknown-job"), "{text}");
    }
    assert_eq!(run(&gateway, &["show", "../livez"]).0, Some(2));
    assert_eq!(run(&gateway, &["list", "--state", "late"]).0, Some(2));
    let method = call("POST", &format!("/jobs/{first_id}")).send(gateway.admin_address()).await;
    assert_eq!((method.status, method.header("allow")), (405, Some("GET, HEAD, DELETE")));
    gate.notify_one();
    until_in(&gateway, &first, "done").await;
    assert!(gateway.has_metric("zoho_gateway_jobs{state=\"done\"} 1").await);
    for state in ["queued", "sending", "done"] {
        gateway.process().logged(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["job"] == first_id.as_str() && line["state"] == state && line["level"] == "DEBUG").then_some(())
        });
    }
    assert_eq!(upstream.received().len(), 1);
}

/// The program at the top of docs/jobs.md, in front of the sandbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_five_lines_of_the_documentation_work() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/jobs.md")).expect("the page");
    let program = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    assert!(page.starts_with(&format!("# Batch jobs\n\n```python\n{program}")) && program.lines().count() == 5);
    let printed = python(&program.replace("http://127.0.0.1:8080", &gateway.url()), &[]);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    for line in printed.lines() {
        let answer: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert!(answer.get("type").is_none(), "a problem: {answer}");
    }
    assert_eq!(zoho.requests().await.len(), 2);
}
