//! `sandbox`: the simulated Zoho alone.

use tokio::net::TcpListener;

use super::{Failure, SandboxOptions, print, stop};
use crate::sandbox::{self, LockAnswer, Settings};

pub(super) async fn sandbox(options: SandboxOptions) -> Result<(), Failure> {
    let unheard = |error| Failure::Run(format!("cannot listen for signals: {error}"));
    let mut signals = stop::listen_with_the_terminal().map_err(unheard)?;
    let failed =
        |error| Failure::Run(format!("cannot listen on {}: {error}; --listen names another address", options.listen));
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    print(&format!(
        "A simulated Zoho listens on http://{address}.\n\
         client_id {}\nclient_secret {}\nrefresh_token {}\n",
        sandbox::CLIENT_ID,
        sandbox::CLIENT_SECRET,
        sandbox::REFRESH_TOKEN
    ))?;
    sandbox::serve(listener, settings(&options), signals.asked()).await;
    Ok(())
}

fn settings(options: &SandboxOptions) -> Settings {
    let default = Settings::default();
    Settings {
        requests: options.requests,
        window: options.window,
        lock: options.lock,
        lock_answer: options.lock_answer,
        delay: options.delay.unwrap_or(default.delay),
        token_requests: options.token_requests.unwrap_or(default.token_requests),
        token_life: options.token_life.unwrap_or(default.token_life),
        token_delay: options.token_delay.unwrap_or(default.token_delay),
        lenient: options.lenient,
    }
}

pub(super) fn lock_answer(text: &str) -> Result<LockAnswer, String> {
    match text {
        "429" => Ok(LockAnswer::Status429),
        "400" => Ok(LockAnswer::Status400),
        "200" => Ok(LockAnswer::Status200),
        "200-array" => Ok(LockAnswer::Status200Array),
        _ => Err("expected 429, 400, 200 or 200-array".to_owned()),
    }
}
