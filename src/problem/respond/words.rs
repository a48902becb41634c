//! What a refusal says: a title, the same for all of its kind, and what is to be known of this one.

use super::protocol;
use crate::{
    call::attempt_log::Fate,
    ledger::Limit,
    problem::{
        BadToken, Cause, Encoding, Forbidden, Foreign, Reader, ScopeEvidence, Unauthenticated, UpstreamFault,
        ratelimit::whole_seconds,
    },
};

pub(super) fn title(cause: &Cause) -> &'static str {
    match cause {
        Cause::Protocol(_) => "The request is none that the gateway takes",
        Cause::ForeignOrigin(_) => "The request looks like a web page's",
        Cause::InvalidPayload(_) => "The payload breaks the route's documented rules",
        Cause::BodyIncomplete => "The body broke off",
        Cause::BodyOverrides => "The body could make another call of this one",
        Cause::CallerUnauthenticated(_) => "The gateway does not know this caller",
        Cause::IssuerUnavailable { .. } => "The caller's token cannot be judged now",
        Cause::CallerForbidden(_) => "The caller may not do this",
        Cause::CallerLimit { .. } => "The caller asks more often than it may",
        Cause::UnknownRoute { .. } => "The gateway serves no such call",
        Cause::UnknownAccount { .. } => "No such account is configured",
        Cause::BodyTooLarge { .. } => "The body is larger than the gateway accepts",
        Cause::BodyEncoded { .. } => "The gateway cannot read the body",
        Cause::ThresholdSaturated { daily: true, .. } => "The account's calls of this day are spent",
        Cause::ThresholdSaturated { daily: false, .. } => "No slot comes free within the caller's wait",
        Cause::ThresholdLocked { .. } => "Zoho has locked this API",
        Cause::QueueFull { .. } => "As many callers wait as may",
        Cause::StateUnavailable => "The gateway cannot write down what it sends",
        Cause::AuditUnavailable => "The gateway cannot write its audit",
        Cause::UpstreamUnreachable(_) => "No connection to Zoho",
        Cause::UpstreamInvalidResponse(_) => "Zoho's answer was unusable",
        Cause::UpstreamTimeout(_) => "Zoho did not answer in time",
        Cause::AccountUnauthorised { .. } => "Zoho no longer takes this account's credentials",
        Cause::WrongDataCenter { .. } => "The account lives in another data centre",
        Cause::ScopeMissing { .. } => "The account's login lacks a scope",
        Cause::TokenThrottled { .. } => "No access token may be requested now",
        Cause::NotCached => "The cache has no usable answer",
        Cause::ShuttingDown | Cause::CutOff(_) => "The gateway is shutting down",
        Cause::Internal => "A defect of the gateway",
    }
}

