//! The sandbox over its socket: shapes, counts and commands. Behaviour over long times is tested next to its code, with
//! made-up instants.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;

const COURSE: &str = "/api/v1/courses/588882000000289003/share";
const CALENDAR: &str = "/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share";

struct Zoho {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Value,
}

impl Zoho {
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, settings, async { ended.await.unwrap_or_default() }));
        Self { address, end, task }
    }

    /// Sends a request whose head is `line` plus `headers`; each of these ends with a line break.
    async fn send(&self, line: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: zoho.test\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        Reply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: serde_json::from_str(body).unwrap() }
    }

    async fn form(&self, line: &str, token: &str, form: &str) -> Reply {
        let headers = format!(
            "Authorization: Zoho-oauthtoken {token}\r\nContent-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n"
        );
        self.send(line, &headers, form.as_bytes()).await
    }

    async fn call(&self, line: &str, token: &str) -> Reply {
        self.send(line, &format!("Authorization: Zoho-oauthtoken {token}\r\n"), b"").await
    }

    async fn ask_token(&self, client_id: &str, client_secret: &str, refresh_token: &str) -> Reply {
        let parameters = format!("client_id={client_id}&client_secret={client_secret}&refresh_token={refresh_token}");
        self.send(&format!("POST /oauth/v2/token?grant_type=refresh_token&{parameters}"), "", b"").await
    }

    async fn token_of(&self, refresh_token: &str) -> String {
        let reply = self.ask_token(CLIENT_ID, CLIENT_SECRET, refresh_token).await;
        reply.body["access_token"].as_str().unwrap().to_owned()
    }

    async fn token(&self) -> String {
        self.token_of(REFRESH_TOKEN).await
    }

    async fn control(&self, line: &str) -> Value {
        let reply = self.send(line, "", b"").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    }

    async fn stats(&self) -> Value {
        self.control("GET /__sandbox/stats").await
    }
}

fn strict(requests: u32) -> Settings {
    Settings { requests: Some(requests), ..Settings::default() }
}

#[tokio::test]
async fn grants_an_access_token_by_form_and_by_query() {
    let zoho = Zoho::start(Settings::default()).await;
    let form = format!(
        "grant_type=refresh_token&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}&refresh_token={REFRESH_TOKEN}"
    );
    let by_form = zoho.form("POST /oauth/v2/token", "", &form).await;
    let by_query = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN).await;
    for reply in [&by_form, &by_query] {
        assert_eq!(
            (reply.status, &reply.body["expires_in"], &reply.body["token_type"]),
            (200, &json!(3600), &json!("Bearer"))
        );
        assert_eq!(reply.body["api_domain"], "https://www.zohoapis.com");
        let token = reply.body["access_token"].as_str().unwrap();
        let parts: Vec<_> = token.split('.').map(str::len).collect();
        assert_eq!(parts, [4, 32, 32]);
    }
    assert_ne!(by_form.body["access_token"], by_query.body["access_token"]);
}

#[tokio::test]
async fn reports_oauth_failures_under_http_200() {
    let zoho = Zoho::start(Settings::default()).await;
    let cases = [
        ("someone", CLIENT_SECRET, REFRESH_TOKEN, "invalid_client"),
        (CLIENT_ID, "guess", REFRESH_TOKEN, "invalid_client_secret"),
        (CLIENT_ID, CLIENT_SECRET, "1000.elsewhere", "invalid_code"),
    ];
    for (client, secret, refresh_token, error) in cases {
        let reply = zoho.ask_token(client, secret, refresh_token).await;
        assert_eq!((reply.status, reply.body), (200, json!({"error": error})));
    }
}

#[tokio::test]
async fn blocks_the_eleventh_token_call() {
    let zoho = Zoho::start(Settings::default()).await;
    for _ in 0..10 {
        zoho.token().await;
    }
    let reply = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN).await;
    assert_eq!((reply.status, &reply.body["status"]), (400, &json!("failure")));
    zoho.token_of("1000.sandbox.colleague").await;
    let tokens = zoho.stats().await["tokens"].clone();
    assert_eq!(tokens["main"], json!({"calls": 11, "granted": 10, "most_in_ten_minutes": 11, "blocked": 1}));
    assert_eq!(tokens["olleague"]["blocked"], 0);
}

