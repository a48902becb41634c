//! The logins: which one works, until when, and what a person has to do.

use super::{
    lists::{count, shortened},
    moment::{Clock, span},
};
use crate::{
    app::admin::status::page::AccountStatus,
    middleware::token::{TokenCondition, TokenStatus},
};

pub(super) fn lines(accounts: &[AccountStatus], clock: Clock) -> Vec<String> {
    shortened(accounts.iter().map(|account| line(account, clock)).collect())
}

fn line(AccountStatus { account, token, .. }: &AccountStatus, clock: Clock) -> String {
    let problem = token.problem.as_deref().unwrap_or("the last token request failed");
    let at = |seconds: Option<f64>| seconds.map(|seconds| clock.end(seconds));
    let again = at(token.next_request_in_seconds).map(|at| format!("; it tries again at {at}")).unwrap_or_default();
    let requests = requests(token, clock);
    match token.condition {
        TokenCondition::Unused => format!("Login {account}: no token was needed yet; {requests}."),
        TokenCondition::Expired => format!("Login {account}: no call was made lately; {requests}."),
        TokenCondition::Valid => {
            let (age, end) = (span(token.granted_seconds_ago.unwrap_or_default()), at(token.expires_in_seconds));
            let end = end.unwrap_or_default();
            let trouble = token.problem.as_ref().map(|problem| format!(" It has a problem: {problem}{again}."));
            let trouble = trouble.unwrap_or_default();
            format!("Login {account} works: its token is {age} old and expires at {end}; {requests}.{trouble}")
        }
        TokenCondition::Failing => {
            format!("Login {account} has no token, so no call is sent with it: {problem}{again}; {requests}.")
        }
        TokenCondition::Rejected => {
            let since = clock.start(token.rejected_seconds_ago.unwrap_or_default());
            format!(
                "Login {account} is dead since {since}, so no call is sent with it until a person corrects it: \
                 {problem}; {requests}."
            )
        }
    }
}

fn requests(token: &TokenStatus, clock: Clock) -> String {
    let requests = &token.requests;
    let of = count(requests.requests, "token request");
    let next = requests.next_slot_in_seconds.filter(|_| requests.used == requests.requests);
    let next = next.map_or_else(String::new, |next| format!(", the next one is free at {}", clock.end(next)));
    format!("{} of {of} used in {}{next}", requests.used, span(requests.window_seconds))
}
