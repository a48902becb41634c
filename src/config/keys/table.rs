//! Every key once: its name, its kind with the range, its default or an example, and what it does.
//!
//! Doc comments are for users. The other comments give the reason for a range or a default.

use std::{sync::LazyLock, time};

use super::{
    super::{
        ScopeCheck, UnknownRoute, WhenEmpty,
        scalar::{Off, Word as _},
    },
    Key, Keys,
    Kind::{
        Boolean, Duration, Endpoints, File, Hashes, Integer, List, ListOrNone, Listed, Named, Rules, Secret, Size,
        Table, Text, Word,
    },
    Shown,
};
use crate::{
    listener::ClientAuth,
    redis::Failover,
    telemetry::LogFormat,
    zoho::{
        catalogue::{Merge, Pace, Validation},
        data_center::DataCenter,
        product::Product,
    },
};

/// `name: kind, Default value` with `, missing "..."` where the key has to be there.
macro_rules! keys {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:expr, $shown:ident $value:tt $(, missing $missing:literal)?;)*) => {
        &[$(Key {
            name: stringify!($name),
            kind: $kind,
            value: Shown::$shown(stringify!($value)),
            missing: concat!($($missing)?),
            doc: &[$($doc),*],
        }),*]
    };
}

/// Keys of earlier versions, and what to write now.
pub(in crate::config) const RENAMED: [(&str, &str); 1] = [(
    "state.missing",
    "is now state.when_empty: write \"fresh\" instead of \"unused\", and \"assume_lost\" instead of \"lost\"",
)];

const A_TABLE: &str = "a table";
const A_PATH: &str = "a path such as \"/api/v1/courses/{courseId}/share\"";
const A_URL: &str = "a URL such as \"https://people.zoho.com\"";
const A_SHARE: &str = "a share such as \"1/3\"";
const TRUST_ROOTS: &str = "a path";

const ZERO: time::Duration = time::Duration::ZERO;
const MILLISECOND: time::Duration = time::Duration::from_millis(1);
const SECOND: time::Duration = time::Duration::from_secs(1);
const MINUTE: time::Duration = time::Duration::from_secs(60);
const HOUR: time::Duration = time::Duration::from_secs(3600);
const DAY: time::Duration = time::Duration::from_secs(24 * 3600);
const WEEK: time::Duration = time::Duration::from_secs(7 * 24 * 3600);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Far beyond all numbers of Zoho's and of any machine.
const MILLION: u32 = 1_000_000;

/// The root of the file.
pub(in crate::config) const ROOT: Keys = &[keys! {
    proxy: Table(A_TABLE, &[PROXY]), Default [proxy];
    admin: Table(A_TABLE, &[ADMIN]), Default [admin];
    state: Table(A_TABLE, &[STATE]), Default [state];
    token: Table(A_TABLE, &[TOKEN]), Default [token];
    queue: Table(A_TABLE, &[QUEUE]), Default [queue];
    jobs: Table(A_TABLE, &[JOBS]), Default [jobs];
    upstream: Table(A_TABLE, &[UPSTREAM]), Default [upstream];
    cache: Table(A_TABLE, &[CACHE]), Default [cache];
    log: Table(A_TABLE, &[LOG]), Default [log];
    audit: Table(A_TABLE, &[AUDIT]), Default [audit];
    routing: Table(A_TABLE, &[ROUTING]), Default [routing];
    /// One Zoho login; there may be several, each under a name of 1 to 64 letters, digits, "_" and "-".
    accounts: Named(&[ACCOUNT]), Required [accounts.main];
    /// Who may call, each under a name of 1 to 64 letters, digits, "_" and "-". Without [callers] all are one anonymous
    /// caller. A caller identifies itself by a key, a certificate, a token, or several of them.
    callers: Named(&[CALLER]), Example [callers.payroll];
    /// Who issues the tokens (JWT, RFC 7519) that callers may send. Without [issuers] every bearer is an API key.
    issuers: Named(&[ISSUER]), Example [issuers.cluster];
    /// Overrides of catalogue entries: any field of any route. `zoho-gateway routes` lists the ids.
    /// An id contains dots and needs quotes.
    routes: Named(&[ROUTE]), Example [routes."people.lms.share-course"];
    /// Calls that the catalogue does not know: one table for each. Not by environment variables.
    /// The keys of [routes] are allowed too. Without methods a route takes every method; without window and lock it has
    /// one minute and five minutes, as nearly all of Zoho's pages say.
    extra_routes: Listed(&[EXTRA_ROUTE, ROUTE]), Example [[extra_routes]];
}];