/// The consent page's address, with one parameter changed.
fn question(name: &str, value: &str) -> String {
    let mut parameters = vec![
        ("client_id", CLIENT_ID),
        ("response_type", "code"),
        ("scope", "ZOHOPEOPLE.training.READ,ZohoCalendar.calendar.ALL"),
        ("redirect_uri", "http://127.0.0.1:9004/callback"),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("state", "a%20state"),
    ];
    parameters.retain(|(other, _)| *other != name);
    parameters.push((name, value));
    let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("GET /oauth/v2/auth?{}", query.join("&"))
}

impl Zoho {
    /// The code in a redirect.
    async fn code(&self, question: &str) -> String {
        let reply = self.send(question, "", b"").await;
        let (_, rest) = reply.head.split_once("code=").unwrap_or_else(|| panic!("{reply:?}"));
        rest.split('&').next().unwrap().replace("%2E", ".")
    }

    async fn exchange(&self, code: &str, redirect_uri: &str) -> Value {
        let form = format!(
            "grant_type=authorization_code&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}&code={code}{redirect_uri}"
        );
        let reply = self.form("POST /oauth/v2/token", "", &form).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    }
}

const REDIRECT_URI: &str = "&redirect_uri=http%3A%2F%2F127.0.0.1%3A9004%2Fcallback";

#[tokio::test]
async fn grants_a_client_a_code_that_is_valid_once() {
    let zoho = Zoho::start(Settings::default()).await;
    let reply = zoho.send(&question("nothing", ""), "", b"").await;
    assert_eq!(reply.status, 302);
    for part in ["location: http://127.0.0.1:9004/callback?code=1000%2E", "&location=us", "&state=a%20state"] {
        assert!(reply.head.contains(part), "{}", reply.head);
    }
    assert!(reply.head.contains("&accounts-server=http%3A%2F%2Fzoho%2Etest"), "{}", reply.head);

    let code = zoho.code(&question("nothing", "")).await;
    let granted = zoho.exchange(&code, REDIRECT_URI).await;
    assert_eq!(granted["scope"], "ZOHOPEOPLE.training.READ ZohoCalendar.calendar.ALL");
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!(zoho.call(&format!("GET {COURSE}"), token).await.status, 200);
    let refreshed = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, granted["refresh_token"].as_str().unwrap()).await.body;
    assert_eq!(refreshed["scope"], granted["scope"]);
    assert!(refreshed["access_token"].is_string() && refreshed["refresh_token"].is_null());
    assert_eq!(zoho.exchange(&code, REDIRECT_URI).await, json!({"error": "invalid_code"}));
    let code = zoho.code(&question("nothing", "")).await;
    assert_eq!(zoho.exchange(&code, "&redirect_uri=http://elsewhere").await, json!({"error": "invalid_redirect_uri"}));
}

#[tokio::test]
async fn grants_a_refresh_token_only_offline_and_by_consent() {
    let zoho = Zoho::start(Settings::default()).await;
    for question in [question("access_type", "online"), question("prompt", "")] {
        let granted = zoho.exchange(&zoho.code(&question).await, REDIRECT_URI).await;
        assert!(granted["access_token"].is_string() && granted["refresh_token"].is_null(), "{granted}");
    }
}

#[tokio::test]
async fn rejects_wrong_requests_for_consent() {
    let zoho = Zoho::start(Settings::default()).await;
    for (name, value, error) in [
        ("client_id", "someone", "invalid_client"),
        ("response_type", "token", "invalid_response_type"),
        ("scope", "", "invalid_scope"),
        ("redirect_uri", "/callback", "invalid_redirect_uri"),
        ("access_type", "always", "invalid_access_type"),
        ("prompt", "none", "invalid_prompt"),
    ] {
        let reply = zoho.send(&question(name, value), "", b"").await;
        assert_eq!((reply.status, reply.body), (400, json!({"error": error})));
    }
}

