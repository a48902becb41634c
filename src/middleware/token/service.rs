//! Gives a call the access token of its account, and learns from Zoho's answer whether the token is good.

use std::{collections::HashMap, sync::Arc};

use super::{Source, rejections::Rejection};
use crate::{
    call::{Answer, Payload, Permitted, RetryReason, Signed},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal},
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
    /// With the token sources of all accounts; `check_scopes`: a token that lacks the call's scope is not spent on it.
    /// During a drain nobody waits for a token for longer than a moment.
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
            // The same configuration makes accounts and sources, so one without the other is a defect of ours.
            let Some(source) = sign.sources.get(&call.context.account.name) else {
                return Err(Refusal::from(Cause::Internal).of(&call.context));
            };
            let token = tokio::select! {
                biased;
                token = source.token(call.deadline) => token.map_err(Cause::before_the_call),
                () = sign.shutdown.impatient() => Err(Cause::CutOff(call.attempt_log.fate())),
            };
            let token = token.map_err(|cause| Refusal::from(cause).of(&call.context))?;
            // The first calls of all came before anything was granted, and are looked at here; their slots come back.
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
                    // Another status may have been given before anybody looked at the token.
                    if answer.response.status().is_success() {
                        source.accepted(&route, generation, second);
                    }
                    source.has_scope(&route);
                }
                Some(RetryReason::TokenRefused(refusal)) => {
                    let fresh = clock::now() < fresh_until;
                    let rejection = Rejection { generation, fresh, route: &route, refusal, since, second };
                    // Without another token a second attempt would end like the first.
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
