//! `proxy.unix`: who may connect to the proxy's Unix sockets.

use std::io;

use nix::unistd::{Group, User};

use super::reader::Section;
use crate::listener::SocketAccess;

/// Reads `proxy.unix`.
pub(super) fn access(section: &mut Section<'_>) -> SocketAccess {
    let mode = section.parsed("mode", mode);
    let owner = section.parsed("owner", |text| {
        let user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
        number(text, user, "names no user of this system; expected one that `getent passwd` lists, or a number")
    });
    let group = section.parsed("group", |text| {
        let group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
        number(text, group, "names no group of this system; expected one that `getent group` lists, or a number")
    });
    SocketAccess {
        mode: mode.expect("`keys` has a valid default").value,
        owner: owner.map(|found| found.value),
        group: group.map(|found| found.value),
    }
}

/// Permissions only: the other bits of a mode have no meaning for a socket.
fn mode(text: &str) -> Result<u32, &'static str> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or("expected three octal digits, with or without a zero before them, such as \"0660\"")
}

/// A number, or the number of a name that the system knows.
fn number(
    text: &str,
    look_up: impl FnOnce(&str) -> io::Result<Option<u32>>,
    unknown: &'static str,
) -> Result<u32, String> {
    // The highest number means "unchanged" to chown(2).
    let number = text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok());
    if let Some(number) = number.filter(|_| !text.is_empty()) {
        return number.filter(|number| *number != u32::MAX).ok_or_else(|| format!("expected at most {}", u32::MAX - 1));
    }
    match look_up(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(unknown.to_owned()),
        Err(error) => Err(format!("cannot be looked up: {error}; a number needs no look-up")),
    }
}