#[tokio::test]
async fn a_self_clients_code_needs_no_redirect() {
    let zoho = Zoho::start(Settings::default()).await;
    let made = zoho.control("POST /__sandbox/self-client-code?scope=ZOHOPEOPLE.training.ALL").await;
    let granted = zoho.exchange(made["code"].as_str().unwrap(), "").await;
    assert!(granted["refresh_token"].as_str().unwrap().starts_with("1000.sandbox."), "{granted}");
    assert_eq!(zoho.send("POST /__sandbox/self-client-code", "", b"").await.status, 400);
}

#[tokio::test]
async fn a_refresh_token_is_revoked_in_a_form_too() {
    let zoho = Zoho::start(Settings::default()).await;
    let reply = zoho.form("POST /oauth/v2/token/revoke", "", &format!("token={REFRESH_TOKEN}")).await;
    assert_eq!((reply.status, reply.body), (200, json!({"status": "success"})));
    let reply = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN).await;
    assert_eq!(reply.body, json!({"error": "invalid_code"}));
}

#[tokio::test]
async fn blocks_later_if_more_token_calls_are_allowed() {
    let zoho = Zoho::start(Settings { token_requests: 12, ..Settings::default() }).await;
    for _ in 0..12 {
        zoho.token().await;
    }
    assert_eq!(zoho.ask_token(CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN).await.body["error"], "Access Denied");
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_its_access_tokens() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let reply = zoho.send(&format!("POST /oauth/v2/token/revoke?token={REFRESH_TOKEN}"), "", b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &token).await.status, 401);
    let reply = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN).await;
    assert_eq!(reply.body, json!({"error": "invalid_code"}));
}

#[tokio::test]
async fn a_short_lived_token_expires_in_time() {
    let life = Duration::from_millis(80);
    let zoho = Zoho::start(Settings { token_life: life, ..Settings::default() }).await;
    let token = zoho.token().await;
    assert_eq!(zoho.call("GET /api/v1/courses", &token).await.status, 200);
    tokio::time::sleep(life).await;
    assert_eq!(zoho.call("GET /api/v1/courses", &token).await.status, 401);
}

#[tokio::test]
async fn shares_a_course_lists_and_removes_the_share() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let reply = zoho.form(&format!("PUT {COURSE}"), &token, "erecnosList=%5B588882000000212025%2C7%5D").await;
    assert_eq!((reply.status, &reply.body["code"], &reply.body["message"]), (200, &json!("200"), &json!("success")));
    assert_eq!(reply.body["sharedUsers"][0]["erecno"], "588882000000212025");

    let numbers: Vec<String> = (100..126).map(|number| number.to_string()).collect();
    zoho.call(&format!("PUT {COURSE}?erecnosList=[{}]", numbers.join(",")), &token).await;
    let first = zoho.call(&format!("GET {COURSE}"), &token).await.body;
    assert_eq!((first["sharedUsers"].as_array().unwrap().len(), &first["hasMoreRecords"]), (25, &json!(true)));
    let second = zoho.call(&format!("GET {COURSE}?startIndex=25"), &token).await.body;
    assert_eq!((second["sharedUsers"].as_array().unwrap().len(), &second["hasMoreRecords"]), (3, &json!(false)));

    let removed = zoho.form(&format!("DELETE {COURSE}"), &token, "sharedUserErecno=7").await;
    assert_eq!(removed.status, 200);
    let again = zoho.form(&format!("DELETE {COURSE}"), &token, "sharedUserErecno=7").await;
    assert_eq!(again.status, 404);

    let other = zoho.token_of("1000.sandbox.colleague").await;
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &other).await.body["sharedUsers"], json!([]));
}

#[tokio::test]
async fn refuses_bad_parameters_in_each_products_shape() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    for target in [COURSE.to_owned(), format!("{COURSE}?erecnosList=7")] {
        let reply = zoho.call(&format!("PUT {target}"), &token).await;
        assert_eq!((reply.status, &reply.body["response"]["status"]), (400, &json!(1)));
    }
    assert_eq!(zoho.call(&format!("GET {COURSE}?startIndex=-1"), &token).await.status, 400);
    for data in
        ["", "?shareData=%7B%7D", "?shareData=%7B%22type%22:%22group%22,%22zgid%22:7,%22privilege%22:%22delegate%22%7D"]
    {
        let reply = zoho.call(&format!("PUT {CALENDAR}{data}"), &token).await;
        assert_eq!((reply.status, &reply.body["error"][0]["error_code"]), (400, &json!("INVALID_DATA")));
    }
}