const PROXY: &[Key] = keys! {
    /// Where callers connect: one address or a list of them, TCP or Unix sockets ("unix:/run/zoho-gateway/proxy.sock").
    /// Anonymous callers are allowed on loopback addresses and Unix sockets only. With [callers] any address is allowed;
    /// set tls there.
    // Loopback, where callers may be anonymous; a port that needs no privilege.
    listen: List("an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\""), Default ["127.0.0.1:8080"];
    /// TLS (1.2 and 1.3) on all TCP addresses; Unix sockets stay in the clear. The files are read again when they change.
    tls: Table("a table: { cert = \"PATH\", key = \"PATH\" }", &[TLS]), Example { cert = "tls.crt", key = "tls.key", client_ca = "callers-ca.crt", client_auth = "required" };
    /// Who may connect to the Unix sockets: connecting needs write permission.
    unix: Table(A_TABLE, &[UNIX]), Example { mode = "0600", owner = "zoho-gateway", group = "payroll" };
    /// The longest body of a request. A file in People and an attachment in Calendar have up to 10 MB. Bodies stream: of
    /// each, at most 64 KiB wait with their call, so memory does not grow with this number.
    // 10 MB, and the form around them.
    max_body: Size(1..=GIB), Default "16MiB";
    /// The longest form (application/x-www-form-urlencoded). A form is read whole before its call waits, because its
    /// parameters are checked, so memory grows with this number. A body without a Content-Type up to this length counts
    /// as a form.
    // Far more than any documented form, and little enough to hold in memory for each of many callers.
    max_form: Size(1..=GIB), Default "1MiB";
    /// How long calls in flight may take to end on SIGTERM; keep it below what the supervisor grants before SIGKILL.
    // What Kubernetes grants by default.
    drain: Duration(ZERO..=HOUR), Default "30s";
    /// The longest head of a request, request line and fields together. Trailer fields may take as much once more.
    // Zoho's own sample calls need a kibibyte; above the range hyper's buffer ends.
    max_header_bytes: Size(KIB..=256 * KIB), Default "64KiB";
    /// How many header fields a request may have.
    // A browser sends some twenty and a mesh adds a dozen; hyper holds a hundred without another allocation.
    max_headers: Integer(8..=1000), Default 100;
    /// How long a head may take from its first byte on.
    // A head is one packet or two.
    header_timeout: Duration(MILLISECOND..=HOUR), Default "10s";
    /// How long the gateway waits for a body, all pauses together.
    // A mebibyte in half a minute is 35 KiB a second. Raise it together with max_form.
    body_timeout: Duration(MILLISECOND..=HOUR), Default "30s";
    /// How long the gateway waits for a caller to take some 128 KiB of an answer, all pauses together.
    // A caller that takes less than 4 KiB a second has forgotten the answer, or holds the connection on purpose.
    send_timeout: Duration(MILLISECOND..=HOUR), Default "30s";
    /// How long a connection may be idle. Longer than clients keep theirs, otherwise calls meet a closed one.
    idle_timeout: Duration(MILLISECOND..=HOUR), Default "120s";
    /// How many callers may be connected at a time, if the limit of open files allows it. Beyond that the connection that
    /// was idle longest is closed; if none is idle, new connections wait.
    // As many as may wait; an idle connection takes some kilobytes, after a large head some tens of them.
    max_connections: Integer(1..=MILLION), Default 10000;
    /// More names of the gateway for callers on this machine. It already has its addresses, Zoho's own hosts, names
    /// without a dot and names for private use (localhost, *.internal, *.local, *.home.arpa, *.test). Loopback addresses
    /// refuse any other Host, because a web page can give its own name the address of this machine.
    hosts: List("a host's name such as \"zoho-gateway\""), Example ["zoho-gateway"];
};