pub(super) fn detail(cause: &Cause) -> String {
    match cause {
        Cause::Protocol(fault) => format!("{}; the connection ends here", protocol(*fault).1),
        Cause::ForeignOrigin(field) => foreign(*field).to_owned(),
        Cause::InvalidPayload(faults) => {
            let s = if faults.len() == 1 { "" } else { "s" };
            format!("{} fault{s} found; nothing was sent to Zoho and no slot was spent", faults.len())
        }
        Cause::BodyIncomplete => "the request's body ended before its end, or is malformed".to_owned(),
        Cause::BodyOverrides => {
            "the body names no type, and as a form it has a parameter that stands for another method \
                                 or path; it was not sent whole. Name its type, such as application/octet-stream"
                .to_owned()
        }
        Cause::CallerUnauthenticated(why) => unauthenticated(why),
        Cause::IssuerUnavailable { issuer, retry_after } => format!(
            "the keys of its issuer (issuers.{issuer}) could not be had yet, and are asked for again within {} s; \
             the token may be good",
            whole_seconds(*retry_after)
        ),
        Cause::CallerForbidden(what) => format!("{} (callers.NAME.accounts, allow and read_only)", forbidden(what)),
        Cause::CallerLimit { retry_after } => {
            format!("its own limit (callers.NAME.limit) has room again in {} s", whole_seconds(*retry_after))
        }
        Cause::UnknownRoute { detail } | Cause::UnknownAccount { detail } => detail.clone(),
        Cause::BodyTooLarge { limit, form: false } => format!("the limit is {limit} bytes (proxy.max_body)"),
        Cause::BodyTooLarge { limit, form: true } => {
            format!("the limit for a form is {limit} bytes (proxy.max_form)")
        }
        Cause::BodyEncoded { encoding, reader } => encoded(encoding, *reader),
        Cause::ThresholdSaturated { retry_after, daily } => format!(
            "{}the earliest could be in {} s; wait longer (Prefer: wait=N) or come back then",
            if *daily { "of the account's limit for any 24 hours (daily_calls) nothing is left; " } else { "" },
            whole_seconds(*retry_after)
        ),
        Cause::ThresholdLocked { retry_after } => {
            format!("the lock ends in {} s; nothing is sent before", whole_seconds(*retry_after))
        }
        Cause::QueueFull { limit, .. } => full(*limit).to_owned(),
        Cause::StateUnavailable => "its state store (state.dir) cannot be written to, and a call that is not recorded \
                                    could break the threshold after a restart; the call was not sent"
            .to_owned(),
        Cause::AuditUnavailable => {
            "the audit cannot be written, and audit.required says that no write is sent without \
                                    its line; the call was not sent"
                .to_owned()
        }
        Cause::UpstreamUnreachable(fault) => {
            let proxy = fault.proxy.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            format!("{} could not be reached{proxy}; the call was not sent", fault.server)
        }
        Cause::UpstreamInvalidResponse(fault) => invalid_response(fault),
        Cause::UpstreamTimeout(fault) => timeout(fault),
        Cause::AccountUnauthorised { reason } => format!(
            "Zoho says {reason}; a person must log in again (zoho-gateway login) or mend client_id, client_secret, \
             refresh_token or data_center"
        ),
        Cause::WrongDataCenter { configured, valid_at } => format!(
            "its credentials are unknown at {configured} and good at {valid_at}; set data_center = \"{valid_at}\" and \
             restart"
        ),
        Cause::ScopeMissing { scopes, evidence } => scope(scopes, evidence),
        Cause::TokenThrottled { retry_after } => format!(
            "Zoho answers ten token requests in ten minutes; the next may go in {} s",
            whole_seconds(*retry_after)
        ),
        Cause::NotCached => "the request says only-if-cached; without it Zoho is asked".to_owned(),
        Cause::ShuttingDown => "it takes no new calls; nothing of the call was sent to Zoho".to_owned(),
        Cause::CutOff(fate) => cut_off(*fate).to_owned(),
        Cause::Internal => "the log has more under this request's id".to_owned(),
    }
}

fn encoded(encoding: &Encoding, reader: Reader) -> String {
    let why = match reader {
        Reader::Rules => "the gateway checks the parameters of this call",
        Reader::Overrides => "the gateway checks forms for parameters that could make another call of this one",
    };
    match encoding {
        Encoding::Compressed => format!("{why}, and does not decompress bodies; send it without Content-Encoding"),
        Encoding::Charset(charset) => {
            format!(
                "{why}, and in the charset {charset} the body may say something else than in UTF-8; send it in UTF-8"
            )
        }
    }
}

fn foreign(field: Foreign) -> &'static str {
    match field {
        Foreign::Site => "Sec-Fetch-Site says that a page of another site made it; no web pages are served here",
        Foreign::Origin => "Origin names a page of another origin; no web pages are served here",
        Foreign::Host => "Host is no name of this gateway; where it is meant to be one, add it to proxy.hosts",
    }
}