#[tokio::test]
async fn shares_a_calendar_with_users_and_groups() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let user = r#"{"mailid":"user@domain.com","privilege":"view","type":"user","mode":"edit"}"#;
    let group = r#"{"zgid":"73369916","type":"group","mode":"add","privilege":"freebusy"}"#;
    let reply = zoho.form(&format!("PUT {CALENDAR}"), &token, &format!("shareData={user}")).await;
    assert_eq!(reply.body, json!({"share": [{"message": "Updated Successfully", "status": "success"}]}));
    let group = group.replace('"', "%22");
    zoho.call(&format!("PUT {CALENDAR}?shareData={group}"), &token).await;
    let shares = zoho.call(&format!("GET {CALENDAR}"), &token).await.body;
    let expected = json!({"share": [
        {"emailid": "user@domain.com", "privilege": "view"},
        {"zgid": "73369916", "privilege": "freebusy"},
    ]});
    assert_eq!(shares, expected);
    let gone = r#"{"mailid":"user@domain.com","type":"user","mode":"delete"}"#;
    zoho.form(&format!("PUT {CALENDAR}"), &token, &format!("shareData={gone}")).await;
    assert_eq!(zoho.call(&format!("GET {CALENDAR}"), &token).await.body["share"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn answers_other_documented_paths_with_empty_results() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let people = zoho.call("GET /people/api/forms?x=1", &token).await.body;
    assert_eq!(people["response"]["uri"], "/people/api/forms");
    let calendar = zoho.call("GET /api/v1/calendars", &token).await.body;
    assert_eq!(calendar, json!({"calendars": []}));
}

#[tokio::test]
async fn rejects_undocumented_calls_unless_lenient() {
    for lenient in [false, true] {
        let zoho = Zoho::start(Settings { lenient, ..Settings::default() }).await;
        let token = zoho.token().await;
        for (line, pointer, code) in [
            ("PUT /api/v1/courses/1/shaer", "/response/errors/code", json!(7201)),
            ("POST /api/v1/courses/1/share", "/response/errors/code", json!(7216)),
            ("GET /api/v1/events", "/error/0/error_code", json!("URL_NOT_FOUND")),
            ("POST /api/v1/calendars/1/share", "/error/0/error_code", json!("INVALID_METHOD")),
        ] {
            let reply = zoho.call(line, &token).await;
            let expected = if lenient { (200, None) } else { (404, Some(&code)) };
            assert_eq!((reply.status, reply.body.pointer(pointer)), expected, "{line}: {reply:?}");
        }
        // A caller without a valid token cannot find out which calls exist.
        assert_eq!(zoho.call("PUT /api/v1/courses/1/shaer", "1000.unknown").await.status, 401);
    }
}

#[tokio::test]
async fn answers_have_zohos_headers() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let people = zoho.call(&format!("GET {COURSE}"), &token).await.head;
    let calendar = zoho.call(&format!("GET {CALENDAR}"), &token).await.head;
    for (head, cookie) in [(people, "CSRF_TOKEN="), (calendar, "_zcsr_tmp=")] {
        assert!(head.contains("content-type: application/json;charset=UTF-8"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert_eq!(head.matches("set-cookie: ").count(), 2, "{head}");
        assert!(head.contains("set-cookie: zalb_") && head.contains(cookie), "{head}");
    }
}

#[tokio::test]
async fn a_missing_token_differs_from_a_dead_one() {
    let zoho = Zoho::start(Settings::default()).await;
    let people = zoho.send(&format!("GET {COURSE}"), "", b"").await;
    let expected = json!({"response": {"errors": {"code": 7202, "message": "Provided authentication token is invalid."}, "status": 1}});
    assert_eq!((people.status, people.body), (400, expected));
    let calendar = zoho.send(&format!("GET {CALENDAR}"), "Authorization: Bearer \r\n", b"").await;
    assert_eq!((calendar.status, &calendar.body["error"][0]["error_code"]), (400, &json!("INVALID_TICKET")));

    let token = zoho.token().await;
    assert_eq!(
        zoho.send(&format!("GET {COURSE}"), &format!("Authorization: bearer {token}\r\n"), b"").await.status,
        200
    );
    zoho.control("POST /__sandbox/revoke-access-tokens").await;
    for token in [token.as_str(), "1000.never.issued"] {
        let people = zoho.call(&format!("GET {COURSE}"), token).await;
        assert_eq!((people.status, &people.body["response"]["errors"]["code"]), (401, &json!(7213)));
        let calendar = zoho.call(&format!("GET {CALENDAR}"), token).await;
        assert_eq!((calendar.status, &calendar.body["error"][0]["error_code"]), (401, &json!("INVALID_OAUTHTOKEN")));
    }
}

#[tokio::test]
async fn locks_one_api_of_one_login_over_the_threshold() {
    let zoho = Zoho::start(strict(2)).await;
    let (token, other) = (zoho.token().await, zoho.token_of("1000.sandbox.colleague").await);
    let other_course = "/api/v1/courses/1/share";
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &token).await.status, 200);
    assert_eq!(zoho.call(&format!("GET {other_course}"), &token).await.status, 200);
    for spelling in ["/api/v1/cour%73es/2/share", "//api/v1/courses/3/share/"] {
        let refused = zoho.call(&format!("GET {spelling}"), &token).await;
        assert_eq!((refused.status, &refused.body["response"]["errors"]["code"]), (429, &json!(7209)));
    }
    assert_eq!(zoho.call(&format!("PUT {COURSE}?erecnosList=[1]"), &token).await.status, 200);
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &other).await.status, 200);

    let apis = zoho.stats().await["apis"].clone();
    let tally = &apis["main/GET /api/v1/courses/{id}/share"];
    assert!(tally["tightest_margin_ms"].as_i64().unwrap() < 0);
    let counts = ["arrivals", "accepted", "refused", "locks", "arrivals_during_lock", "most_in_any_window"];
    assert_eq!(counts.map(|count| tally[count].as_u64().unwrap()), [4, 2, 2, 1, 1, 4]);
    assert_eq!(apis["olleague/GET /api/v1/courses/{id}/share"]["tightest_margin_ms"], Value::Null);
}

