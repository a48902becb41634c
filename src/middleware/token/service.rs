//! One call's visit to the token room.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service, ServiceExt};

use super::{Source, rejections::Rejection};
use crate::{
    call::{Answer, Payload, Permitted, RetryReason, Signed},
    message::boxed::BoxFuture,
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal},
    zoho::account::AccountName,
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct SignLayer {
    sources: Arc<HashMap<AccountName, Arc<Source>>>,
    check_scopes: bool,
    shutdown: Shutdown,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Sign<S> {
    room: SignLayer,
    inner: S,
}

impl SignLayer {
    /// With the token sources of all accounts; `check_scopes`: a token that lacks the call's scope is not spent on it.
    /// During a drain nobody waits for a token for longer than a moment.
    #[must_use]
    pub fn new(sources: Arc<HashMap<AccountName, Arc<Source>>>, check_scopes: bool, shutdown: Shutdown) -> Self {
        Self { sources, check_scopes, shutdown }
    }
}

impl<S> Layer<S> for SignLayer {
    type Service = Sign<S>;

    fn layer(&self, inner: S) -> Sign<S> {
        Sign { room: self.clone(), inner }
    }
}

impl<S> Service<Permitted> for Sign<S>
where
    S: Service<Signed, Response = Answer, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = Refusal;
    type Future = BoxFuture<Answer, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, permitted: Permitted) -> Self::Future {
        let call = permitted.call();
        let source = self.room.sources.get(&call.context.account.name).cloned();
        let (check_scopes, shutdown) = (self.room.check_scopes, self.room.shutdown.clone());
        let inner = self.inner.clone();
        Box::pin(async move {
            let call = permitted.call();
            // The same configuration makes accounts and sources, so one without the other is a defect of ours.
            let Some(source) = source else { return Err(Refusal::from(Cause::Internal).of(&call.context)) };
            let token = tokio::select! {
                biased;
                token = source.token(permitted.deadline()) => token.map_err(Cause::before_the_call),
                () = shutdown.impatient() => Err(Cause::CutOff(call.attempt_log.fate())),
            };
            let token = token.map_err(|cause| Refusal::from(cause).of(&call.context))?;
            // The first calls of all came before anything was granted, and are looked at here; their slots come back.
            if check_scopes && let Err(cause) = source.authorises(&call.context.route) {
                source.lacks_scope(&call.context.route.id, &cause);
                return Err(Refusal::from(cause).of(&call.context));
            }
            let (generation, route) = (token.generation, call.context.route.id.clone());
            let (second, repeatable) = (call.token_refused, matches!(call.payload, Payload::Held { .. }));
            let (since, fresh_until) = (clock::now(), token.fresh_until);
            let mut answer = match inner.oneshot(permitted.signed(token)).await {
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
