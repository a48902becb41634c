//! The `detail` of a problem: what the caller needs to know about this one refusal.

use std::time::Duration;

use crate::{
    call::attempt_log::Fate,
    ledger::Limit,
    problem::{
        BadToken, Cause, Encoding, Forbidden, Foreign, JobLimit, Reader, ScopeEvidence, Unauthenticated, UpstreamFault,
        ratelimit::whole_seconds, table::protocol,
    },
};

pub(super) fn detail(cause: &Cause) -> String {
    match cause {
        Cause::Protocol(fault) => format!("{}; the connection ends here", protocol(*fault).1),
        Cause::ForeignOrigin(field) => foreign(*field).to_owned(),
        Cause::InvalidPayload(faults) => {
            let s = if faults.len() == 1 { "" } else { "s" };
            format!("{} fault{s} found; nothing was sent to Zoho and no slot was spent", faults.len())
        }
        Cause::BodyIncomplete => "the request body ended early or is malformed".to_owned(),
        Cause::BodyOverrides => {
            "the body has no Content-Type, and read as a form it has a parameter that overrides the method or the path; \
             it was not sent completely. Set its Content-Type, such as application/octet-stream"
                .to_owned()
        }
        Cause::CallerUnauthenticated(why) => unauthenticated(why),
        Cause::IssuerUnavailable { issuer, retry_after } => format!(
            "the gateway could not fetch the keys of the token's issuer (issuers.{issuer}) yet and tries again within \
             {} s; the token may be valid",
            whole_seconds(*retry_after)
        ),
        Cause::CallerForbidden(what) => format!("{} (callers.NAME.accounts, allow and read_only)", forbidden(what)),
        Cause::CallerLimit { retry_after, .. } => {
            format!("the caller's limit (callers.NAME.limit) allows the next call in {} s", whole_seconds(*retry_after))
        }
        Cause::UnknownRoute { detail } | Cause::UnknownAccount { detail } => detail.clone(),
        Cause::BodyTooLarge { limit, form: false } => format!("the limit is {limit} bytes (proxy.max_body)"),
        Cause::BodyTooLarge { limit, form: true } => {
            format!("the limit for a form is {limit} bytes (proxy.max_form)")
        }
        Cause::BodyEncoded { encoding, reader } => encoded(encoding, *reader),
        Cause::ThresholdSaturated { retry_after, daily, position } => saturated(*retry_after, *daily, *position),
        Cause::ThresholdLocked { retry_after } => {
            format!("the lock ends in {} s; nothing is sent before", whole_seconds(*retry_after))
        }
        Cause::Paused { .. } => {
            "an operator of the gateway has paused the caller, the account or the route; the call was not executed".to_owned()
        }
        Cause::Cancelled => {
            "an operator of the gateway has cancelled the call while it waited; it was not executed".to_owned()
        }
        Cause::QueueFull { limit, .. } => full(*limit).to_owned(),
        Cause::StateUnavailable => {
            "the gateway cannot reach its state (state.dir or state.redis), and a call that is not recorded there could \
             break the threshold; the call was not sent; /readyz of the gateway says why"
                .to_owned()
        }
        Cause::AuditUnavailable => {
            "the gateway cannot write to its audit log, and audit.required forbids writes without an audit line; the \
             call was not sent"
                .to_owned()
        }
        Cause::UpstreamUnreachable(fault) => {
            let proxy = fault.proxy.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            format!("{} could not be reached{proxy}; the call was not sent", fault.server)
        }
        Cause::UpstreamInvalidResponse(fault) => invalid_response(fault),
        Cause::UpstreamTimeout(fault) => timeout(fault),
        Cause::AccountUnauthorised { reason } => format!(
            "Zoho says {reason}; a person must log in again (zoho-gateway login) or correct client_id, client_secret, \
             refresh_token or data_center"
        ),
        Cause::WrongDataCenter { configured, valid_at } => format!(
            "the credentials are unknown at {configured} and valid at {valid_at}; set data_center = \"{valid_at}\" and \
             restart"
        ),
        Cause::ScopeMissing { scopes, evidence } => scope(scopes, evidence),
        Cause::TokenThrottled { retry_after } => format!(
            "Zoho allows ten token requests in ten minutes; the next one is possible in {} s",
            whole_seconds(*retry_after)
        ),
        Cause::NotCached => "the request says only-if-cached; without it the gateway asks Zoho".to_owned(),
        Cause::UnknownJob => "the caller has no job of this id; jobs are removed some time after their end (jobs.keep)".to_owned(),
        Cause::MethodNotAllowed { allowed } => format!("this resource has {allowed}"),
        Cause::JobSent => "only a job that was not sent yet can be removed".to_owned(),
        Cause::JobNotEnded { .. } => "ask again later, or wait for it (Prefer: wait=N)".to_owned(),
        Cause::JobAnswerTooLarge { limit } => format!(
            "Zoho answered, and the answer is longer than {limit} bytes (jobs.max_answer), so only its status is kept"
        ),
        Cause::JobOutcomeUnknown => {
            "the gateway was sending the job when it ended, and has no answer; Zoho may have executed it, and it is not \
             sent again"
                .to_owned()
        }
        Cause::JobsFull { limit: JobLimit::Jobs, .. } => "the gateway keeps no more jobs (jobs.max_jobs)".to_owned(),
        Cause::JobsFull { limit: JobLimit::Bytes, .. } => {
            "the gateway keeps no more bytes of jobs (jobs.max_bytes)".to_owned()
        }
        Cause::IdempotencyConflict { .. } => {
            "the request with this Idempotency-Key has no answer yet; repeat this one later, or let it wait \
             (Prefer: wait=N)"
                .to_owned()
        }
        Cause::IdempotencyKeyReused => {
            "another method, path, query or body was sent with this Idempotency-Key; use a new key for each request"
                .to_owned()
        }
        Cause::ShuttingDown => "the gateway accepts no new calls; nothing of the call was sent to Zoho".to_owned(),
        Cause::CutOff(fate) => cut_off(*fate).to_owned(),
        Cause::Internal => "the log has more under the id of this request".to_owned(),
    }
}

