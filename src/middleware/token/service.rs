//! Adds the account's access token to a call, and reports to the source whether Zoho accepted it.

use std::{collections::HashMap, sync::Arc};

use super::{Source, rejections::Rejection};
use crate::{
    call::{Answer, Payload, Permitted, RetryReason, Signed},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal, respond},
    zoho::account::AccountName,
};

/// Adds the `Authorization` field.
#[derive(Debug)]
pub struct Sign {
    sources: Arc<HashMap<AccountName, Arc<Source>>>,
    check_scopes: bool,
    shutdown: Shutdown,
}

impl Sign {
    /// Takes the token sources of all accounts. `check_scopes`: rejects a call whose scope the token lacks. During a drain,
    /// calls wait for a token for a moment only.
    pub fn layer(
        sources: Arc<HashMap<AccountName, Arc<Source>>>,
        check_scopes: bool,
        shutdown: Shutdown,
    ) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { sources, check_scopes, shutdown })
    }
}

impl<S: Inner<Signed, Answer>> Middleware<Permitted, S> for Sign {
    type Response = Answer;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, permitted: Permitted, inner: &mut S) -> BoxFuture<Answer> {
        let (sign, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let call = permitted.call();
            // The configuration creates a source for each account.
            let Some(source) = sign.sources.get(&call.context.account.name) else {
                return Err(Refusal::from(Cause::Internal).of(&call.context));
            };
            let mut span = call.attempt_log.trace().part("token");
            let token = tokio::select! {
                biased;
                token = source.token(call.deadline) => token.map_err(Cause::before_the_call),
                () = sign.shutdown.impatient() => Err(Cause::CutOff(call.attempt_log.fate())),
            };
            if let Err(cause) = &token {
                span.fail(|| respond::name(cause).into());
            }
            drop(span);
            let token = token.map_err(|cause| Refusal::from(cause).of(&call.context))?;
            // The first calls arrived before the granted scopes were known. A call that is rejected here frees its slot.
            if sign.check_scopes
                && let Err(cause) = source.authorises(&call.context.route)
            {
                source.lacks_scope(&call.context.route.id, &cause);
                return Err(Refusal::from(cause).of(&call.context));
            }
            let (generation, route) = (token.generation, call.context.route.id.clone());
            let (second, repeatable) = (call.token_was_refused(), matches!(call.payload, Payload::Held { .. }));
            let (since, fresh_until) = (clock::now(), token.fresh_until);
            let mut answer = match inner.call(permitted.signed(token)).await {
                Ok(answer) => answer,
                Err(refusal) => {
                    if let Cause::ScopeMissing { .. } = *refusal.cause {
                        source.accepted(&route, generation, second);
                        source.lacks_scope(&route, &refusal.cause);
                    }
                    return Err(refusal);
                }
            };
            match answer.retry {
                None => {
                    // Zoho may give other statuses before it checks the token.
                    if answer.response.status().is_success() {
                        source.accepted(&route, generation, second);
                    }
                    source.has_scope(&route);
                }
                Some(RetryReason::TokenRefused(refusal)) => {
                    let fresh = clock::now() < fresh_until;
                    let rejection = Rejection { generation, fresh, route: &route, refusal, since, second };
                    // With the same token, a second attempt would end like the first.
                    if !source.rejected(&rejection, repeatable).await {
                        answer.retry = None;
                    }
                }
                Some(RetryReason::Locked(_)) => {}
            }
            Ok(answer)
        })
    }
}
