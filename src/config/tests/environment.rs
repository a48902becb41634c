//! What the environment adds to the file.

use super::*;

#[test]
fn the_environment_overrides_the_file() {
    let text = with_account(
        "[proxy]\nlisten = \"127.0.0.1:1\"\n[routes.\"people.lms.share-course\"]\nrequests = 5\n\
         [callers.Pay-Roll]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\n",
    );
    let config = good(
        &text,
        &[
            ("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:8080, unix:/run/zoho-gateway/proxy.sock"),
            ("ZOHO_GATEWAY__QUEUE__MAX_WAITING", "7"),
            ("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_COURSE__REQUESTS", "10"),
            ("ZOHO_GATEWAY__ROUTES__CALENDAR_CALENDARS_SHARE_CALENDAR__LOCK", "1m"),
            ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET", "other"),
            ("ZOHO_GATEWAY__CALLERS__PAY_ROLL__WEIGHT", "5"),
            ("ZOHO_GATEWAY__ACCOUNTS__MAIN__ENDPOINTS__PEOPLE", "http://localhost:1"),
            ("ZOHO_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
    );
    let listen: Vec<String> = config.proxy.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:8080", "unix:/run/zoho-gateway/proxy.sock"]);
    assert_eq!(config.queue.limits.calls, 7);
    assert_eq!(route(&config, "people.lms.share-course").threshold.unwrap().requests.get(), 10);
    let lock = route(&config, "calendar.calendars.share-calendar").threshold.unwrap().lock;
    assert_eq!(lock, Duration::from_secs(60));
    assert_eq!(config.callers.by_key(b"key").map(|found| found.who.weight().get()), Some(5));
    assert_eq!(config.accounts[0].client_secret.current().expose(), "other");
    assert_eq!(config.accounts[0].endpoints.product(Product::People).to_string(), "http://localhost:1");
}

#[test]
fn the_environment_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "1000.8ef2\n").unwrap();
    let config = good(
        "",
        &[
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__CLIENT_ID", "1000.ABC"),
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__CLIENT_SECRET__ENV", "SECRET"),
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__REFRESH_TOKEN__FILE", token.to_str().unwrap()),
            ("SECRET", "c11e27"),
        ],
    );
    let [account] = config.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.name.as_str(), "payroll");
    assert_eq!(account.client_secret.current().expose(), "c11e27");
    assert_eq!(account.refresh_token.current().expose(), "1000.8ef2");
}

#[test]
fn a_secret_from_the_environment_replaces_every_form_in_the_file() {
    for form in ["\"x\"", "{ env = \"UNSET\" }", "{ file = \"/nowhere\" }"] {
        let text = ACCOUNT.replace("\"c11e27\"", form).replace("accounts.main", "accounts.\"Ma-in\"");
        for name in ["CLIENT_SECRET", "CLIENT_SECRET__ENV"] {
            let name = format!("ZOHO_GATEWAY__ACCOUNTS__MA_IN__{name}");
            let config = good(&text, &[(&name, "SET"), ("SET", "SET")]);
            assert_eq!(config.accounts[0].client_secret.current().expose(), "SET", "{form} {name}");
        }
    }
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let named = |name: &str| ACCOUNT.replace("main", name).replace("8ef2", name);
    let two = with_account(&named("a-b")) + &named("a_b");
    for (text, pairs, expected) in [
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__QUEUE__MAX_WAITING", "many")][..],
            "environment ZOHO_GATEWAY__QUEUE__MAX_WAITING: queue.max_waiting: expected an integer from 0 to 1000000",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_COURSE__READS", "maybe")],
            "environment ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_COURSE__READS: routes.\"people.lms.share-course\".reads: expected true or false",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY__LISTN", "x")],
            "environment ZOHO_GATEWAY__PROXY__LISTN: proxy.listn: unknown key; did you mean listen? (known here: body_timeout, drain, header_timeout, hosts, idle_timeout, listen, max_body, max_connections, max_form, max_header_bytes, max_headers, send_timeout, tls, unix)",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_CURSE__REQUESTS", "1")],
            "environment ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_CURSE__REQUESTS: routes.people_lms_share_curse: unknown route; did you mean people.lms.share-course? (`zoho-gateway routes` lists them all)",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__EXTRA_ROUTES__0__PATH", "/api/x")],
            "environment ZOHO_GATEWAY__EXTRA_ROUTES__0__PATH: extra_routes: expected a list of tables, [[extra_routes]], in the file, found a table",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY", "x")],
            "environment ZOHO_GATEWAY__PROXY: proxy: expected a table, found a string",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY____LISTEN", "x")],
            "environment ZOHO_GATEWAY__PROXY____LISTEN: expected a name such as ZOHO_GATEWAY__PROXY__LISTEN",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY__DRAIN", "1s"), ("ZOHO_GATEWAY__proxy__drain", "1s")],
            "environment ZOHO_GATEWAY__proxy__drain: proxy.drain: is already set by ZOHO_GATEWAY__PROXY__DRAIN",
        ),
        (
            ACCOUNT,
            &[
                ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET", "x"),
                ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET__FILE", "x"),
            ],
            "environment ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET__FILE: accounts.main.client_secret: is already set by ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET",
        ),
        (
            &two,
            &[("ZOHO_GATEWAY__ACCOUNTS__A_B__CLIENT_ID", "x")],
            "environment ZOHO_GATEWAY__ACCOUNTS__A_B__CLIENT_ID: accounts.a_b: may mean a-b or a_b; set this one in the file",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_ID", "x"), ("ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_SECRET", "x")],
            "environment ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_ID: accounts.new.refresh_token: is missing; expected a string, { env = \"NAME\" } or { file = \"PATH\" }",
        ),
    ] {
        assert_eq!(lines(&bad(text, pairs)), [expected]);
    }
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let odd = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff"].concat());
    let pairs = vec![
        (OsString::from("ZOHO_GATEWAY__PROXY__DRAIN"), odd("")),
        (odd("ZOHO_GATEWAY__"), OsString::new()),
        (odd("OTHER"), odd("")),
        (OsString::from("SECRET"), odd("")),
    ];
    let text = ACCOUNT.replace("\"c11e27\"", "{ env = \"SECRET\" }");
    assert_eq!(
        lines(&parse("gateway.toml", &text, pairs).unwrap_err()),
        [
            "gateway.toml:4:25: accounts.main.client_secret.env: the environment variable SECRET is not UTF-8 text",
            "environment ZOHO_GATEWAY__PROXY__DRAIN: proxy.drain: expected UTF-8 text",
            "environment ZOHO_GATEWAY__\u{fffd}: expected a name such as ZOHO_GATEWAY__PROXY__LISTEN",
        ]
    );
}
