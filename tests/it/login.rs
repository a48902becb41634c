//! `login`, `logout`, and what `check --online` reports about a login's scopes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::support::{
    Answer, CLIENT_SECRET, COURSE, Call, Ended, Gateway, Process, REFRESH_TOKEN, Sandbox, Setup, Upstream, get, shell,
};

/// A login that waits for its browser.
struct Login {
    process: Process,
    /// The URL that the browser opens.
    url: String,
}

/// A redirect that the browser is about to follow.
#[derive(Debug, Clone)]
struct Redirect(String);

impl Login {
    fn start(setup: &Setup, options: &[&str]) -> Self {
        let config = setup.write();
        let config = config.to_str().expect("UTF-8");
        let arguments = ["login", "--config", config, "--account", "main", "--redirect-port", "0"];
        let process = Process::start(&[&arguments, options].concat(), &[]);
        let url = process.logged(|line| line.starts_with("http://").then(|| line.to_owned()));
        Self { process, url }
    }

    /// Opens the URL, and consents.
    async fn consent(&self) -> Redirect {
        let answer = open(&self.url).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        Redirect(answer.header("location").expect("a redirect").to_owned())
    }

    /// A parameter of the URL.
    fn asked(&self, name: &str) -> String {
        parameter(&self.url, name)
    }

    /// Checks what every ended login promises.
    #[track_caller]
    fn ended(mut self, code: i32) -> String {
        assert_eq!(self.process.wait(), Some(code), "{}", self.process.printed());
        let printed = self.process.printed();
        for unwanted in ["panicked", CLIENT_SECRET, "1000.sandbox."] {
            assert!(!printed.contains(unwanted), "{printed}");
        }
        printed
    }
}

impl Redirect {
    /// The same redirect with another value of a parameter.
    fn with(&self, name: &str, value: &str) -> Self {
        let old = format!("{name}={}", self.encoded(name));
        Self(self.0.replace(&old, &format!("{name}={}", encode(value))))
    }

    fn without(&self, name: &str) -> Self {
        Self(self.0.replace(&format!("{name}={}", self.encoded(name)), "nothing="))
    }

    fn encoded(&self, name: &str) -> String {
        let (_, rest) = self.0.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name}: {self:?}"));
        rest.split('&').next().expect("a value").to_owned()
    }

    async fn follow(&self) -> Answer {
        let answer = open(&self.0).await;
        for (header, value) in
            [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]
        {
            assert_eq!(answer.header(header), Some(value), "{answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{answer:?}");
        answer
    }
}

impl Ended {
    #[track_caller]
    fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!format!("{}{}", self.stdout, self.stderr).contains(CLIENT_SECRET), "{self:?}");
        self
    }
}

async fn open(url: &str) -> Answer {
    let (address, _) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("http://HOST/...");
    get(&url["http://".len() + address.len()..]).send(address).await
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').expect("a query");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name}: {url}"));
    value.replace("%2C", ",").replace("%3A", ":").replace("%2F", "/")
}

fn encode(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F")
}

/// A configuration with the refresh token in a file.
fn with_file(zoho: &Sandbox) -> Setup {
    let setup = Gateway::before(zoho).without("accounts.main.refresh_token");
    setup.set("accounts.main.refresh_token.file", "./refresh-token")
}

fn kept(setup: &Setup) -> String {
    let text = fs::read_to_string(setup.path("refresh-token")).expect("a file");
    text.strip_suffix('\n').expect("one line").to_owned()
}

fn command(name: &str, setup: &Setup, options: &[&str]) -> Ended {
    let config: PathBuf = setup.write();
    let config = config.to_str().expect("UTF-8");
    Process::run(&[&[name, "--config", config], options].concat(), &[])
}