const TLS: &[Key] = keys! {
    /// A PEM file with the certificate and its issuers.
    cert: File("the path of a PEM file"), Required "tls.crt", missing "the path of a PEM file with the certificate";
    /// A PEM file with its private key, without a passphrase.
    key: File("the path of a PEM file"), Required "tls.key", missing "the path of a PEM file with the certificate's private key";
    /// A PEM file with authorities. It turns on mutual TLS.
    client_ca: File("the path of a PEM file"), Example "callers-ca.crt";
    /// Whether every caller has to show a certificate ("required") or may send an API key instead ("optional").
    // An operator who names an authority wants certificates.
    client_auth: Word(ClientAuth::names), Default "required";
};

const UNIX: &[Key] = keys! {
    /// Their mode in octal digits. "0600" lets in only the gateway's own user (and root).
    // Who else may call is the operator's decision, not that of a forgotten umask.
    mode: Text("a mode such as \"0660\""), Default "0600";
    /// Their owner, a name or a number; unless set, the gateway's user.
    owner: Text("a user's name or number"), Example "zoho-gateway";
    /// Their group, a name or a number; unless set, the gateway's group.
    group: Text("a group's name or number"), Example "payroll";
};

const ADMIN: &[Key] = keys! {
    /// Health and metrics; never on an address of the proxy.
    /// Any TCP address is allowed: open this one if Prometheus runs on another machine.
    // Loopback, because the metrics show which routes an organisation uses. The port next to Prometheus' own.
    listen: Text("an address such as \"127.0.0.1:9090\""), Default "127.0.0.1:9090";
    /// The SHA-256 of the operators' key, as `zoho-gateway key` prints it, a list of them, or { file = "PATH" } as for
    /// callers. With a key, everything but /livez, /readyz and /metrics needs it. Without a key, actions such as pausing a
    /// route are taken only on loopback, or from a client with a certificate.
    key_sha256: Hashes, Example "HEX";
    /// TLS (1.2 and 1.3), as in [proxy]. With client_auth = "optional", probes need no certificate.
    tls: Table("a table: { cert = \"PATH\", key = \"PATH\" }", &[TLS]), Example { cert = "tls.crt", key = "tls.key", client_ca = "operators-ca.crt", client_auth = "optional" };
    /// Whether POST /quitquitquit ends the gateway, as SIGTERM does: for pods whose last container ends it.
    // Everybody on this machine could end the gateway.
    quitquitquit: Boolean, Default false;
};

const STATE: &[Key] = keys! {
    /// The folder of the state store, which survives kill -9 and power loss: what was sent, and which calls are locked.
    /// One gateway uses a folder at a time. In a container, use a volume that outlives it.
    /// Unless set, the environment's STATE_DIRECTORY names it (systemd's StateDirectory=, the container image). With
    /// redis, "none" keeps the state there only.
    // Next to the configuration, where the files of a gateway that was started by hand are looked for.
    dir: Text("a path"), Default "zoho-gateway-state";
    /// What an empty folder means: "fresh" is a first start, "assume_lost" waits one window, as after damage. Choose
    /// "assume_lost" where the folder may vanish while the login is in use. It holds for an empty Redis too. Unless set,
    /// "fresh" without redis, and "assume_lost" with it.
    // An empty folder is nearly always a first start, and a newcomer should not have to wait a window. A Redis that lost
    // its data is common, and other gateways may use the login.
    when_empty: Word(WhenEmpty::names), Example "fresh";
    /// The Redis or Valkey (version 6 or later) through which several gateways share the thresholds of their logins, a
    /// secret like those of an account: redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// for TLS, or
    /// unix:/PATH[?db=DATABASE]; redis-sentinel://HOST:26379,HOST:26379,HOST:26379/MASTER[/DATABASE] for a master that
    /// Sentinels watch; redis-cluster://HOST:6379,HOST:6379 for a cluster; the same with rediss for TLS.
    redis: Secret, Example "rediss://redis.example:6379/0";
    /// The user, if the URL does not name one. Unless set, the server's default user.
    redis_user: Text("a user's name"), Example "zoho-gateway";
    /// The password, if the URL does not have one. Its file is read again for each connection.
    redis_password: Secret, Example { file = "/run/secrets/redis-password" };
    /// The password of the Sentinels, if they have one.
    redis_sentinel_password: Secret, Example { file = "/run/secrets/sentinel-password" };
    /// A PEM file with a trust root in addition to the public ones, for TLS to the servers of redis.
    redis_ca_file: File(TRUST_ROOTS), Example "redis-ca.pem";
    /// How the names of all keys and channels in Redis begin: 1 to 64 letters, digits and . _ - : are allowed. Gateways
    /// with the same namespace share one ledger. Unless set, "zoho-gateway".
    namespace: Text("1 to 64 letters, digits and . _ - :"), Example "zoho-gateway";
    /// How long a gateway may send calls after it last reached Redis. Unless set, 5s.
    // Shorter ones stop all calls whenever Redis is slow. Longer ones delay how soon all gateways know of a lock.
    lease: Duration(SECOND..=MINUTE), Example "5s";
    /// How many replicas the master has. With 1 or more, an answer counts only when a majority of all nodes has what it
    /// wrote, so that a failover loses nothing that counts. All gateways need the same number. Unless set, 0.
    // Replicas that cannot take over need not be many, and few servers have more than two.
    replicas: Integer(0..=8), Example 2;
    /// What happens when a replica takes over although replicas is 0. With "none" a server with replicas is refused.
    /// "fenced" says that you make sure of this: a replica takes over only when it has all writes and the old master is
    /// stopped. Unless set, "none".
    failover: Word(Failover::names), Example "fenced";
};

