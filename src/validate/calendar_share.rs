//! The value of `shareData`: `{"type": "user", "mailid": "rebecca@zylker.com", "privilege": "view", "mode": "add"}`.
//!
//! The page calls `mailid` and `zgid` optional, each for itself; but a share with a user is "with the help of their
//! email address" and one with a group "with the help of the group's ID", so each is mandatory for its type.

use std::collections::BTreeMap;

use super::{
    address,
    findings::About,
    json::{self, Value},
};

const TYPES: [&str; 2] = ["user", "group"];
const PRIVILEGES: [&str; 4] = ["freebusy", "view", "moderate", "delegate"];
/// "The values moderate and delegate can be used only when you share calendars with a user and not with groups."
const PRIVILEGES_OF_USERS: [&str; 2] = ["moderate", "delegate"];
const MODES: [&str; 3] = ["add", "edit", "delete"];

type Share<'a> = BTreeMap<String, Value<'a>>;

/// Holds a value to [`crate::catalogue::Kind::CalendarShare`].
///
/// `had_plus` says that a `+` was decoded to a space somewhere in it, the likely end of `user+tag@example.com`.
pub(super) fn check(value: &str, had_plus: bool, about: &mut About<'_>) {
    let share = match json::read(value, about) {
        Value::Refused => return,
        Value::Object(share) => share,
        other => {
            about.add("", format!("expected a JSON object, but found {other}"));
            return;
        }
    };
    // Without a sound type, whatever depends on it cannot be judged and is left in peace.
    let with = one_of("type", &TYPES, &share, about);
    if !share.contains_key("type") {
        about.add("/type", r#"expected "user" or "group", but type is missing"#);
    }
    let privilege = one_of("privilege", &PRIVILEGES, &share, about);
    if let (Some("group"), Some(privilege)) = (with, privilege)
        && PRIVILEGES_OF_USERS.contains(&privilege)
    {
        about.add("/privilege", format!("expected freebusy or view, because {privilege} is for users, not for groups"));
    }
    one_of("mode", &MODES, &share, about);
    check_mailid(share.get("mailid"), with == Some("user"), had_plus, about);
    check_zgid(share.get("zgid"), with == Some("group"), about);
}

/// The value of `key` if it is one of those allowed; a report if it is anything else.
fn one_of<'s>(key: &str, allowed: &[&str], share: &'s Share<'_>, about: &mut About<'_>) -> Option<&'s str> {
    match share.get(key) {
        None | Some(Value::Refused) => None,
        Some(Value::Text(text)) if allowed.contains(&text.as_str()) => Some(text),
        Some(other) => {
            about.add(format!("/{key}"), format!("expected one of {}, but found {other}", allowed.join(", ")));
            None
        }
    }
}

fn check_mailid(mailid: Option<&Value<'_>>, mandatory: bool, had_plus: bool, about: &mut About<'_>) {
    match mailid {
        None if mandatory => about.add("/mailid", "expected the user's e-mail address, but mailid is missing"),
        None | Some(Value::Refused) => {}
        Some(found @ Value::Text(text)) => {
            if let Some(complaint) = address::complaint(text) {
                let hint = if had_plus && text.contains(' ') {
                    "; mind that a raw + means a space and must be written %2B"
                } else {
                    ""
                };
                about.add("/mailid", format!("expected an e-mail address, but found {found}: {complaint}{hint}"));
            }
        }
        Some(other) => about.add("/mailid", format!("expected an e-mail address as a string, but found {other}")),
    }
}

fn check_zgid(zgid: Option<&Value<'_>>, mandatory: bool, about: &mut About<'_>) {
    match zgid {
        None if mandatory => about.add("/zgid", "expected the group's id, but zgid is missing"),
        None | Some(Value::Refused) => {}
        Some(zgid) if zgid.is_long() => {}
        Some(other) => about.add(
            "/zgid",
            format!("expected a group's id (an integer from 0 to 9223372036854775807), but found {other}"),
        ),
    }
}