fn unauthenticated(why: &Unauthenticated) -> String {
    match why {
        Unauthenticated::NothingShown => {
            "the request has neither a key or a token (Authorization: Bearer ...) nor a client certificate, and the gateway \
             serves known callers only"
        }
        Unauthenticated::ZohoToken => {
            "the request carries a Zoho token (in Authorization or in the query), and the gateway signs \
             calls with the account's own; drop it, and send the key that the operator of the gateway gave you \
             (Authorization: Bearer KEY)"
        }
        Unauthenticated::Malformed => "Authorization has to stand there once, as Bearer and one key or token",
        Unauthenticated::UnknownKey => "the key in Authorization is no caller's",
        Unauthenticated::UnknownCertificate => "no name in the client certificate is a caller's (callers.NAME.san)",
        Unauthenticated::SeveralCallers => {
            "the client certificate has the names of several callers (callers.NAME.san), so it does not tell which one \
             calls"
        }
        Unauthenticated::BadToken(why) => return format!("the token in Authorization {}", bad_token(*why)),
    }
    .to_owned()
}

/// Nothing of the token that its holder does not know.
fn bad_token(why: BadToken) -> &'static str {
    match why {
        BadToken::TooLong => "is too long",
        BadToken::Header => "has a header that is not understood, or an algorithm that is never taken",
        BadToken::Critical => "names header fields as critical (crit) that are not understood",
        BadToken::Claims => "has claims that are not understood",
        BadToken::UnknownIssuer => "is of no issuer that is configured",
        BadToken::Algorithm => "is signed by an algorithm that is not taken of its issuer",
        BadToken::Audience => "is for somebody else (aud)",
        BadToken::NoExpiry => "does not say when it expires (exp)",
        BadToken::Expired => "has expired",
        BadToken::NotYetValid => "is not valid yet",
        BadToken::UnknownKey => "is signed by a key that its issuer does not publish",
        BadToken::AmbiguousKey => "does not say by its kid which of its issuer's keys is meant, and several could be",
        BadToken::Signature => "has a bad signature",
        BadToken::UnknownSubject => "speaks for a subject that is no caller's",
    }
}

fn forbidden(what: &Forbidden) -> String {
    match what {
        Forbidden::Account => "the caller may not use this account".to_owned(),
        Forbidden::Route { caller, route } => format!("{} may not call {route}", caller.name()),
        Forbidden::Write { caller, method, route, known } => {
            let why = match known {
                true => "may change something at Zoho",
                false => "stands for calls that the catalogue does not know and that may change something at Zoho",
            };
            format!("{} may only read, and {method} {route} {why}", caller.name())
        }
    }
}

fn cut_off(fate: Fate) -> &'static str {
    match fate {
        Fate::NotSent => "it stops before this call's turn; nothing of the call was sent to Zoho",
        Fate::NotExecuted => "it stops before this call could be repeated; Zoho has not executed it",
        Fate::Unknown => "it stopped before Zoho had answered the call; the call may have been executed",
    }
}

fn full(limit: Limit) -> &'static str {
    match limit {
        Limit::Calls => "the gateway's queue is full (queue.max_waiting)",
        Limit::Bytes => "the gateway's queue holds as much as it may (queue.max_waiting_bytes)",
        Limit::CallsPerCaller => "this caller's part of the queue is full (queue.max_waiting_per_caller)",
        Limit::Lent => {
            "the queue is full, and the place was lent by a caller that needs its share (callers.NAME.weight)"
        }
    }
}

fn invalid_response(UpstreamFault { server, before_the_call, .. }: &UpstreamFault) -> String {
    match before_the_call {
        true => format!("{server} gave no usable answer to a token request; the call was not sent"),
        false => {
            format!(
                "{server} answered with something else than a complete HTTP answer; the call may have been executed"
            )
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
    let needed = if scopes.is_empty() { "a scope that its page does not name".to_owned() } else { scopes.join(" or ") };
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
