//! `run --sandbox`: the first minute of a new user.

use crate::support::{Process, call, shell};

#[test]
fn each_suggested_call_is_answered() {
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let mut program = Process::start(&["run", "--sandbox"], &env);
    program.said(|line| line.contains("shareData").then_some(()));
    let printed = program.printed();
    let calls: Vec<_> = printed.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(calls.len(), 3, "{printed}");
    for call in calls {
        let answer = shell(&format!("{call} --silent"));
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{call}\n{answer}");
    }
    program.terminate();
    assert_eq!(program.wait(), Some(0));
    let printed = program.printed();
    for left_over in ["panicked", "sandbox-client-secret", "1000.sandbox-refresh-token"] {
        assert!(!printed.contains(left_over), "{printed}");
    }
}

/// Every typo succeeded in the sandbox, so a service tested there failed at Zoho.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_no_page_documents_is_not_found() {
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let typos = [
        ("GET", "/people/api/v1/corses/1/shaer", 7201),
        ("PUT", "/people/api/v1/courses/1/shaer", 7201),
        ("GET", "/people/people/api/forms/json/employee/insertRecrod", 7201),
        ("POST", "/people/api/v1/courses/1/share", 7216),
        ("PATCH", "/people/api/v1/courses/1/share", 7216),
        ("DELETE", "/calendar/api/v1/calendars/1/share", 0),
        ("GET", "/calendar/api/v1/calendars/1/shares", 0),
    ];
    let documented = [
        ("GET", "/people/api/v1/courses/1/share"),
        ("GET", "/people/people/api/v1/courses/1/share"),
        ("GET", "/people/people/api/forms"),
        ("POST", "/people/people/api/forms"),
        ("GET", "/calendar/api/v1/calendars/1/share"),
    ];
    for lenient in [false, true] {
        let options = if lenient { &["run", "--sandbox", "--lenient"][..] } else { &["run", "--sandbox"] };
        let mut program = Process::start(options, &env);
        let gateway =
            program.said(|line| Some(line.split_once("The gateway listens on ")?.1.split_once(',')?.0.to_owned()));
        for (method, path, code) in typos {
            let answer = call(method, path).send(&gateway).await;
            assert_eq!(answer.status, if lenient { 200 } else { 404 }, "{method} {path}: {answer:?}");
            match code {
                _ if lenient => {}
                0 => assert!(answer.json()["error"][0]["error_code"].is_string(), "{answer:?}"),
                code => assert_eq!(answer.json()["response"]["errors"]["code"], code, "{answer:?}"),
            }
        }
        for (method, path) in documented {
            assert_eq!(call(method, path).send(&gateway).await.status, 200, "{method} {path}");
        }
        program.terminate();
        assert_eq!(program.wait(), Some(0));
    }
    let ended = Process::run(&["run", "--config", "x", "--lenient"], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}