#[tokio::test]
async fn a_lock_ends() {
    let (window, lock) = (Some(Duration::from_millis(20)), Some(Duration::from_millis(60)));
    let zoho = Zoho::start(Settings { window, lock, ..strict(0) }).await;
    let token = zoho.token().await;
    assert_eq!(zoho.call("GET /api/v1/events", &token).await.status, 429);
    tokio::time::sleep(Duration::from_millis(70)).await;
    zoho.call("GET /api/v1/events", &token).await;
    assert_eq!(zoho.stats().await["apis"]["main/calendar.other"]["locks"], 2);
}

#[tokio::test]
async fn a_lock_is_answered_as_configured() {
    let cases = [
        (LockAnswer::Status429, 429, "/response/errors/code"),
        (LockAnswer::Status400, 400, "/response/errors/code"),
        (LockAnswer::Status200, 200, "/response/errors/code"),
        (LockAnswer::Status200Array, 200, "/response/errors/0/code"),
    ];
    for (lock_answer, status, code) in cases {
        let zoho = Zoho::start(Settings { lock_answer, ..strict(0) }).await;
        let token = zoho.token().await;
        let people = zoho.call(&format!("GET {COURSE}"), &token).await;
        assert_eq!((people.status, people.body.pointer(code)), (status, Some(&json!(7209))));
        assert_eq!(zoho.call(&format!("GET {CALENDAR}"), &token).await.status, 429);
    }
}

#[tokio::test]
async fn a_dead_token_counts_for_its_login() {
    let zoho = Zoho::start(strict(1)).await;
    let token = zoho.token().await;
    zoho.control("POST /__sandbox/revoke-access-tokens").await;
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &token).await.status, 401);
    assert_eq!(zoho.call(&format!("GET {COURSE}"), &token).await.status, 429);
}