const TOKEN: &[Key] = keys! {
    /// How many access tokens the accounts server grants per refresh token in any span of the window before it blocks.
    // "10 access tokens per refresh token in ten minutes" (accounts: "access token expiry"). A simulated Zoho may grant
    // more.
    requests: Integer(1..=1000), Default 10;
    /// The window of the token requests.
    // Shorter ones are for tests.
    window: Duration(MILLISECOND..=HOUR), Default "10m";
    /// How many of these requests are kept for replacing a token that died early: one that Zoho refuses on a route that
    /// accepted a token before. Other routes that answer 401 do not use them.
    // Such a token is rare, and eight renewals are more than any hour needs.
    reserve: Integer(0..=999), Default 2;
};

const QUEUE: &[Key] = keys! {
    /// The longest wait for a slot, unless the caller says "Prefer: wait=N".
    /// A caller that would wait longer is refused at once.
    // Bridges the minute of nearly all windows, with time for the answers, so that a plain loop meets no refusal.
    max_wait: Duration(ZERO..=HOUR), Default "75s";
    /// The longest wait that a caller may ask for: a longer "Prefer: wait=N" counts as this one, and Preference-Applied says
    /// so. It is at least max_wait.
    // A caller that waits holds a connection, and few load balancers keep one for an hour.
    max_preferred_wait: Duration(ZERO..=DAY), Default "1h";
    /// How many calls may wait, over all routes; beyond it the answer is 429 at once. Any caller may use free places. When
    /// all are taken, each caller is sure of its share by weight, and gets back what others had borrowed of it.
    // Some tens of megabytes of waiting calls.
    max_waiting: Integer(0..=MILLION), Default 10000;
    /// How much memory they may take: 24 KiB each for connection and task, 32 KiB more with a body over 8 KiB, and the
    /// bodies, targets and header fields that are held. Bodies that are still being read may take a quarter more. Beyond
    /// it the answer is 429 at once, and the connection is closed, because it takes memory too.
    // Enough for max_waiting calls without large bodies. A kibibyte holds one small call.
    max_waiting_bytes: Size(KIB..=16 * GIB), Default "256MiB";
    /// How many calls of one caller may wait; all anonymous callers are one. Unless set, as many as max_waiting.
    max_waiting_per_caller: Integer(0..=MILLION), Example 10000;
};

const JOBS: &[Key] = keys! {
    /// How long a job ("Prefer: respond-async") may wait until it is sent. One that cannot be sent in that time fails.
    // A batch may wait for the next day of an account's daily limit.
    max_wait: Duration(SECOND..=WEEK), Default "24h";
    /// How long a job and its answer are kept after its end, and how long an Idempotency-Key is remembered.
    // A batch of the night is looked at in the morning, and a client repeats within hours.
    keep: Duration(SECOND..=WEEK), Default "24h";
    /// How many jobs are kept, waiting and ended ones and calls with an Idempotency-Key together; beyond it new ones get 429.
    // More than a day's calls of a route at 30 a minute, and about a kibibyte of memory each.
    max_jobs: Integer(0..=MILLION), Default 50000;
    /// How many bytes the requests and answers of all jobs may have; beyond it new ones get 429. The requests that wait are
    /// in memory too.
    // As many usual calls, with a few uploads among them.
    max_bytes: Size(KIB..=16 * GIB), Default "128MiB";
    /// The longest answer that is kept. Of a longer one only the status is kept.
    // Zoho's answers to writes have some hundred bytes, and lists of 200 records some hundred kilobytes.
    max_answer: Size(KIB..=GIB), Default "1MiB";
};

