//! `status`: what a running gateway does, in sentences.

mod ledger;
mod lists;
mod logins;
mod moment;
mod sentences;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal, stdout},
    time::Duration,
};

use super::{Failure, RunningGateway, admin::AdminListener, print_once, tell};

/// How often `--watch` asks.
const WATCH: Duration = Duration::from_secs(2);

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// How the status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Sentences,
    Json,
}

pub(super) async fn status(gateway: &RunningGateway, watch: bool, form: Form) -> Result<(), Failure> {
    let listener = AdminListener::find(gateway)?;
    // A wrong address is an error, not something to watch.
    let mut text = asked(&listener, form).await?;
    loop {
        let clear = if watch && form == Form::Sentences && stdout().is_terminal() { CLEAR } else { "" };
        match print_once(&format!("{clear}{text}")) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            printed => printed?,
        }
        if !watch {
            return Ok(());
        }
        text = loop {
            tokio::time::sleep(WATCH).await;
            match asked(&listener, form).await {
                Ok(text) => break text,
                // A gateway that restarts is watched on.
                Err(failure) => tell(&format!("zoho-gateway: {failure}\n"))?,
            }
        };
    }
}

async fn asked(listener: &AdminListener, form: Form) -> Result<String, Failure> {
    let unreachable = "no gateway answers; --config or --admin names the admin listener of another one";
    let answer = listener.page("/status").await;
    let (status, body) = answer.map_err(|failure| Failure::Run(format!("{failure}: {unreachable}")))?;
    if !status.is_success() {
        return Err(Failure::Run(format!("the admin listener answers {status}: {body}")));
    }
    match form {
        Form::Json => Ok(format!("{body}\n")),
        Form::Sentences => sentences::of(&body).map_err(|error| {
            Failure::Run(format!("the admin listener answers something else; is it a gateway of this version? {error}"))
        }),
    }
}
