//! The form of every answer that the gateway itself makes.

use serde_json::Value;

use super::Answer;

impl Answer {
    /// Checks everything that is promised of every problem, and returns the body.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["type"], format!("urn:zoho-gateway:problem:{name}"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        for text in ["title", "detail", "instance"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {body}");
        }
        assert_eq!(body["instance"].as_str(), self.header("x-request-id"), "{self:?}");
        let proxy_status = self.header("proxy-status").unwrap_or_default();
        assert!(proxy_status.starts_with("zoho-gateway;"), "{proxy_status}");
        let retry_after = self.header("retry-after").map(|seconds| seconds.parse::<u64>().expect("whole seconds"));
        assert_eq!(body["retry_after"].as_u64(), retry_after, "{self:?}");
        if [429, 503].contains(&status) {
            assert!(retry_after.is_some_and(|seconds| seconds >= 1), "{self:?}");
        }
        body
    }

    /// The same for a call whose route and account are known.
    #[track_caller]
    pub(crate) fn problem_of(&self, status: u16, name: &str, route: &str) -> Value {
        let body = self.problem(status, name);
        assert_eq!((body["route"].as_str(), body["account"].as_str()), (Some(route), Some("main")), "{body}");
        body
    }

    /// Checks that the answer is Zoho's own.
    #[track_caller]
    pub(crate) fn is_zohos(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("proxy-status"), None, "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        assert!(!self.headers.contains_key("set-cookie"), "{self:?}");
        self
    }
}