const UPSTREAM: &[Key] = keys! {
    /// How long opening a connection to Zoho may take.
    // A handshake across an ocean takes a fraction of a second.
    connect_timeout: Duration(MILLISECOND..=HOUR), Default "5s";
    /// How long Zoho may take to answer, and to pause within an answer. A call that times out still counts at Zoho.
    // Zoho's slow reports take tens of seconds.
    timeout: Duration(MILLISECOND..=HOUR), Default "60s";
    /// A PEM file with a trust root in addition to the public ones, for an egress proxy that opens TLS.
    ca_file: File(TRUST_ROOTS), Example "egress-ca.pem";
    /// The proxy for all connections, by tunnels (CONNECT): http:// or https://, or "none". Unless set, the environment's
    /// HTTPS_PROXY. It is used for calls, token requests and issuers alike.
    proxy: Text("a URL such as \"http://proxy.example:3128\", or \"none\""), Example "http://proxy.example:3128";
    /// The user that the proxy asks for, if the URL does not name one.
    proxy_user: Text("a user's name"), Example "zoho-gateway";
    /// That user's password, a secret like those of an account.
    proxy_password: Secret, Example { file = "/run/secrets/proxy-password" };
    /// Hosts that are reached without the proxy: names with all names below them, addresses, networks, each with or
    /// without a port, or "*". Unless set, the environment's NO_PROXY. Loopback is always reached directly.
    no_proxy: ListOrNone("a host such as \"example.com\", \".internal\" or \"10.0.0.0/8\""), Example ["localhost", ".internal", "10.0.0.0/8"];
};

const CACHE: &[Key] = keys! {
    /// How much memory all cached answers together may take; the least used ones are dropped.
    /// Nothing is cached unless a route's `cache` says so.
    // Some ten thousands of usual answers. The longest cached answer takes a mebibyte.
    max_bytes: Size(MIB..=16 * GIB), Default "32MiB";
};

const LOG: &[Key] = keys! {
    /// The form of the lines on standard error: "text" for people, "json" for programs, "auto" for text on a terminal and
    /// JSON elsewhere.
    format: Word(LogFormat::names), Default "auto";
    /// What is logged: trace, debug, info, warn, error or off, or a comma-separated list with levels of targets such as
    /// "warn,zoho_gateway=debug", as in the environment's RUST_LOG, which takes precedence. It can be changed while the
    /// gateway runs (PUT /log-level of the admin listener). The audit does not depend on it.
    // One line for each request.
    level: Text("a level such as \"info\", or a list with levels of targets such as \"warn,zoho_gateway=debug\""), Default "info";
};

const AUDIT: &[Key] = keys! {
    /// The file for the lines about each call that may have changed something at Zoho, instead of standard error. When it
    /// is renamed or removed, as logrotate does, it is created again, readable by its owner only.
    file: File("a path"), Example "/var/log/zoho-gateway/audit.log";
    /// A call waits until its line is in the file, so that the line survives kill -9. With true it waits until the line is
    /// on the disk, so that it survives a power failure too; that takes some milliseconds for each write.
    fsync: Boolean, Default false;
    /// What happens while the audit cannot be written. With false, writes go on, and lost lines are logged and counted.
    /// With true, no write is sent without its line, and callers get 503 audit-unavailable.
    // A full disk should not end all work unless the operator decides so.
    required: Boolean, Default false;
};

const ROUTING: &[Key] = keys! {
    /// A call that the catalogue does not know: "limit" holds it to the threshold of its product's default route
    /// (people.other.any-call, calendar.other.any-call), "deny" refuses it.
    // A new call of Zoho's should work on the day it appears.
    unknown: Word(UnknownRoute::names), Default "limit";
    /// A call whose route names scopes of which the login has none: "check" refuses it before it takes a slot, "off" lets
    /// Zoho decide.
    // A call that Zoho is sure to refuse would take a slot of its route.
    scopes: Word(ScopeCheck::names), Default "check";
    /// How strictly payloads are checked: "documented" rejects what the call's page forbids, "strict" also what it does not
    /// list (where the page is known), "off" nothing. "report" lets everything pass, and the log (would_refuse) and
    /// zoho_gateway_reported_total say what would be rejected; a dry run names the faults. [routes] may say something else
    /// for a call.
    // A payload that Zoho refuses costs a slot, and the rules are those of Zoho's pages.
    validate: Word(Validation::names), Default "documented";
};

