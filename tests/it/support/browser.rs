//! Headless Chromium, driven by WebDriver, which is HTTP.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Call, PATIENCE, call, free_port, until};

/// So that the browser makes no request but those of the page.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    /// Holds the browser's profile.
    _folder: TempDir,
}

impl Browser {
    /// Starts the browser with this page.
    pub(crate) async fn open(url: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; tests/run installs chromium and chromium-driver"));
        let address = format!("127.0.0.1:{port}");
        until("chromedriver listens", async || TcpStream::connect(&address).is_ok()).await;
        let profile = format!("--user-data-dir={}", folder.path().display());
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, address, session: String::new(), _folder: folder };
        let session = browser.post("/session", &wanted).await;
        browser.session = session["sessionId"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned();
        browser.command("/url", &json!({ "url": url })).await;
        browser
    }

    /// The value of an expression in the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.command("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Resolves when an expression is true in the page.
    pub(crate) async fn until(&self, expression: &str) {
        until(expression, async || self.value(expression).await == true).await;
    }

    /// The errors in the browser's console, such as violations of the page's policy.
    pub(crate) async fn errors(&self) -> Vec<Value> {
        let log = self.command("/se/log", &json!({ "type": "browser" })).await;
        log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}{path}", self.session), body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let post: Call = call("POST", path).header("content-type", "application/json").body(body.to_string());
        let answer = post.send(&self.address).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the session ends the browser; the driver alone would leave it.
        let end = format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
        if let Ok(mut stream) = TcpStream::connect(&self.address) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            // The driver answers when the browser has ended.
            let _ = stream.write_all(end.as_bytes()).and_then(|()| stream.read(&mut [0; 64]));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
