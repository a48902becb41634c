//! A simulated Zoho: Accounts, People and Calendar on one listener, distinguished by path.
//!
//! It serves `run --sandbox`, the project's own tests and users' integration tests, and it judges: it counts calls
//! when they *arrive*, in any rolling window, and records what it received. Therefore it shares no code with the
//! gateway except the clock, and where Zoho's pages leave a question open it assumes the strictest answer:
//!
//! - One count per login and API (method and path template), independent of the id in the path.
//! - Every call of a known login counts, even with a dead token, during a lock, or after its caller has left.
//! - A call that no page documents, by its path or its method, gets 404, unless the sandbox is lenient.
//! - A call over the threshold is refused and locks its API; calls during a lock are refused and do not prolong it.
//!
//! `call.rs` handles one call, `request.rs` decodes it, `tokens.rs` finds its login, `meter.rs` counts it, `known.rs`
//! looks it up, and `people.rs` or `calendar.rs` answers in the shape of Zoho's page. `accounts.rs` is the token
//! endpoint, `consent.rs` the consent page. Zoho has nothing like `control.rs`: tests use it under `/__sandbox/` to
//! read the counts and to trigger Zoho's own actions.
//!
//! # Logins
//!
//! [`REFRESH_TOKEN`] is the login `main`. Every other refresh token that starts with `1000.sandbox.` is valid too and
//! belongs to its own login, named after its last eight characters; counts, locks, tokens and shares are per login. A
//! refresh token that was granted for a code has its own login too.
//!
//! # Example
//!
//! ```
//! use tokio::{
//!     io::{AsyncReadExt, AsyncWriteExt},
//!     net::{TcpListener, TcpStream},
//! };
//! use zoho_gateway::sandbox::{Settings, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! tokio::spawn(serve(listener, Settings::default(), std::future::pending()));
//!
//! let mut zoho = TcpStream::connect(address).await?;
//! zoho.write_all(b"GET /people/api/v1/courses HTTP/1.1\r\nHost: people.zoho.com\r\nConnection: close\r\n\r\n").await?;
//! let mut answer = String::new();
//! zoho.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 4"), "a call without a token: {answer}");
//! # Ok(())
//! # }
//! ```

mod accounts;
mod answer;
mod api;
mod calendar;
mod call;
mod codes;
mod consent;
mod control;
mod known;
mod login;
mod meter;
mod meters;
mod people;
mod random;
mod records;
mod refusal;
mod request;
mod serve;
mod settings;
mod tokens;
mod world;

pub use login::REFRESH_TOKEN;
pub use serve::serve;
pub use settings::{LockAnswer, Settings};

/// The only client id that the sandbox knows.
pub const CLIENT_ID: &str = "1000.SANDBOX";

/// The secret of [`CLIENT_ID`].
pub const CLIENT_SECRET: &str = "sandbox-client-secret";

#[cfg(test)]
mod tests;
