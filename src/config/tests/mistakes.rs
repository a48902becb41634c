//! Mistakes: all are reported at once, with their positions and without secrets.

use super::*;

#[test]
fn every_mistake_is_told_with_its_place() {
    check_reports(&[
        // Keys that do not exist, some of them not yet.
        (
            "state.keep = 1",
            "1:7: state.keep: unknown key (known here: dir, failover, lease, namespace, redis, redis_ca_file, redis_password, redis_sentinel_password, redis_user, replicas, when_empty)",
        ),
        (
            "[prox]",
            "1:2: prox: unknown key; did you mean proxy? (known here: accounts, admin, audit, cache, callers, extra_routes, issuers, jobs, log, proxy, queue, routes, routing, state, token, upstream)",
        ),
        (
            "[proxy]\ntlc = {}",
            "2:1: proxy.tlc: unknown key; did you mean tls? (known here: body_timeout, drain, header_timeout, hosts, idle_timeout, listen, max_body, max_connections, max_form, max_header_bytes, max_headers, send_timeout, tls, unix)",
        ),
        (
            "[routing]\n\"un\\nknown\" = 1",
            "2:1: routing.\"un\\nknown\": unknown key; did you mean unknown? (known here: scopes, unknown, validate)",
        ),
        // Kinds.
        ("proxy = 1", "1:9: proxy: expected a table, found an integer"),
        ("[[proxy]]", "1:1: proxy: expected a table, found a list"),
        (
            "queue.max_wait = 30",
            "1:18: queue.max_wait: expected a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\", found an integer",
        ),
        (
            "queue.max_wait = 12:00:00",
            "1:18: queue.max_wait: expected a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\", found a date or time",
        ),
        ("queue.max_waiting = \"7\"", "1:21: queue.max_waiting: expected an integer from 0 to 1000000, found a string"),
        (
            "queue.max_waiting = 7.0",
            "1:21: queue.max_waiting: expected an integer from 0 to 1000000, found a number with a fraction",
        ),
        ("routing.unknown = true", "1:19: routing.unknown: expected one of \"limit\", \"deny\", found a boolean"),
        // Ranges.
        ("token.requests = 0", "1:18: token.requests: expected an integer from 1 to 1000"),
        ("token.window = \"61m\"", "1:16: token.window: expected a duration from 1ms to 1h"),
        (
            "[token]\nrequests = 3\nreserve = 3",
            "3:1: token.reserve: expected less than the 3 requests that it is a part of",
        ),
        ("log.format = \"xml\"", "1:14: log.format: expected one of \"auto\", \"text\", \"json\""),
        (
            "log.level = \"loud\"",
            "1:13: log.level: expected trace, debug, info, warn, error or off, or a comma-separated list with levels of targets such as \"warn,zoho_gateway=debug\"",
        ),
        (
            "log.level = \"zoho_gateway::middleware::audit=off\"",
            "1:13: log.level: expected a level without zoho_gateway::middleware::audit: the audit does not depend on the level, only RUST_LOG can turn it off",
        ),
        ("audit.file = \"\"", "1:14: audit.file: expected the path of a file"),
        ("state.dir = \"\"", "1:13: state.dir: expected the path of a folder"),
        ("state.when_empty = \"full\"", "1:20: state.when_empty: expected one of \"fresh\", \"assume_lost\""),
        (
            "state.missing = \"lost\"",
            "1:7: state.missing: is now state.when_empty: write \"fresh\" instead of \"unused\", and \"assume_lost\" instead of \"lost\"",
        ),
        (
            "queue.max_waiting_bytes = \"1B\"",
            "1:27: queue.max_waiting_bytes: expected a size from 1024B to 17179869184B",
        ),
        (
            "queue.max_waiting_per_caller = 1000001",
            "1:32: queue.max_waiting_per_caller: expected an integer from 0 to 1000000",
        ),
        ("queue.max_wait = \"2h\"", "1:18: queue.max_wait: expected a duration from 0s to 1h"),
        ("queue.max_waiting = -1", "1:21: queue.max_waiting: expected an integer from 0 to 1000000"),
        ("upstream.timeout = \"0s\"", "1:20: upstream.timeout: expected a duration from 1ms to 1h"),
        ("proxy.max_body = \"0B\"", "1:18: proxy.max_body: expected a size from 1B to 1073741824B"),
        ("proxy.max_body = \"1MB\"", "1:18: proxy.max_body: expected a size such as \"512B\", \"64KiB\" or \"1MiB\""),
        ("proxy.max_header_bytes = \"1B\"", "1:26: proxy.max_header_bytes: expected a size from 1024B to 262144B"),
        ("proxy.max_headers = 7", "1:21: proxy.max_headers: expected an integer from 8 to 1000"),
        ("proxy.header_timeout = \"0s\"", "1:24: proxy.header_timeout: expected a duration from 1ms to 1h"),
        ("proxy.max_connections = 0", "1:25: proxy.max_connections: expected an integer from 1 to 1000000"),
        (
            "proxy.hosts = [\"http://gateway\"]",
            "1:16: proxy.hosts: expected a host's name alone, without scheme, port and path",
        ),
        ("routing.unknown = \"allow\"", "1:19: routing.unknown: expected one of \"limit\", \"deny\""),
        // Addresses.
        (
            "proxy.listen = []",
            "1:16: proxy.listen: expected at least one entry: an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\"",
        ),
        (
            "proxy.listen = [\"localhost:1\",\n 7]",
            "2:2: proxy.listen: expected an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\", found an integer",
        ),
        (
            "proxy.listen = \"0.0.0.0:8080\"",
            "1:16: proxy.listen: expected a loopback address (127.0.0.0/8, ::1, localhost) or a Unix socket: callers are anonymous, and anonymous callers are allowed only there; to listen on a network, configure who may call: [callers.NAME]",
        ),
        ("proxy.listen = [\"[::1]:1\", \"[::1]:1\"]", "1:28: proxy.listen: is listed twice"),
        (
            "proxy.listen = [\"127.0.0.1:1\", \"localhost:1\"]",
            "1:32: proxy.listen: has the port and an address of another entry: expected a port of its own",
        ),
        (
            "proxy.listen = \"127.0.0.1:9090\"",
            "admin.listen: expected a port of its own: proxy.listen has this port on the same address, or on one that includes the other",
        ),
        (
            "admin.listen = \"127.0.0.1:8080\"",
            "1:16: admin.listen: expected a port of its own: proxy.listen has this port on the same address, or on one that includes the other",
        ),
        (
            "admin.listen = \"0.0.0.0:8080\"",
            "1:16: admin.listen: expected a port of its own: proxy.listen has this port on the same address, or on one that includes the other",
        ),
        (
            "admin.listen = \"localhost:8080\"",
            "1:16: admin.listen: expected a port of its own: proxy.listen has this port on the same address, or on one that includes the other",
        ),
        (
            "proxy.listen = \"localhost:9090\"",
            "admin.listen: expected a port of its own: proxy.listen has this port on the same address, or on one that includes the other",
        ),
        ("admin.listen = \"unix:/x\"", "1:16: admin.listen: expected a TCP address such as \"127.0.0.1:9090\""),
        // Unix sockets.
        ("proxy.unix.mode = \"0660\"", "1:7: proxy.unix: is for Unix sockets, and proxy.listen has none"),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix = { mode = \"660\", owner = \"nobody-of-this-name\" }",
            "3:32: proxy.unix.owner: names no user of this system; expected one that `getent passwd` lists, or a number",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix = { mode = \"660\", group = \"nobody-of-this-name\" }",
            "3:32: proxy.unix.group: names no group of this system; expected one that `getent group` lists, or a number",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix.owner = \"4294967295\"",
            "3:14: proxy.unix.owner: expected at most 4294967294",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix.mode = \"rw-rw----\"",
            "3:13: proxy.unix.mode: expected three octal digits, with or without a zero before them, such as \"0660\"",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix.mode = \"4755\"",
            "3:13: proxy.unix.mode: expected three octal digits, with or without a zero before them, such as \"0660\"",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix.mode = 432",
            "3:13: proxy.unix.mode: expected a mode such as \"0660\", found an integer",
        ),
        (
            "[proxy]\nlisten = \"unix:/x\"\nunix.mod = \"0660\"",
            "3:6: proxy.unix.mod: unknown key; did you mean mode? (known here: group, mode, owner)",
        ),
        // Files.
        (
            "upstream.ca_file = \"/nowhere/ca.pem\"",
            "1:20: upstream.ca_file: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "upstream.ca_file = \"/dev/null\"",
            "1:20: upstream.ca_file: the file /dev/null holds no certificates (BEGIN CERTIFICATE)",
        ),
        (
            "upstream.ca_file = \"/dev/zero\"",
            "1:20: upstream.ca_file: the file /dev/zero is too long: more than 1048576 bytes",
        ),
        ("upstream.ca_file = \"/\"", "1:20: upstream.ca_file: the file / cannot be read: is a directory"),
        // Routes.
        (
            "routes.\"people.lms.share-curse\".lock = \"1s\"",
            "1:8: routes.\"people.lms.share-curse\": unknown route; did you mean people.lms.share-course? (`zoho-gateway routes` lists them all)",
        ),
        ("[routes.x]", "1:9: routes.x: unknown route (`zoho-gateway routes` lists them all)"),
        (
            "[routes.people.lms.share-course]",
            "1:9: routes.people: unknown route; an id holds dots and needs quotes: [routes.\"people.lms.share-course\"]",
        ),
        (
            "[routes]\n\"people.lms.share-course\" = 3",
            "2:29: routes.\"people.lms.share-course\": expected a table, found an integer",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nrequests = 0",
            "2:12: routes.\"people.lms.share-course\".requests: expected an integer from 1 to 1000000",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nwindow = \"25h\"",
            "2:10: routes.\"people.lms.share-course\".window: expected a duration from 1ms to 24h",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlock = \"169h\"",
            "2:8: routes.\"people.lms.share-course\".lock: expected a duration from 0s to 168h",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nthrottle = \"on\"",
            "2:12: routes.\"people.lms.share-course\".throttle: expected \"off\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlock = \"1s\"\nlimits = [{ requests = 1, window = \"1m\" }]",
            "3:1: routes.\"people.lms.share-course\".limits: contradicts lock: expected one or the other",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlimits = []",
            "2:1: routes.\"people.lms.share-course\".limits: expected at least one limit",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlimits = [{ requests = 1, window = \"60s\" }, { requests = 2, window = \"1m\" }]",
            "2:1: routes.\"people.lms.share-course\".limits: expected limits of different windows",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlimits = [{ requests = 1, window = \"1m\", lock = \"1m\" }, { requests = 2, window = \"1h\", lock = \"5m\" }]",
            "2:1: routes.\"people.lms.share-course\".limits: expected one lock: Zoho locks the call, whichever limit it exceeded",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlimits = [{ requests = 1 }]",
            "2:11: routes.\"people.lms.share-course\".limits.window: is missing; expected the span of the limit",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nparameters = [\n  { name = \"a\", kind = \"digit\" },\n]",
            "3:3: routes.\"people.lms.share-course\".parameters: unknown variant `digit`, expected one of `text`, `integer`, `digits`, `one-of`, `e-mail`, `date`, `boolean`, `json`, `list`, `file`, `array`, `object`, `any`",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nparameters = [{ name = \"a\", only-with = [\"b\"], kind = \"digits\" }]",
            "2:1: routes.\"people.lms.share-course\".parameters: a: expected `only-with` to name siblings, found b",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nparameters = \"none\"",
            "2:14: routes.\"people.lms.share-course\".parameters: expected a list of tables such as { name = \"erecno\", kind = \"digits\" }, found a string",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlimits = 3",
            "2:10: routes.\"people.lms.share-course\".limits: expected a list of tables, [[limits]], in the file, found an integer",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlock = \"1s\"\nthrottle = \"off\"\npace = \"burst\"",
            "3:1: routes.\"people.lms.share-course\".throttle: \"off\" contradicts lock, pace: expected one or the other",
        ),
        (
            "[routes.\"people.lms.share-course\"]\ncache = \"1s\"",
            "2:1: routes.\"people.lms.share-course\".cache: only the answers of a GET route can be served again; expected \"0s\"",
        ),
        (
            "[routes.\"people.lms.get-shared-users\"]\nstale_if_error = \"1s\"",
            "2:1: routes.\"people.lms.get-shared-users\".stale_if_error: nothing is cached without cache; expected \"0s\", or also cache",
        ),
        (
            "[routes.\"people.lms.get-shared-users\"]\ncache = \"1s\"\nstale_if_error = \"25h\"",
            "3:18: routes.\"people.lms.get-shared-users\".stale_if_error: expected a duration from 0s to 24h",
        ),
        ("[cache]\nmax_bytes = \"1KiB\"", "2:13: cache.max_bytes: expected a size from 1048576B to 17179869184B"),
        (
            "[routes.\"people.cases.add-case\"]\ncache = \"1s\"",
            "2:1: routes.\"people.cases.add-case\".cache: the call may change something at Zoho, which a cached answer would not; expected \"0s\", or also reads = true",
        ),
        (
            "[routes.\"people.other.any-call\"]\nreads = true",
            "2:1: routes.\"people.other.any-call\".reads: what the catalogue does not know may change something at Zoho",
        ),
        (
            "[routes.\"people.cases.add-case\"]\nreads = 1",
            "2:9: routes.\"people.cases.add-case\".reads: expected true or false, found an integer",
        ),
        (
            "[routes.\"people.other.any-call\"]\ncache = \"1s\"",
            "2:1: routes.\"people.other.any-call\".cache: only the answers of a GET route can be served again; expected \"0s\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nvalidate = \"loose\"",
            "2:12: routes.\"people.lms.share-course\".validate: expected one of \"documented\", \"strict\", \"report\", \"off\"",
        ),
        (
            "[routes.\"people.other.any-call\"]\nvalidate = \"strict\"",
            "2:1: routes.\"people.other.any-call\".validate: the catalogue does not list this call's parameters, so strict \
             would refuse every one; expected \"documented\", \"report\" or \"off\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nmethods = [\"put\"]",
            "2:12: routes.\"people.lms.share-course\".methods: expected a method in capitals such as \"GET\", or \"any\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\npath = \"/api/<id>\"",
            "2:8: routes.\"people.lms.share-course\".path: expected a path such as /api/v1/courses/{courseId}/share",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nscopes = [\"training\"]",
            "2:11: routes.\"people.lms.share-course\".scopes: expected a scope such as \"ZOHOPEOPLE.training.ALL\", or \"none\"",
        ),
        (
            "[routes.\"people.other.any-call\"]\npath = \"/api\"",
            "2:1: routes.\"people.other.any-call\".path: the default route, which all other calls belong to, has neither methods nor paths",
        ),
        // Extra routes.
        (
            "extra_routes = 3",
            "1:16: extra_routes: expected a list of tables, [[extra_routes]], in the file, found an integer",
        ),
        ("extra_routes = [3]", "1:17: extra_routes: expected a table, found an integer"),
        (
            "[routes.\"people.lms.share-course\"]\nmerge = { parameter = \"erecnos\", max = 50 }",
            "2:11: routes.\"people.lms.share-course\".merge.parameter: expected a list of record numbers: erecnosList",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nmerge = { parameter = \"erecnosList\", max = 1001 }",
            "2:44: routes.\"people.lms.share-course\".merge.max: expected an integer from 2 to 1000",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nmerge = { max = 50 }",
            "2:1: routes.\"people.lms.share-course\".merge.parameter: is missing; expected the name of the parameter with the list",
        ),
        (
            "[routes.\"people.lms.remove-shared-user\"]\nmerge = { parameter = \"sharedUserErecno\", max = 50 }",
            "2:11: routes.\"people.lms.remove-shared-user\".merge.parameter: the call's page has no list of record numbers, so its calls cannot merge",
        ),
        (
            "[[extra_routes]]\npath = \"/api/x\"\nrequests = 1",
            "1:1: extra_routes.id: is missing; expected an id such as \"people.forms.merge-records\"",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\nrequests = 1",
            "1:1: extra_routes.path: is missing; expected a path such as \"/api/v1/courses/{courseId}/share\"",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\npath = \"/api/x\"",
            "1:1: extra_routes.requests: is missing; expected the calls that its page allows in a window, or throttle = \"off\"",
        ),
        (
            "[[extra_routes]]\nid = \"crm.x.a-b\"\npath = \"/api/x\"\nrequests = 1",
            "2:6: extra_routes.id: expected an id that begins with people. or calendar.",
        ),
        (
            "[[extra_routes]]\nid = \"people.x\"\npath = \"/api/x\"\nrequests = 1",
            "2:6: extra_routes.id: expected an id of the shape product.section.verb-noun",
        ),
        (
            "[[extra_routes]]\nid = \"people.lms.share-course\"\npath = \"/api/x\"\nrequests = 1",
            "1:1: extra_routes: there is a call people.lms.share-course already",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\npath = \"/api/x\"\nrequests = 1\nrequest = 2",
            "5:1: extra_routes.request: unknown key; did you mean requests? (known here: aliases, cache, id, limits, lock, merge, methods, note, pace, parameters, path, reads, requests, scopes, source, stale, stale_if_error, throttle, validate, window)",
        ),
    ]);
}

/// Checks the report for texts with one mistake each.
pub(super) fn check_reports(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let errors = bad(&with_account(&format!("{text}\n")), &[]);
        let separator = if expected.starts_with(|c: char| c.is_ascii_digit()) { ":" } else { ": " };
        assert_eq!(lines(&errors), [format!("gateway.toml{separator}{expected}")], "{text}");
    }
}

#[test]
fn every_mistake_in_an_account_is_told_with_its_place() {
    let form = "a string, { env = \"NAME\" } or { file = \"PATH\" }";
    for (from, to, expected) in [
        (ACCOUNT, "", ": accounts: expected at least one account: [accounts.NAME] with client_id, client_secret and refresh_token".to_owned()),
        (ACCOUNT, "[accounts]", ": accounts: expected at least one account: [accounts.NAME] with client_id, client_secret and refresh_token".to_owned()),
        ("[accounts.main]", "[accounts.\"ma in\"]", ":2:11: accounts.\"ma in\": expected an account's name of 1 to 64 letters, digits, _ and -".to_owned()),
        ("client_id = \"1000.ABC\"", "", format!(":2:11: accounts.main.client_id: is missing; expected {form}")),
        ("\"1000.ABC\"", "7", format!(":3:13: accounts.main.client_id: expected {form}, found an integer")),
        ("\"1000.ABC\"", "\"\"", ":3:13: accounts.main.client_id: is empty".to_owned()),
        ("\"c11e27\"", "\"c11e27\\n\"", ":4:17: accounts.main.client_secret: holds white space or other characters that no credential has; a stray newline is the usual mistake".to_owned()),
        ("\"c11e27\"", "{ env = \"UNSET\" }", ":4:25: accounts.main.client_secret.env: the environment variable UNSET is not set".to_owned()),
        ("\"c11e27\"", "{ env = 7 }", ":4:25: accounts.main.client_secret.env: expected the name of an environment variable, found an integer".to_owned()),
        ("\"c11e27\"", "{ env = \"EMPTY\" }", ":4:25: accounts.main.client_secret.env: the environment variable EMPTY is empty".to_owned()),
        ("\"c11e27\"", "{ file = \"/nowhere/secret\" }", ":4:26: accounts.main.client_secret.file: the file /nowhere/secret cannot be read: No such file or directory (os error 2)".to_owned()),
        ("\"c11e27\"", "{ file = \"secret\" }", ":4:26: accounts.main.client_secret.file: the file ./secret cannot be read: No such file or directory (os error 2)".to_owned()),
        ("\"c11e27\"", "{ file = \"/dev/zero\" }", ":4:26: accounts.main.client_secret.file: the file /dev/zero is too long: more than 65536 bytes".to_owned()),
        ("\"c11e27\"", "{ file = \"/dev/null\" }", ":4:26: accounts.main.client_secret.file: the file /dev/null is empty".to_owned()),
        ("\"c11e27\"", "{}", format!(":4:1: accounts.main.client_secret: expected {form}")),
        ("\"c11e27\"", "{ env = \"ONE\", file = \"/dev/null\" }", format!(":4:1: accounts.main.client_secret: expected {form}")),
        ("client_id", "data_center = \"com\"\nclient_id", ":3:15: accounts.main.data_center: expected one of \"us\", \"eu\", \"in\", \"au\", \"jp\", \"ca\", \"sa\", \"cn\", \"uk\", \"ae\", \"sg\"".to_owned()),
        ("client_id", "endpoints.people = \"people.zoho.com\"\nclient_id", ":3:20: accounts.main.endpoints.people: expected a URL such as https://people.zoho.com".to_owned()),
        ("client_id", "endpoints.crm = \"x\"\nclient_id", ":3:11: accounts.main.endpoints.crm: unknown key (known here: accounts, calendar, people)".to_owned()),
        ("client_id", "daily_cals = 1\nclient_id", ":3:1: accounts.main.daily_cals: unknown key; did you mean daily_calls? (known here: client_id, client_secret, daily_calls, data_center, endpoints, refresh_token, share)".to_owned()),
        ("client_id", "share = 0.5\nclient_id", ":3:9: accounts.main.share: expected a share such as \"1/3\", found a number with a fraction".to_owned()),
        ("client_id", "share = \"4/3\"\nclient_id", ":3:9: accounts.main.share: expected a share such as \"1/3\": N/M with 1 <= N <= M <= 1000".to_owned()),
        ("client_id", "daily_calls = 0\nclient_id", ":3:15: accounts.main.daily_calls: expected an integer from 1 to 1000000".to_owned()),
        ("client_id", "daily_calls = 1000001\nclient_id", ":3:15: accounts.main.daily_calls: expected an integer from 1 to 1000000".to_owned()),
    ] {
        let errors = bad(&ACCOUNT.replacen(from, to, 1), &[("EMPTY", ""), ("ONE", "one")]);
        let first = lines(&errors).remove(0);
        assert_eq!(first, format!("gateway.toml{expected}"), "{to}");
    }
}

/// Their counts add up at Zoho, so that the threshold was exceeded.
#[test]
fn two_accounts_with_one_login_are_a_mistake_that_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{CANARY}\n")).unwrap();
    let file = format!("{{ file = \"{}\" }}", file.display());
    let sources = [format!("\"{CANARY}\""), file, "{ env = \"TOKEN\" }".to_owned()];
    let account = |name: &str, client: &str, token: &str| {
        format!("[accounts.{name}]\nclient_id = \"{client}\"\nclient_secret = \"s\"\nrefresh_token = {token}\n")
    };
    let variables = [("TOKEN", CANARY)];
    for one in &sources {
        for other in &sources {
            for client in ["1000.A", "1000.B"] {
                let text = format!("{}{ACCOUNT}{}", account("first", "1000.A", one), account("second", client, other));
                let message = lines(&bad(&text, &variables)).join("\n");
                assert!(
                    message.starts_with(
                        "gateway.toml:13:1: accounts.second.refresh_token: is the refresh token of accounts.first too"
                    ),
                    "{message}"
                );
                assert!(
                    message.contains("accounts.second") && !message.contains(CANARY) && !message.contains("main"),
                    "{message}"
                );
            }
        }
    }
    let three: String = ["a", "b", "c"].map(|name| account(name, "1000.A", "\"1000.x\"")).concat();
    assert_eq!(bad(&three, &[]).problems().len(), 2);
    let elsewhere = account("eu", "1000.A", "\"1000.x\"") + "data_center = \"eu\"\n";
    bad(&format!("{}{elsewhere}", account("us", "1000.A", "\"1000.x\"")), &[]);
    // By the environment alone, too.
    let overlaid = [("ZOHO_GATEWAY__ACCOUNTS__OTHER__REFRESH_TOKEN", "1000.8ef2")];
    let message = lines(&bad(&with_account(&account("other", "1000.A", "\"1000.y\"")), &overlaid)).join("\n");
    assert!(message.contains("accounts.main") && message.contains("accounts.other"), "{message}");
    // One client has many logins, and one user may have several.
    good(&format!("{ACCOUNT}{}", account("other", "1000.ABC", "\"1000.y\"")), &[]);
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let text = "[queue]\nmax_wait = 3\nmax_wating = 1\n[accounts.main]\nclient_id = \"\"\nclient_secret = \"c11e27\"\n[proxy]\ndrain = \"x\"\n";
    let errors = bad(text, &[("ZOHO_GATEWAY__ADMIN__LISTEN", "x")]);
    let places: Vec<String> =
        errors.problems().iter().map(|problem| format!("{} {}", problem.origin, problem.key)).collect();
    assert_eq!(
        places,
        [
            "gateway.toml:2:12 queue.max_wait",
            "gateway.toml:3:1 queue.max_wating",
            "gateway.toml:4:11 accounts.main.refresh_token",
            "gateway.toml:5:13 accounts.main.client_id",
            "gateway.toml:8:9 proxy.drain",
            "environment ZOHO_GATEWAY__ADMIN__LISTEN admin.listen",
        ]
    );
    assert!(errors.to_string().ends_with("\n6 problems in the configuration"));
    assert!(bad("", &[]).to_string().ends_with("\n1 problem in the configuration"));
}

#[test]
fn text_that_is_no_toml_is_told_with_what_can_be_trusted() {
    let text = "[queue]\nmax_wait = 3\nmax_waiting = = 2\n[proxy\nlisten = 7\n";
    let errors = bad(text, &[]);
    let places: Vec<String> = errors.problems().iter().map(|problem| problem.origin.to_string()).collect();
    // No word on the missing account, nor on what follows the first line that could not be read.
    assert_eq!(places, ["gateway.toml:2:12", "gateway.toml:3:15", "gateway.toml:4:7"]);
    let duplicate = bad("[queue]\nmax_wait = \"3s\"\nmax_wait = \"4s\"\n", &[]);
    assert_eq!(lines(&duplicate), ["gateway.toml:3:1: duplicate key"]);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let errors = load(&path, []).unwrap_err();
    let expected = format!("{}: cannot be read: No such file or directory (os error 2)", path.display());
    assert_eq!(lines(&errors), [expected]);
    fs::write(&path, b"\xff").unwrap();
    assert_eq!(lines(&load(&path, []).unwrap_err()), [format!("{}: is not UTF-8 text", path.display())]);
    let errors = load(Path::new("/dev/zero"), []).unwrap_err();
    assert_eq!(lines(&errors), ["/dev/zero: is too long: more than 16777216 bytes"]);
}

// === Secrets ===

#[test]
fn no_error_repeats_a_secret() {
    let places = [
        "client_secret = 1000.CANARY",
        "client_secret = CANARY",
        "client_secret = \"CANARY",
        "client_secret = \"CANARY \"",
        "client_secret = \"CANARY\\q\"",
        "client_secret = [\"CANARY\"]",
        "client_secret = { env = \"CANARY\" }",
        "client_secret = { file = \"CANARY\" }",
        "client_secret = { value = \"CANARY\" }",
        "client_secret = \"CANARY\"\nclient_secret = \"CANARY\"",
        "client_sceret = \"CANARY\"",
        "data_center = \"CANARY\"",
        "endpoints = \"CANARY\"",
        "endpoints.people = \"https://me:CANARY@people.zoho.com\"",
        "endpoints.people = \"https://CANARY/path\"",
        "client_id = \"CANARY CANARY\"",
        "[accounts]\nmain = \"CANARY\"",
        "[proxy]\nlisten = \"CANARY\"\nmax_body = \"CANARY\"\ndrain = \"CANARY\"",
        "[queue]\nmax_waiting = \"CANARY\"",
        "[upstream]\nca_file = \"CANARY\"",
        "[routing]\nunknown = \"CANARY\"",
        "[callers.a]\nkey_sha256 = \"CANARY\"\nsan = \"CANARY CANARY\"",
        "[callers.a]\nkey_sha256 = { file = \"CANARY\" }\njwt = { issuer = \"CANARY\" }",
        "[issuers.a]\njwks_url = \"CANARY\"\njwks_file = \"CANARY\"\nalgorithms = \"CANARY\"",
        "[routes.\"people.lms.share-course\"]\npace = \"CANARY\"\nthrottle = \"CANARY\"\nvalidate = \"CANARY\"",
    ];
    for place in places {
        let text = format!("[accounts.main]\n{}\n", place.replace("CANARY", CANARY));
        let errors = bad(&text, &[]);
        assert!(!format!("{errors} {errors:?}").contains(CANARY), "{place}: {errors}");
    }
    for name in ["CLIENT_SECRET__ENV", "CLIENT_SECRET__FILE", "CLIENT_SCERET", "DATA_CENTER", "ENDPOINTS__PEOPLE"] {
        let name = format!("ZOHO_GATEWAY__ACCOUNTS__MAIN__{name}");
        let errors = bad(ACCOUNT, &[(&name, CANARY)]);
        assert!(!format!("{errors} {errors:?}").contains(CANARY), "{name}: {errors}");
    }
}

#[test]
fn a_configuration_can_be_printed() {
    let config = good(&ACCOUNT.replace("c11e27", CANARY).replace("1000.8ef2", CANARY), &[]);
    assert!(!format!("{config:?}").contains(CANARY));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\[[a-z.\"]{0,9}\\]{0,2}\n|[a-z_\"'.]{0,9} ?=? ?[\\PC\n]{0,9}\n){0,9}") {
        let _ = parse("gateway.toml", &text, []);
    }

    #[test]
    fn any_variable_is_read_without_panic(name in "[A-Z_]{0,12}(__[A-Z]{0,9}){0,3}", value in "\\PC{0,20}") {
        let name = format!("ZOHO_GATEWAY__{name}");
        let _ = parse("gateway.toml", ACCOUNT, variables(&[(&name, &value)]));
    }
}