async fn self_client_code(zoho: &Sandbox, scope: &str) -> String {
    let lever = Call::new("POST", &format!("/__sandbox/self-client-code?scope={scope}"));
    lever.send(zoho.address()).await.json()["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_writes_the_token_to_its_file() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let file = setup.path("refresh-token");
    fs::write(&file, "1000.an-old-token-that-was-longer-than-the-new-one-will-be-when-it-comes\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mine");

    let login = Login::start(&setup, &[]);
    assert!(login.url.starts_with(&format!("{}/oauth/v2/auth?", zoho.url())), "{}", login.url);
    let scopes = login.asked("scope");
    for expected in ["ZOHOPEOPLE.training.ALL", "ZohoCalendar.calendar.ALL"] {
        assert!(scopes.split(',').any(|scope| scope == expected), "{scopes}");
    }
    let asked = ["response_type", "access_type", "prompt", "client_id"].map(|name| login.asked(name));
    assert_eq!(asked, ["code", "offline", "consent", "1000.SANDBOX"]);
    assert_eq!(login.asked("state").len(), 64);

    let redirect = login.consent().await;
    assert_eq!(fs::metadata(&file).expect("a file").len(), 73, "the old one stays until the new one is there");
    let page = redirect.follow().await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("The account main is logged in"), "{}", page.text());
    let printed = login.ended(0);
    assert!(printed.contains("account main: logged in; the refresh token stands in ") && !printed.contains("missing"));
    assert!(!printed.contains("another data centre"), "{printed}");

    let token = kept(&setup);
    assert!(token.starts_with("1000.sandbox.") && !printed.contains(&token), "{printed}");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let folder = fs::read_dir(file.parent().expect("a folder")).expect("readable");
    let mut names: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["gateway.toml", "refresh-token"]);

    let mut gateway = setup.start();
    gateway.must_not_print(&token);
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_redirect_does_not_end_the_login() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let login = Login::start(&setup, &[]);
    let redirect = login.consent().await;
    for strange in [
        redirect.with("state", "0000000000000000000000000000000000000000000000000000000000000000"),
        redirect.without("state"),
        Redirect(redirect.0.replace("/callback", "/favicon.ico")),
    ] {
        let page = strange.follow().await;
        assert!([400, 404].contains(&page.status), "{page:?}");
        assert!(page.text().contains("Not this login"), "{}", page.text());
    }
    let (address, target) = redirect.0["http://".len()..].split_once('/').expect("a path");
    let rebound = get(&format!("/{target}")).header("host", "evil.example").send(address).await;
    assert_eq!(rebound.status, 403);
    assert!(!setup.path("refresh-token").exists());
    assert_eq!(redirect.follow().await.status, 200);
    login.ended(0);
    assert!(kept(&setup).starts_with("1000.sandbox."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_consent_is_reported() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let login = Login::start(&setup, &[]);
    let rejected = Redirect(login.consent().await.0.replace("code=", "error=access_denied&nothing="));
    let page = rejected.follow().await;
    assert!(page.status == 400 && page.text().contains("access_denied"), "{page:?}");
    let printed = login.ended(1);
    assert!(printed.contains("Zoho says access_denied"), "{printed}");

    let login = Login::start(&setup, &[]);
    let page = login.consent().await.without("code").follow().await;
    assert!(page.text().contains("no code"), "{page:?}");
    login.ended(1);
    assert!(!setup.path("refresh-token").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_goes_to_a_foreign_accounts_server() {
    let (zoho, foreign) = (Sandbox::boundless(), Upstream::start(|_| panic!("nothing comes here")).await);
    let setup = with_file(&zoho);
    let login = Login::start(&setup, &[]);
    let page = login.consent().await.with("accounts-server", &foreign.url()).follow().await;
    assert!(page.text().contains(&foreign.url()), "{page:?}");
    let printed = login.ended(1);
    assert!(printed.contains("nothing was sent there"), "{printed}");
    assert_eq!((foreign.connections(), foreign.token_calls()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_data_centre_is_reported() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let login = Login::start(&setup, &[]);
    assert_eq!(login.consent().await.with("location", "eu").follow().await.status, 200);
    let printed = login.ended(0);
    assert!(printed.contains("data_center = \"eu\"") && printed.contains("(us)"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_shows_what_zoho_rejected() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho).set("accounts.main.client_secret", "another");
    let login = Login::start(&setup, &[]);
    let page = login.consent().await.follow().await;
    assert!(page.text().contains("invalid_client_secret"), "{page:?}");
    let printed = login.ended(1);
    assert!(printed.contains("client_secret is wrong"), "{printed}");
    assert!(!setup.path("refresh-token").exists());

    // A client that gets access tokens only.
    let login = Login::start(&with_file(&zoho), &[]);
    let online = login.url.replace("access_type=offline", "access_type=online");
    let redirect = Redirect(open(&online).await.header("location").expect("a redirect").to_owned());
    redirect.follow().await;
    assert!(login.ended(1).contains("no refresh token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_clients_code_needs_no_browser() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let code = self_client_code(&zoho, "ZOHOPEOPLE.training.ALL,ZohoCalendar.calendar.READ").await;
    let ended = command("login", &setup, &["--account", "main", "--missing-scopes", "--code", &code]).with_code(0);
    let token = kept(&setup);
    assert!(token.starts_with("1000.sandbox.") && ended.stdout.is_empty(), "{ended:?}");
    assert!(!ended.stderr.contains(&token) && !ended.stderr.contains(&code), "{ended:?}");
    // Scopes that the console was not asked for are reported at once.
    let warning = "ZohoCalendar.calendar.UPDATE is missing for calendar.calendars.update-calendar, calendar.calendars.share-calendar";
    assert!(ended.stderr.contains(warning), "{ended:?}");

    let again = command("login", &setup, &["--account", "main", "--code", &code]).with_code(1);
    assert!(again.stderr.contains("invalid_code") && again.stderr.contains("make a new one"), "{again:?}");
    assert_eq!(kept(&setup), token, "a login that fails leaves the old token alone");

    let code = self_client_code(&zoho, "ZOHOPEOPLE.training.ALL").await;
    let (program, config) = (env!("CARGO_BIN_EXE_zoho-gateway"), setup.write());
    shell(&format!("echo {code} | {program} login --config {} --account main --code - 2>&1", config.display()));
    assert_ne!(kept(&setup), token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_printed_once_on_request() {
    let zoho = Sandbox::boundless();
    let variable = Gateway::before(&zoho)
        .without("accounts.main.refresh_token")
        .set("accounts.main.refresh_token.env", "ZOHO_TOKEN_TO_BE");
    for setup in [variable, with_file(&zoho)] {
        let code = self_client_code(&zoho, "ZOHOPEOPLE.training.ALL").await;
        let ended = command("login", &setup, &["--account", "main", "--print", "--code", &code]).with_code(0);
        assert!(ended.stdout.starts_with("1000.sandbox.") && ended.stdout.lines().count() == 1, "{ended:?}");
        assert!(!ended.stderr.contains(&ended.stdout) && ended.stderr.contains("printed once"), "{ended:?}");
        assert!(!setup.path("refresh-token").exists());
    }
}

#[test]
fn a_login_that_cannot_succeed_does_not_start() {
    let zoho = Sandbox::boundless();
    let message = command("login", &Gateway::before(&zoho), &["--account", "main"]).with_code(2).stderr;
    assert!(
        message.contains("--print") && message.contains("file = \"PATH\"") && !message.contains("http"),
        "{message}"
    );
    for name in ["login", "logout"] {
        let message = command(name, &with_file(&zoho), &["--account", "berlin"]).with_code(2).stderr;
        assert!(message.contains("no account \"berlin\"") && message.contains("main"), "{message}");
    }
    let nowhere = with_file(&zoho).set("accounts.main.refresh_token.file", "./nowhere/refresh-token");
    let message = command("login", &nowhere, &["--account", "main"]).with_code(1).stderr;
    assert!(message.contains("nowhere/refresh-token") && !message.contains("http"), "{message}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let message =
        command("login", &with_file(&zoho), &["--account", "main", "--redirect-port", &port]).with_code(1).stderr;
    assert!(message.contains(&format!("127.0.0.1:{port}")) && message.contains("--redirect-port"), "{message}");
    command("login", &with_file(&zoho), &["--account", "main", "--redirect-port", "1", "--code", "x"]).with_code(2);
    let message = command("login", &with_file(&zoho), &["--account", "main", "--code", "-"]).with_code(2).stderr;
    assert!(message.contains("there is no code"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_revokes_the_token() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let file = setup.path("refresh-token");
    fs::write(&file, format!("{REFRESH_TOKEN}\n")).expect("written");
    let config = setup.write();
    let gateway = setup.start();
    gateway.send(&get(COURSE)).await.is_zohos(200);

    let arguments = [Path::new("logout"), Path::new("--config"), &config, Path::new("--account"), Path::new("main")];
    let ended = Process::run(&arguments, &[]).with_code(0);
    assert!(ended.stderr.contains("is revoked") && !ended.stderr.contains(REFRESH_TOKEN), "{ended:?}");
    assert!(!file.exists());
    gateway.send(&get(COURSE)).await.problem(503, "account-unauthorised");

    let again = Process::run(&arguments, &[]).with_code(2);
    assert!(again.stderr.contains("no refresh token to revoke"), "{again:?}");
    fs::write(&file, "1000.elsewhere").expect("written");
    let rejected = Process::run(&arguments, &[]).with_code(1);
    assert!(rejected.stderr.contains("invalid_code") && file.exists(), "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_names_the_scopes_that_are_missing() {
    let zoho = Sandbox::boundless();
    let setup = with_file(&zoho);
    let scopes = "zohopeople.training.READ,ZohoCalendar.calendar.ALL";
    let code = self_client_code(&zoho, scopes).await;
    command("login", &setup, &["--account", "main", "--code", &code]).with_code(0);
    let ended = command("check", &setup, &["--online", "--missing-scopes"]).with_code(0);
    assert!(ended.stdout.contains("granted an access token for zohopeople.training.READ "), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    for (scope, route) in [
        ("ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.CREATE", "people.lms.create-course"),
        ("ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.DELETE", "people.lms.delete-course"),
    ] {
        let named = |line: &&str| line.contains(&format!("{scope} is missing for")) && line.contains(route);
        assert!(lines.iter().any(named), "{ended:?}");
    }
    for served in ["ZOHOPEOPLE.training.READ is missing", "ZohoCalendar.calendar."] {
        assert!(!ended.stderr.contains(served), "{ended:?}");
    }
    assert!(ended.stderr.contains("--account main asks for all that is needed"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_says_when_scopes_are_unknown() {
    let zoho = Upstream::start(|_| panic!("only tokens are asked for")).await;
    let ended = command("check", &Gateway::before_upstream(&zoho), &["--online"]).with_code(0);
    assert!(ended.stdout.contains("granted an access token and does not say for what"), "{ended:?}");
}

/// A login for some calls of two products should not have access to all of them.
#[test]
fn a_login_may_ask_for_fewer_scopes() {
    let zoho = Sandbox::boundless();
    let scopes = "ZOHOPEOPLE.training.READ,ZohoCalendar.calendar.ALL";
    let login = Login::start(&with_file(&zoho), &["--scopes", scopes]);
    assert_eq!(login.asked("scope"), scopes);
    for wrong in ["training", "ZOHOPEOPLE.training.", "ZOHOPEOPLE.training.ALL,", "A.b.C&d=e"] {
        let message =
            command("login", &with_file(&zoho), &["--account", "main", "--scopes", wrong]).with_code(2).stderr;
        assert!(message.contains("expected scopes such as ZOHOPEOPLE.training.ALL"), "{message}");
    }
}

/// The scopes of a narrow login are a choice; fifty lines at every check hid the real problems.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_scopes_are_counted_in_one_line() {
    let zoho = Sandbox::boundless();
    for (scopes, lines) in [("ZOHOPEOPLE.training.READ,ZohoCalendar.calendar.ALL", 1), ("ZOHOPEOPLE.training.ALL", 1)] {
        let setup = with_file(&zoho);
        let code = self_client_code(&zoho, scopes).await;
        let message = command("login", &setup, &["--account", "main", "--code", &code]).with_code(0).stderr;
        assert_eq!(message.lines().filter(|line| line.contains("lacks")).count(), lines, "{message}");
        assert!(message.lines().count() <= 2, "{message}");
        let message = command("check", &setup, &["--online"]).with_code(0).stderr;
        assert_eq!(message.lines().count(), lines, "{message}");
        assert!(message.contains(" of 493 calls need a scope") && message.contains("--missing-scopes"), "{message}");
    }
    // Nothing is missing for the calls that some caller may make.
    let setup = only_lms(with_file(&zoho), false);
    let code = self_client_code(&zoho, "ZOHOPEOPLE.training.ALL").await;
    command("login", &setup, &["--account", "main", "--code", &code]).with_code(0);
    assert_eq!(command("check", &setup, &["--online"]).with_code(0).stderr, "");
    let message = command("check", &with_file(&zoho), &["--missing-scopes"]).with_code(2).stderr;
    assert!(message.contains("--online"), "{message}");
}

/// A configuration with one caller, who may use the calls of LMS.
fn only_lms(setup: Setup, read_only: bool) -> Setup {
    setup
        .set("callers.payroll.key_sha256", "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683")
        .set("callers.payroll.accounts", "main")
        .set("callers.payroll.allow", "people.lms.*")
        .set("callers.payroll.read_only", read_only)
}

/// A login needs no scopes for writes that no caller may make.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_caller_needs_no_scope_for_writes() {
    let zoho = Sandbox::boundless();
    let setup = only_lms(with_file(&zoho), true);
    let login = Login::start(&setup, &[]);
    assert_eq!(login.asked("scope"), "ZOHOPEOPLE.training.READ");
    drop(login);
    let code = self_client_code(&zoho, "ZOHOPEOPLE.training.READ").await;
    command("login", &setup, &["--account", "main", "--code", &code]).with_code(0);
    let ended = command("check", &setup, &["--online"]).with_code(0);
    assert!(ended.stdout.contains("scopes   main needs ZOHOPEOPLE.training.READ\n"), "{ended:?}");
    assert_eq!(ended.stderr, "", "nothing is missing");

    // Another caller that writes needs more.
    let both = setup
        .set("callers.admin.key_sha256", crate::support::HASH_OF_ONE)
        .set("callers.admin.accounts", "main")
        .set("callers.admin.allow", "people.lms.share-course");
    let login = Login::start(&both, &[]);
    assert!(login.asked("scope").contains("ZOHOPEOPLE.training.ALL"), "{}", login.asked("scope"));
}

/// `check` prints for the API console the scopes that a browser is asked for.
#[test]
fn check_prints_the_scopes_to_ask_for() {
    let zoho = Sandbox::boundless();
    let ended = command("check", &Gateway::before(&zoho), &[]).with_code(0);
    let scopes =
        ended.stdout.lines().find_map(|line| line.strip_prefix("scopes   main needs ")).expect("a line of scopes");
    let login = Login::start(&with_file(&zoho), &[]);
    assert_eq!(login.asked("scope"), scopes);
}

/// A login for one caller's calls asks only for their scopes.
#[test]
fn calls_that_no_caller_may_make_need_no_scope() {
    let unreachable = "http://127.0.0.1:1";
    let setup = Setup::before_all(unreachable, unreachable, unreachable)
        .set("callers.payroll.key_sha256", "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683")
        .set("callers.payroll.accounts", "main")
        .set("callers.payroll.allow", "people.lms.*");
    let config = setup.write();
    let arguments = ["check", "--config", config.to_str().expect("a path in UTF-8")];
    let ended = Process::run(&arguments, &[]);
    assert!(
        ended.stdout.contains("scopes   main needs ZOHOPEOPLE.training.ALL\n")
            || ended.stdout.ends_with("scopes   main needs ZOHOPEOPLE.training.ALL"),
        "{ended:?}"
    );
}
