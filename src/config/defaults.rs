//! What holds where the configuration says nothing, each with its reason.

use std::{num::NonZeroU32, time::Duration};

use super::{ListenAddress, ScopeCheck, UnknownRoute, WhenEmpty};
use crate::{listener::ClientAuth, zoho::endpoint::DataCenter};

/// Loopback, because callers cannot be told apart there and need not be; a port that needs no privilege.
pub(super) fn proxy_listen() -> ListenAddress {
    ListenAddress::Tcp { host: "127.0.0.1".to_owned(), port: 8080 }
}

/// Whoever names an authority means that its certificates be shown.
pub(super) const CLIENT_AUTH: ClientAuth = ClientAuth::Required;

/// Only the gateway's own user: who else may call is for the operator to say, and not for a forgotten umask.
pub(super) const SOCKET_MODE: u32 = 0o600;

/// Loopback too: the metrics tell which routes an organisation uses. The port next to Prometheus' own.
pub(super) fn admin_listen() -> ListenAddress {
    ListenAddress::Tcp { host: "127.0.0.1".to_owned(), port: 9090 }
}

/// A file in People and an attachment in Calendar have up to 10 MB; beside it there is room for the form around it. What
/// is no form streams, so memory does not follow.
pub(super) const MAX_BODY: u64 = 16 * 1024 * 1024;

/// Far more than any documented form takes, and little enough to hold in memory for each of many callers.
pub(super) const MAX_FORM: u64 = 1024 * 1024;

/// What Kubernetes grants between SIGTERM and SIGKILL unless told otherwise.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// A long query and a few tokens; what servers commonly take. Beyond it lies what Zoho takes itself.
pub(super) const MAX_HEADER_BYTES: u64 = 64 * 1024;

/// What hyper has room for without another allocation, and more than clients and meshes send.
pub(super) const MAX_HEADERS: u32 = 100;

/// As many as may wait; a connection that stands idle takes some kilobytes, after a large head some tens of them.
pub(super) const MAX_CONNECTIONS: u32 = 10_000;

/// A head is one packet or two; who takes longer is not on this machine, or does not mean well.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A mebibyte in half a minute is 35 KiB a second; whoever raises the one raises the other.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// For some 128 KiB of an answer: whoever takes less than 4 KiB a second has forgotten it, or only wants to hold its place.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than common clients keep a connection they do not use, so that they close it first.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Below the minute at which common HTTP clients and load balancers give up by themselves.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30);

/// Some tens of megabytes of waiting calls. At 30 calls a minute nobody at the far end of it is served in time anyway.
pub(super) const MAX_WAITING: u32 = 10_000;

/// Room for [`MAX_WAITING`] calls without much of a body, each of which takes some 24 KiB.
pub(super) const MAX_WAITING_BYTES: u64 = 256 * 1024 * 1024;

/// "10 access tokens per refresh token in ten minutes" (accounts: "access token expiry").
pub(super) const TOKEN_REQUESTS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
pub(super) const TOKEN_WINDOW: Duration = Duration::from_secs(10 * 60);

/// A token that dies before its time is rare, and two in ten minutes are rarer; eight renewals are more than any hour
/// needs.
pub(super) const TOKEN_RESERVE: u32 = 2;

/// systemd's own variable for the folders of StateDirectory=, separated by colons.
pub(super) const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Beside the configuration, so that a gateway started by hand leaves its files where they are looked for.
pub(super) const STATE_DIR: &str = "zoho-gateway-state";

/// An empty folder is nearly always a first start, and a newcomer should not have to wait a window.
pub(super) const WHEN_EMPTY: WhenEmpty = WhenEmpty::Fresh;

/// A handshake across an ocean takes a fraction of a second; what takes longer is not coming.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Zoho's slow reports take tens of seconds; a call given up on has been counted all the same.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// Some ten thousands of usual answers, on a machine where nobody thought of it.
pub(super) const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// What write(2) has taken outlives the process; a power failure is rarer, and an fsync costs milliseconds.
pub(super) const AUDIT_FSYNC: bool = false;

/// A full disk should not end all work, unless the operator says that it should.
pub(super) const AUDIT_REQUIRED: bool = false;

/// Issuers publish a new key some time before they sign with it, and one that is not known is asked for at once; this is
/// how long a key that was withdrawn is still believed.
pub(super) const JWKS_REFRESH: Duration = Duration::from_secs(10 * 60);

/// A share like everybody else's.
pub(super) const WEIGHT: NonZeroU32 = NonZeroU32::MIN;

/// The window in which Zoho counts nearly every call.
pub(super) const CALLER_WINDOW: Duration = Duration::from_secs(60);

/// A new call of Zoho's should work on the day it appears, at the pace that most calls have.
pub(super) const UNKNOWN: UnknownRoute = UnknownRoute::Limit;

/// Which calls a caller may make is what its `allow` says; most callers are there to change something.
pub(super) const READ_ONLY: bool = false;

/// A call that Zoho is sure to refuse would cost a slot of its route.
pub(super) const SCOPES: ScopeCheck = ScopeCheck::Check;

/// Where zoho.com is.
pub(super) const DATA_CENTER: DataCenter = DataCenter::Us;
