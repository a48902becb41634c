//! Opens a page in the user's browser, if there seems to be one.

use std::{
    env,
    io::{self, IsTerminal},
    process::{Command, Stdio},
};

/// The variables that a desktop sets.
const DESKTOPS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];

/// Opens `url` if a person uses a terminal on a desktop. The terminal shows the address too, so a failure here is not an
/// error.
pub fn open(url: &str) {
    let desktop = cfg!(target_os = "macos") || DESKTOPS.iter().any(|name| env::var_os(name).is_some());
    if !desktop || !io::stderr().is_terminal() {
        return;
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    // The address contains no secret: another user of this machine who learns the state can only make this login fail.
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, opener, "cannot open a browser");
    }
}