const ACCOUNT: &[Key] = keys! {
    /// The data centre of the login. Its tokens are worth nothing in another one.
    data_center: Word(DataCenter::names), Default "us";
    /// From the API console of that data centre, api-console.zoho.com for "us".
    client_id: Secret, Required { env = "ZOHO_CLIENT_ID" };
    /// From there too. A secret is a string, { env = "NAME" } or { file = "PATH" }; a file may end in a newline.
    client_secret: Secret, Required { env = "ZOHO_CLIENT_SECRET" };
    /// `zoho-gateway login --config FILE --account main` gets one, and writes it to the file if this is { file = "PATH" }.
    refresh_token: Secret, Required { env = "ZOHO_REFRESH_TOKEN" };
    /// The plan's limit of People calls in any 24 hours: 5000 to 25000, see Zoho's page on API limits. Not watched unless
    /// set.
    daily_calls: Integer(1..=MILLION), Example 10000;
    /// The part of the login's limits that this gateway uses, if other gateways use the login too: of three gateways, each
    /// sets "1/3". It applies to every threshold, to [token] requests and reserve, and to daily_calls, rounded down. The
    /// shares of all gateways together must not exceed 1.
    share: Text(A_SHARE), Example "1/3";
    /// Other origins than those of the data centre, for a simulated Zoho or an egress proxy; each may be set alone.
    /// These are the defaults of "us". http:// is allowed too, for tests.
    endpoints: Endpoints, Example { accounts = "https://accounts.zoho.com", people = "https://people.zoho.com", calendar = "https://calendar.zoho.com" };
};

pub(super) const SECRET: &[Key] = keys! {
    /// The environment variable that holds the secret.
    env: Text("the name of an environment variable"), Example "NAME";
    /// The file that holds the secret.
    file: File("a path"), Example "PATH";
};

/// The URLs of an account.
pub(super) fn endpoints() -> Keys {
    static KEYS: LazyLock<[&[Key]; 1]> = LazyLock::new(|| {
        let names = ["accounts"].into_iter().chain(Product::ALL.map(Product::as_str));
        let key = |name| Key { name, kind: Text(A_URL), value: Shown::Example("\"URL\""), missing: "", doc: &[] };
        [names.map(key).collect::<Vec<_>>().leak()]
    });
    &*KEYS
}

const CALLER: &[Key] = keys! {
    /// The SHA-256 of its API key, as `zoho-gateway key` prints it, or a list of them while one replaces another. Or
    /// { file = "PATH" }, with one on each line and # for comments: it is read again every 5 s.
    key_sha256: Hashes, Example "HEX";
    /// The name in its client certificate, a URI or a DNS name, or a list of them.
    san: List("a name in the caller's client certificate"), Example "spiffe://example.org/ns/hr/sa/payroll";
    /// Tokens that identify it.
    jwt: Table("a table: { issuer = \"NAME\", subject = \"SUB\" }", &[JWT]), Example { issuer = "cluster", subject = "system:serviceaccount:hr:payroll" };
    /// The accounts that it may use; the first is its default. All others are denied.
    accounts: List("the name of an account"), Example ["main"];
    /// The calls that it may make, by route id; * matches any characters.
    allow: List("a route's id, such as \"people.lms.*\""), Example ["people.lms.*", "calendar.*"];
    /// Whether it may make only those of the allowed calls that change nothing at Zoho: those with "reads" in
    /// `zoho-gateway routes --json`, by GET, HEAD or OPTIONS. Calls that the catalogue does not know are not among them.
    // What a caller may do is what its `allow` says; most callers are there to change something.
    read_only: Boolean, Default false;
    /// Its share of a busy route and of the places in the queue, relative to other callers.
    weight: Integer(1..=1000), Default 1;
    /// How many slots of each route that it may use nobody else may take: others leave as many free as it has not used
    /// within the window. On a route where the reserves of its callers do not fit, they keep half of the slots. With
    /// state.redis they are slots of all gateways together, which all need the same value.
    // More than any threshold has no effect.
    reserve: Integer(0..=MILLION), Default 0;
    /// How many slots of a route it may use in any window, over all gateways with state.redis; unless set,
    /// all.
    max_share: Integer(1..=MILLION), Example 20;
    /// The longest wait of its calls, instead of queue.max_wait.
    max_wait: Duration(ZERO..=HOUR), Example "20s";
    /// How often it may call, whatever becomes of the calls. Unless set, without limit.
    limit: Table("a table: { requests = 600, window = \"60s\" }", &[CALLER_LIMIT]), Example { requests = 600, window = "1m" };
};

