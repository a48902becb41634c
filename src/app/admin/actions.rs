//! What operators do: pause and resume calls, lift a lock, cancel what waits, drain, and end the gateway. Each action is a
//! line in the audit.

use http::{Response, StatusCode, Uri};

use super::{
    Admin, jobs, json_answer,
    outcome::{Done, NotDone, Outcome},
    parameters::Parameters,
};
use crate::{
    ledger::{CallSelector, Caller, Pause},
    message::body::Body,
    telemetry::{self, AUDIT},
    zoho::catalogue::RouteGlob,
};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Pause,
    Resume,
    Unlock,
    Cancel,
    CancelJob,
    Drain,
    EndDrain,
    Quit,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Unlock => "unlock",
            Self::Cancel => "cancel",
            Self::CancelJob => "cancel-job",
            Self::Drain => "drain",
            Self::EndDrain => "end-drain",
            Self::Quit => "quit",
        }
    }
}

impl Admin {
    /// Takes an action, and records it with who wants it.
    pub(super) async fn act(&self, action: Action, who: &str, uri: &Uri) -> Response<Body> {
        let outcome = self.perform(action, uri).await;
        let (done, words) = match &outcome {
            Ok(done) => (true, &done.outcome),
            Err(NotDone(_, words)) => (false, words),
        };
        record(who, action.as_str(), uri, (done, words)).await;
        match outcome {
            Ok(done) => json_answer(StatusCode::OK, &done),
            Err(not_done) => not_done.into(),
        }
    }

    async fn perform(&self, action: Action, uri: &Uri) -> Outcome {
        let parameters = Parameters::parse(uri.query())?;
        match action {
            Action::Pause => self.pause(parameters),
            Action::Resume => self.resume(parameters),
            Action::Unlock => self.unlock(parameters),
            Action::Cancel => self.cancel(parameters).await,
            Action::CancelJob => {
                parameters.finish()?;
                self.cancel_job(jobs::id_in(uri.path())).await
            }
            Action::Drain | Action::EndDrain => {
                parameters.finish()?;
                Ok(self.drain(action == Action::Drain))
            }
            Action::Quit => {
                parameters.finish()?;
                self.quit()
            }
        }
    }

    fn pause(&self, mut parameters: Parameters) -> Outcome {
        let span = parameters.take_span("for")?;
        let selector = self.selector(&mut parameters)?;
        parameters.finish()?;
        let calls = self.limiters.pause(selector.clone(), span);
        let until =
            span.map_or_else(|| "until it is resumed".to_owned(), |span| format!("for {} s", span.as_secs_f64()));
        tracing::warn!(%selector, until, calls, "an operator has paused calls");
        Ok(done(format!("paused {selector} {until}; waiting calls that were refused: {calls}"), calls))
    }

    fn resume(&self, mut parameters: Parameters) -> Outcome {
        let all = parameters.take_flag("all")?;
        let selector = if all { None } else { Some(self.selector(&mut parameters)?) };
        parameters.finish()?;
        let ended = self.limiters.resume(selector.as_ref());
        if ended.is_empty() {
            let paused = self.limiters.pauses();
            let rest = if paused.is_empty() { "nothing".to_owned() } else { listed(&paused) };
            return Err(NotDone(StatusCode::NOT_FOUND, format!("there is no such pause; paused is: {rest}")));
        }
        let calls = listed(&ended);
        tracing::warn!(calls, "an operator has resumed calls");
        Ok(done(format!("resumed {calls}"), ended.len()))
    }

    fn unlock(&self, mut parameters: Parameters) -> Outcome {
        let confirmed = parameters.take_flag("confirm")?;
        let selector = self.selector(&mut parameters)?;
        parameters.finish()?;
        let CallSelector { account: Some(account), route: Some(route), caller: None, request_id: None } = selector
        else {
            return Err("expected account and route, and nothing else".to_owned().into());
        };
        if !route.is_exact() {
            return Err("route: expected one route, without *".to_owned().into());
        }
        let route = route.to_string();
        if !confirmed {
            return Err(NotDone(
                StatusCode::CONFLICT,
                format!(
                    "Zoho may still hold the lock of {account}, {route}. If it does, the next call is refused too, and Zoho \
                     may lock for longer. To take that risk, confirm it"
                ),
            ));
        }
        if !self.limiters.lift_lock(&account, &route) {
            return Err(NotDone(StatusCode::NOT_FOUND, format!("{account}, {route} is not locked")));
        }
        tracing::warn!(account, route, "an operator has lifted a lock");
        let outcome =
            format!("lifted the lock of {account}, {route}; one call goes alone, and the others follow if it succeeds");
        Ok(Done { outcome, count: None })
    }