fn saturated(retry_after: Duration, daily: bool, position: Option<usize>) -> String {
    let seconds = whole_seconds(retry_after);
    match (daily, position) {
        (true, _) => format!(
            "the account's limit for any 24 hours (daily_calls) is used up; the earliest could be in {seconds} s; come \
             back then"
        ),
        (false, None) => {
            format!("the earliest could be in {seconds} s; wait longer (Prefer: wait=N) or come back then")
        }
        (false, Some(before)) => format!(
            "its turn is in {seconds} s, after {before} other calls, and is kept: send the same call again then, on the \
             same connection if possible, or wait longer (Prefer: wait=N)"
        ),
    }
}

fn encoded(encoding: &Encoding, reader: Reader) -> String {
    let why = match reader {
        Reader::Rules => "the gateway checks the parameters of this call",
        Reader::Overrides => "the gateway checks forms for parameters that could turn the call into another one",
    };
    match encoding {
        Encoding::Compressed => format!("{why}, and does not decompress bodies; send it without Content-Encoding"),
        Encoding::Charset(charset) => {
            format!(
                "{why}, and in the charset {charset} the body may mean something else than in UTF-8; send it in UTF-8"
            )
        }
    }
}

fn foreign(field: Foreign) -> &'static str {
    match field {
        Foreign::Site => {
            "Sec-Fetch-Site says that a page of another site sent it; the gateway does not serve web pages"
        }
        Foreign::Origin => "Origin names a page of another origin; the gateway does not serve web pages",
        Foreign::Host => "Host is not a name of this gateway; if it should be one, add it to proxy.hosts",
    }
}

fn unauthenticated(why: &Unauthenticated) -> String {
    match why {
        Unauthenticated::NothingShown => {
            "the request has neither a key or a token (Authorization: Bearer ...) nor a client certificate, and the \
             gateway serves known callers only"
        }
        Unauthenticated::ZohoToken => {
            "the request carries a Zoho token (in Authorization or in the query), but the gateway signs calls with its \
             own; drop it, and send the key that the operator of the gateway gave you (Authorization: Bearer KEY)"
        }
        Unauthenticated::Malformed => "Authorization must occur once, as Bearer and one key or token",
        Unauthenticated::UnknownKey => "the key in Authorization belongs to no caller",
        Unauthenticated::UnknownCertificate => {
            "no name in the client certificate belongs to a caller (callers.NAME.san)"
        }
        Unauthenticated::SeveralCallers => {
            "the client certificate has the names of several callers (callers.NAME.san), so the caller is ambiguous"
        }
        Unauthenticated::BadToken(why) => return format!("the token in Authorization {}", bad_token(*why)),
    }
    .to_owned()
}