pub(super) const HASHES: &[Key] = keys! {
    /// The file that holds the hashes.
    file: File("a path"), Example "PATH";
};

const JWT: &[Key] = keys! {
    /// The name of one of [issuers].
    issuer: Text("the name of an issuer"), Required "cluster", missing "the NAME of an [issuers.NAME]";
    /// The subject (sub) of its tokens, exactly, or a list of them.
    subject: List("the sub of its tokens"), Required "system:serviceaccount:hr:payroll", missing "the sub of its tokens, or a list of them";
};

const CALLER_LIMIT: &[Key] = keys! {
    /// How many requests it may send in any span of the window.
    requests: Integer(1..=MILLION), Required 600, missing "how many requests there may be in each window";
    /// The window of its limit.
    // The window in which Zoho counts nearly every call.
    window: Duration(MILLISECOND..=DAY), Default "1m";
};

const ISSUER: &[Key] = keys! {
    /// The issuer (iss) of its tokens, exactly.
    issuer: Text("the iss of its tokens, exactly as they have it"), Required "https://kubernetes.default.svc.cluster.local", missing "the iss of its tokens, exactly as they have it";
    /// The audience (aud) that its tokens must have, or a list of which one suffices: a name of this gateway, so that
    /// tokens for other services are refused.
    audience: List("what the aud of its tokens has to hold: a name of this gateway"), Required "zoho-gateway", missing "what the aud of its tokens has to hold: a name of this gateway. Without one, tokens for others would be taken too";
    /// Where it publishes its keys (JWK Set, RFC 7517): https, or http on this machine. They are fetched at the start,
    /// once every refresh, and when a token names an unknown key, at most every 30 s.
    jwks_url: Text("an https URL"), Example "https://kubernetes.default.svc.cluster.local/openid/v1/jwks";
    /// How often the keys are fetched.
    // This is how long a withdrawn key is still accepted. A new key is fetched at once, when a token names it.
    refresh: Duration(SECOND..=DAY), Default "10m";
    /// A PEM file with a trust root for that address, in addition to the public ones.
    ca_file: File(TRUST_ROOTS), Example "cluster-ca.pem";
    /// Or the file with the keys, instead of jwks_url; it is read again every 5 s.
    jwks_file: File("a path"), Example "jwks.json";
    /// The signature algorithms of its tokens. Unless set, all of these; all are asymmetric.
    algorithms: List("a signature algorithm such as \"ES256\""), Example ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
};