    async fn cancel(&self, mut parameters: Parameters) -> Outcome {
        if let Some(id) = parameters.take("job") {
            parameters.finish()?;
            return self.cancel_job(&id).await;
        }
        let request_id = parameters.take("request_id");
        let selector = match request_id {
            Some(_) => CallSelector { request_id, ..CallSelector::default() },
            None => self.selector(&mut parameters)?,
        };
        parameters.finish()?;
        match self.limiters.cancel(&selector) {
            0 => Err(NotDone(StatusCode::NOT_FOUND, format!("no call of {selector} waits"))),
            calls => {
                tracing::warn!(%selector, calls, "an operator has cancelled waiting calls");
                Ok(done(format!("cancelled {selector}; waiting calls: {calls}"), calls))
            }
        }
    }

    fn drain(&self, begins: bool) -> Done {
        self.shutdown.refuse(begins);
        let requests = self.shutdown.requests();
        let outcome = if begins {
            format!("draining: new calls are refused; requests in flight: {requests}")
        } else {
            "the drain has ended: new calls are accepted".to_owned()
        };
        tracing::warn!(requests, "an operator has {} a drain", if begins { "begun" } else { "ended" });
        done(outcome, requests)
    }

    fn quit(&self) -> Outcome {
        if !self.quitquitquit {
            return Err(NotDone(StatusCode::FORBIDDEN, "admin.quitquitquit does not allow this".to_owned()));
        }
        tracing::warn!("asked to end by /quitquitquit");
        self.shutdown.ask_to_end();
        Ok(Done { outcome: "the gateway drains and ends".to_owned(), count: None })
    }

    /// The calls that caller, account and route select, which must be known: a typo would select nothing.
    fn selector(&self, parameters: &mut Parameters) -> Result<CallSelector, NotDone> {
        let [caller, account, route] = ["caller", "account", "route"].map(|name| parameters.take(name));
        let anonymous = Caller::anonymous();
        let mut callers = self.callers.callers().map(|caller| caller.who.name()).chain([anonymous.name()]);
        if let Some(caller) = caller.as_ref().filter(|caller| !callers.any(|known| known == caller.as_str())) {
            return Err(format!("caller: there is no caller {caller}").into());
        }
        let mut accounts = self.sources.keys().map(|name| name.as_str());
        if let Some(account) = account.as_ref().filter(|account| !accounts.any(|known| known == account.as_str())) {
            return Err(format!("account: there is no account {account}").into());
        }
        let route = route.map(|route| route.parse::<RouteGlob>()).transpose();
        let route = route.map_err(|error| format!("route: {error}"))?;
        if let Some(route) = route.as_ref().filter(|route| !self.routes.iter().any(|id| route.matches(id.as_str()))) {
            return Err(format!("route: {route} matches no route; zoho-gateway routes lists them").into());
        }
        if caller.is_none() && account.is_none() && route.is_none() {
            return Err("expected caller, account or route".to_owned().into());
        }
        Ok(CallSelector { caller, account, route, request_id: None })
    }
}

/// Writes an action and what became of it to the audit. An audit that cannot be written must not keep an operator from
/// acting; it is counted and logged.
pub(super) async fn record(operator: &str, action: &str, uri: &Uri, (done, outcome): (bool, &str)) {
    let (path, parameters) = (uri.path(), uri.query());
    let line = || tracing::info!(target: AUDIT, operator, action, path, parameters, done, outcome, "action");
    let _ = telemetry::audited(line).await;
}

fn done(outcome: String, count: usize) -> Done {
    Done { outcome, count: Some(count) }
}

fn listed(pauses: &[Pause]) -> String {
    pauses.iter().map(|pause| pause.selector.to_string()).collect::<Vec<_>>().join("; ")
}
