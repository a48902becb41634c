//! `run --sandbox`: the first minute of a newcomer.

use crate::support::{Process, shell};

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