#[tokio::test]
async fn a_call_counts_although_its_caller_left() {
    let zoho = Zoho::start(Settings { delay: Duration::from_millis(100), ..Settings::default() }).await;
    let token = zoho.token().await;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(zoho.address).await.unwrap();
        let head = format!("GET {COURSE} HTTP/1.1\r\nHost: zoho.test\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(zoho.stats().await["apis"]["main/GET /api/v1/courses/{id}/share"]["arrivals"], 5);
}

#[tokio::test]
async fn keeps_requests_as_received() {
    let zoho = Zoho::start(Settings::default()).await;
    let target = "/people/api/%66orms?q=a%20b&&q=c+d";
    zoho.send(&format!("POST {target}"), "X-Trace: One\r\nX-Trace: Two\r\n", b"{\"a\": 1}").await;
    zoho.send("POST /api/v1/events", "", &[0xff, 0x00]).await;
    let requests = zoho.control("GET /__sandbox/requests").await;
    let first = &requests[0];
    assert_eq!(
        (&first["method"], &first["target"], &first["body"]),
        (&json!("POST"), &json!(target), &json!("{\"a\": 1}"))
    );
    let headers = first["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-trace", "One"])) && headers.contains(&json!(["x-trace", "Two"])));
    assert_eq!(requests[1]["body_hex"], "ff00");
    assert!(requests[1]["at_ms"].as_u64().unwrap() >= first["at_ms"].as_u64().unwrap());
}

#[tokio::test]
async fn refuses_a_body_above_its_limit() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    let mut stream = TcpStream::connect(zoho.address).await.unwrap();
    let length = 16 * 1024 * 1024 + 1;
    let head = format!(
        "PUT {COURSE} HTTP/1.1\r\nHost: zoho.test\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The body is not sent: the announced length suffices.
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_test_can_lock_an_api_and_reset() {
    let zoho = Zoho::start(Settings::default()).await;
    let token = zoho.token().await;
    zoho.call("GET /people/api/forms", &token).await;
    zoho.control("POST /__sandbox/lock?api=people.other&seconds=60").await;
    zoho.control("POST /__sandbox/lock?api=GET%20/api/v1/courses/%7Bid%7D/share&seconds=60").await;
    for line in ["GET /people/api/forms".to_owned(), format!("GET {COURSE}")] {
        assert_eq!(zoho.call(&line, &token).await.status, 429, "{line}");
    }
    assert_eq!(zoho.stats().await["apis"]["main/people.other"]["locks"], 0);
    zoho.control("POST /__sandbox/reset").await;
    assert_eq!(zoho.call("GET /people/api/forms", &token).await.status, 200);
    assert_eq!(zoho.control("GET /__sandbox/requests").await.as_array().unwrap().len(), 1);
    assert_eq!(zoho.stats().await["tokens"]["main"]["calls"], 0);
    assert_eq!(zoho.send("POST /__sandbox/lock?api=nothing&seconds=1", "", b"").await.status, 400);
    assert_eq!(zoho.send("POST /__sandbox/lock?api=people.other&seconds=NaN", "", b"").await.status, 400);
    assert_eq!(zoho.send("GET /__sandbox/lock", "", b"").await.status, 404);
}

#[tokio::test]
async fn a_test_can_revoke_every_refresh_token() {
    let zoho = Zoho::start(Settings::default()).await;
    zoho.token_of("1000.sandbox.colleague").await;
    zoho.control("POST /__sandbox/revoke-refresh-tokens").await;
    for refresh_token in [REFRESH_TOKEN, "1000.sandbox.colleague"] {
        let reply = zoho.ask_token(CLIENT_ID, CLIENT_SECRET, refresh_token).await;
        assert_eq!(reply.body, json!({"error": "invalid_code"}));
    }
    zoho.token_of("1000.sandbox.newcomer").await;
}

#[tokio::test]
async fn ends_with_its_shutdown() {
    let zoho = Zoho::start(Settings::default()).await;
    let mut idle = TcpStream::connect(zoho.address).await.unwrap();
    zoho.end.send(()).unwrap();
    zoho.task.await.unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(zoho.address).await.is_err());
}
