//! Opening a page in the user's browser, where there seems to be one.

use std::{
    env,
    io::{self, IsTerminal},
    process::{Command, Stdio},
};

/// The variables by which a desktop shows itself.
const DESKTOPS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];

/// Opens `url` if a person sits at a terminal of a desktop. Whoever sees no browser has the address on the terminal, so
/// nothing that fails here is an error.
pub fn open(url: &str) {
    let desktop = cfg!(target_os = "macos") || DESKTOPS.iter().any(|name| env::var_os(name).is_some());
    if !desktop || !io::stderr().is_terminal() {
        return;
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    // The address holds no secret: whoever else on this machine learns the state can at most spoil this login.
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, opener, "cannot open a browser");
    }
}
