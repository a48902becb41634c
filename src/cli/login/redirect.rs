//! The loopback listener that Zoho sends the browser back to (RFC 8252 section 7.3).
//!
//! It waits for the one request with this login's state, and answers it at the end of the login, so that the page can show
//! the result. Other requests get an error page.

use std::time::Duration;

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Page, Redirect, State,
    callback::{self, CallbackResult, NoCode},
};

/// A person who has not consented by then has given up; Zoho's own page times out sooner.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A browser opens connections that it may never use; they must not occupy the listener for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long writing the last page may take.
const FLUSH: Duration = Duration::from_secs(1);

/// The browser that waits for the last page.
#[derive(Debug)]
pub struct Waiting {
    page: oneshot::Sender<Page>,
    connections: JoinSet<()>,
}

type Arrival = (Result<Redirect, NoCode>, oneshot::Sender<Page>);

/// Waits for the redirect.
///
/// # Errors
/// [`NoCode`]; the browser has shown it.
pub async fn redirect(listener: TcpListener, state: &State) -> Result<(Redirect, Waiting), NoCode> {
    let (arrived, mut arrivals) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    let waiting = serve(&listener, state, arrived, &mut connections, &mut arrivals);
    let (outcome, page) = tokio::time::timeout(PATIENCE, waiting).await.unwrap_or(Err(NoCode::TimedOut))?;
    let waiting = Waiting { page, connections };
    match outcome {
        Ok(redirect) => Ok((redirect, waiting)),
        Err(error) => {
            waiting.show(Page::failed(&error.to_string())).await;
            Err(error)
        }
    }
}

impl Waiting {
    /// Shows the last page.
    pub async fn show(mut self, page: Page) {
        // A closed browser needs no page.
        let _ = self.page.send(page);
        let written = async { while self.connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FLUSH, written).await;
    }
}

async fn serve(
    listener: &TcpListener,
    state: &State,
    arrived: mpsc::Sender<Arrival>,
    connections: &mut JoinSet<()>,
    arrivals: &mut mpsc::Receiver<Arrival>,
) -> Result<Arrival, NoCode> {
    loop {
        let stream = tokio::select! {
            Some(arrival) = arrivals.recv() => return Ok(arrival),
            accepted = listener.accept() => accepted?.0,
            Some(_) = connections.join_next() => continue,
        };
        let (state, arrived) = (state.clone(), arrived.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let verdict = callback::judge(request.method(), request.uri(), request.headers(), &state);
            let arrived = arrived.clone();
            async move { Ok::<_, std::convert::Infallible>(page(verdict, arrived).await.into_response()) }
        });
        let mut http = http1::Builder::new();
        // One page per connection: the end of the login waits for no open connection.
        http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

/// The page for a request; the redirect itself gets its page at the end of the login.
async fn page(verdict: CallbackResult, arrived: mpsc::Sender<Arrival>) -> Page {
    let outcome = match verdict {
        CallbackResult::Stranger(page) => return page,
        CallbackResult::Ours(outcome) => outcome,
    };
    let (page, shown) = oneshot::channel();
    let late = || Page::failed("This login has come to its end already");
    match arrived.try_send((outcome, page)) {
        Ok(()) => shown.await.unwrap_or_else(|_| late()),
        Err(_) => late(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn bound() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn ask(address: std::net::SocketAddr, target: String) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_comes_when_the_login_has_ended() {
        let (listener, address) = bound().await;
        let state = State::random().unwrap();
        let target = format!("/callback?code=1000.a.b&state={}", state.expose());
        // An unused connection delays only the last second.
        let _idle = TcpStream::connect(address).await.unwrap();
        let browser = tokio::spawn(async move {
            let stranger = ask(address, "/callback?code=1000.a.b&state=guessed".into()).await;
            (stranger, ask(address, target).await)
        });
        let (redirect, waiting) = redirect(listener, &state).await.unwrap();
        assert_eq!(redirect.code.expose(), "1000.a.b");
        assert!(!browser.is_finished());
        waiting.show(Page::done("main")).await;
        let (stranger, page) = browser.await.unwrap();
        assert!(stranger.starts_with("HTTP/1.1 400 ") && stranger.contains("another login"), "{stranger}");
        assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("The account main is logged in"), "{page}");
        for header in ["cache-control: no-store", "referrer-policy: no-referrer", "default-src 'none'"] {
            assert!(page.contains(header) && stranger.contains(header), "{page}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_shown_and_told() {
        let (listener, address) = bound().await;
        let state = State::random().unwrap();
        let browser = tokio::spawn(ask(address, format!("/callback?error=access_denied&state={}", state.expose())));
        let Err(error) = redirect(listener, &state).await else { panic!() };
        assert!(error.to_string().contains("access_denied"));
        assert!(browser.await.unwrap().contains("Not logged in"));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_for_ever() {
        let (listener, _) = bound().await;
        let outcome = redirect(listener, &State::random().unwrap()).await;
        assert!(matches!(outcome, Err(NoCode::TimedOut)));
    }
}