const ROUTE: &[Key] = keys! {
    /// How many calls may arrive at Zoho in any span of the window.
    /// Raise it only when Zoho has granted more.
    requests: Integer(1..=MILLION), Example 30;
    /// The window of the threshold.
    // Zoho's windows are minutes; shorter ones are for tests.
    window: Duration(MILLISECOND..=DAY), Example "1m";
    /// How long Zoho refuses the call after one too many.
    // Zoho's locks are minutes; with zero no lock is believed.
    lock: Duration(ZERO..=WEEK), Example "5m";
    /// Several limits that hold at once, instead of requests, window and lock. Another number of limits, or another
    /// window of any but the shortest, needs a restart.
    limits: Listed(&[LIMIT]), Example [{ requests = 10, window = "1m", lock = "5m" }, { requests = 100, window = "1h" }];
    /// "fair" lets a caller that wants the route alone use the slots as it asks, and spreads them while several callers want
    /// it, so that a newcomer soon gets one. "burst" uses the slots as calls come, "smooth" spreads them over the window.
    /// Unless set, "fair".
    pace: Word(Pace::names), Example "fair";
    /// The methods of its requests, or "any". Set methods, path and scopes if Zoho changes its page before the catalogue
    /// does.
    methods: List("a method such as \"GET\", or \"any\""), Example ["PUT"];
    /// Their path, with {name} for each part that varies.
    path: Text(A_PATH), Example "/api/v1/courses/{courseId}/share";
    /// The scopes of which a login needs one, or "none".
    scopes: List("a scope such as \"ZOHOPEOPLE.training.ALL\", or \"none\""), Example ["ZOHOPEOPLE.training.ALL", "ZOHOPEOPLE.training.CREATE"];
    /// More paths, which count together with path.
    aliases: List(A_PATH), Example ["/api/v2/courses/{courseId}/share"];
    /// "documented" refuses a payload that breaks the rules of the route's page, before it takes a slot; "strict" also
    /// refuses parameters and JSON keys that the page does not know; "report" sends anything and says what "documented"
    /// would refuse; "off" sends anything.
    validate: Word(Validation::names), Example "documented";
    /// Its parameters and their rules, instead of the catalogue's. docs/rules.md explains the words.
    parameters: Rules, Example [{ name = "erecno", required = true, kind = "digits" }];
    /// Whether its GETs change nothing at Zoho. Unless set, the verb of the id decides: count, download, get, list,
    /// preview, search, view. If methods has others than GET, true applies to those too.
    reads: Boolean, Example false;
    /// The calls whose stored answers a write of this call makes stale: ids, in which * matches any characters. Unless
    /// set, those that the catalogue links with it (config/catalogue/stale.toml), and for a call that it does not know
    /// those of the whole product.
    stale: ListOrNone("route ids such as \"people.forms.*\""), Example ["people.forms.*"];
    /// How long an answer may be served again without asking Zoho; for GET routes only. "0s" is never.
    cache: Duration(ZERO..=DAY), Example "0s";
    /// How much longer the last answer is served if Zoho cannot be asked: during a lock or an outage, or without a free
    /// slot. The answer says how old it is. Only together with cache.
    stale_if_error: Duration(ZERO..=DAY), Example "0s";
    /// Lets calls that wait at the same time, and differ in one list of record numbers only, go to Zoho as one call. Each
    /// caller gets its part of the answer; docs/merge.md says what it costs if Zoho refuses.
    merge: Table("a table: { parameter = \"NAME\", max = NUMBER }", &[MERGE]), Example { parameter = "erecnosList", max = 50 };
    /// No threshold at all, for a private test upstream or a benchmark; with Zoho it leads to a lock.
    /// It contradicts requests, window, lock, limits and pace.
    throttle: Word(Off::names), Example "off";
};

const LIMIT: &[Key] = keys! {
    /// How many calls may arrive at Zoho in any span of the window.
    requests: Integer(1..=MILLION), Required 30, missing "how many calls may arrive in the window";
    /// The window.
    window: Duration(MILLISECOND..=DAY), Required "1m", missing "the span of the limit";
    /// How long Zoho refuses the call after one too many. It is the same for all limits of a call, so one of them says it.
    lock: Duration(ZERO..=WEEK), Example "5m";
};

const MERGE: &[Key] = keys! {
    /// The parameter with the list: a JSON array of record numbers.
    parameter: Text("a parameter's name"), Required "erecnosList", missing "the name of the parameter with the list";
    /// How many record numbers one call has at most; halved if Zoho says that they are too many.
    // A list of one is not merged. Zoho documents no list of more than a thousand ids.
    max: Integer(Merge::BOUNDS), Required 50, missing "how many record numbers a call may have";
};

const EXTRA_ROUTE: &[Key] = keys! {
    /// product.section.verb-noun; the first word is people or calendar.
    id: Text("an id such as \"people.forms.merge-records\""), Required "people.forms.merge-records", missing "an id such as \"people.forms.merge-records\"";
    /// The path as its page writes it, with {name} for each part that varies.
    path: Text(A_PATH), Required "/api/forms/{formLinkName}/mergeRecords", missing "a path such as \"/api/v1/courses/{courseId}/share\"";
    /// The page that describes the call.
    source: Text("the address of a page"), Example "https://www.zoho.com/people/api/";
    /// A remark for people.
    note: Text("a text"), Example "seen in a newsletter";
};