/// Reveals nothing about the token that its holder does not know.
fn bad_token(why: BadToken) -> &'static str {
    match why {
        BadToken::TooLong => "is too long",
        BadToken::Header => "has an invalid header, or an algorithm that is never accepted",
        BadToken::Critical => "has critical header fields (crit) that the gateway does not know",
        BadToken::Claims => "has invalid claims",
        BadToken::UnknownIssuer => "has an issuer that is not configured",
        BadToken::Algorithm => "is signed by an algorithm that is not accepted from its issuer",
        BadToken::Audience => "has another audience (aud)",
        BadToken::NoExpiry => "has no expiry (exp)",
        BadToken::Expired => "has expired",
        BadToken::NotYetValid => "is not valid yet",
        BadToken::UnknownKey => "is signed by a key that its issuer does not publish",
        BadToken::AmbiguousKey => "has no kid that selects one of its issuer's keys, and several are possible",
        BadToken::Signature => "has a bad signature",
        BadToken::UnknownSubject => "has a subject that belongs to no caller",
    }
}

fn forbidden(what: &Forbidden) -> String {
    match what {
        Forbidden::Account => "the caller may not use this account".to_owned(),
        Forbidden::Route { caller, route } => format!("{} may not call {route}", caller.name()),
        Forbidden::Write { caller, method, route, known } => {
            let why = match known {
                true => "may change something at Zoho",
                false => "is the default route for unknown calls, which may change something at Zoho",
            };
            format!("{} may only read, and {method} {route} {why}", caller.name())
        }
    }
}

fn cut_off(fate: Fate) -> &'static str {
    match fate {
        Fate::NotSent => "the gateway stops before this call's turn; nothing of the call was sent to Zoho",
        Fate::NotExecuted => "the gateway stops before it could repeat this call; Zoho has not executed it",
        Fate::Unknown => "the gateway stopped before Zoho answered; the call may have been executed",
    }
}

fn full(limit: Limit) -> &'static str {
    match limit {
        Limit::Calls => "the queue holds no more calls (queue.max_waiting)",
        Limit::Bytes => "the queue holds no more bytes (queue.max_waiting_bytes)",
        Limit::CallsPerCaller => "the caller has too many calls in the queue (queue.max_waiting_per_caller)",
        Limit::Lent => {
            "the queue is full, and another caller needs the queue slot that this call borrowed (callers.NAME.weight)"
        }
    }
}

fn invalid_response(UpstreamFault { server, before_the_call, .. }: &UpstreamFault) -> String {
    match before_the_call {
        true => format!("{server} sent an unusable answer to a token request; the call was not sent"),
        false => {
            format!("{server} did not send a complete HTTP answer; the call may have been executed")
        }
    }
}

fn timeout(UpstreamFault { error, server, before_the_call, proxy, .. }: &UpstreamFault) -> String {
    match *error {
        "connection_timeout" => {
            let proxy = proxy.as_ref().map(|words| format!(" {words}")).unwrap_or_default();
            format!("no connection to {server}{proxy} in time (upstream.connect_timeout); the call was not sent")
        }
        _ if *before_the_call => format!("{server} did not answer a token request in time; the call was not sent"),
        _ => format!("{server} did not answer in time (upstream.timeout); the call may have been executed"),
    }
}

fn scope(scopes: &[String], evidence: &ScopeEvidence) -> String {
    let needed = if scopes.is_empty() {
        "a scope that Zoho's documentation does not name".to_owned()
    } else {
        scopes.join(" or ")
    };
    match evidence {
        ScopeEvidence::Code(code) => {
            format!("Zoho says {code}; the route needs {needed}; log in again with it (zoho-gateway login)")
        }
        ScopeEvidence::Granted(granted) => format!(
            "the route needs {needed}; the login was granted {granted}; log in again with it (zoho-gateway login). \
             Nothing was sent to Zoho and no slot was spent"
        ),
    }
}
