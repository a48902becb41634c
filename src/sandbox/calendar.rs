//! Zoho Calendar: the shares of a calendar, and one answer for everything else.
//!
//! Calendar's page shows only its success. The form of its failures is not documented, so the error codes here use the
//! measured shape, with words of our own.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{answer::Answer, refusal, request::Arrival};

/// A user or group that a calendar is shared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    with: Sharer,
    privilege: Privilege,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sharer {
    User(String),
    Group(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Privilege {
    Freebusy,
    View,
    Moderate,
    Delegate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Add,
    Edit,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    User,
    Group,
}

/// `shareData` as written; the page leaves the defaults of `mode` and `privilege` open.
#[derive(Debug, Deserialize)]
struct ShareData {
    #[serde(rename = "type")]
    kind: Kind,
    mode: Option<Mode>,
    privilege: Option<Privilege>,
    mailid: Option<String>,
    zgid: Option<Value>,
}

/// `PUT .../share`: adds, edits or deletes one share.
///
/// Editing a missing share adds it, and deleting it succeeds: there is no evidence that Zoho does otherwise, and the
/// page's own sample edits without adding first.
pub(super) fn share(shares: &mut Vec<Share>, arrival: &Arrival) -> Answer {
    let Some(data) = arrival.parameter("shareData") else { return invalid("shareData is missing.") };
    let Ok(data) = serde_json::from_str::<ShareData>(&data) else { return invalid("shareData is invalid.") };
    let with = match sharer(&data) {
        Ok(with) => with,
        Err(fault) => return invalid(fault),
    };
    shares.retain(|share| share.with != with);
    if data.mode != Some(Mode::Delete) {
        shares.push(Share { with, privilege: data.privilege.unwrap_or(Privilege::View) });
    }
    Answer::ok(json!({"share": [{"message": "Updated Successfully", "status": "success"}]}))
}

/// `GET .../share`. The field `mailid` is returned as `emailid`.
pub(super) fn shares(shares: &[Share]) -> Answer {
    let shares: Vec<Value> = shares
        .iter()
        .map(|share| match &share.with {
            Sharer::User(address) => json!({"emailid": address, "privilege": share.privilege}),
            Sharer::Group(id) => json!({"zgid": id, "privilege": share.privilege}),
        })
        .collect();
    Answer::ok(json!({"share": shares}))
}

/// Every other call: an empty list of calendars.
pub(super) fn other() -> Answer {
    Answer::ok(json!({"calendars": []}))
}

fn sharer(data: &ShareData) -> Result<Sharer, &'static str> {
    match data.kind {
        Kind::User => match &data.mailid {
            Some(address) if address.contains('@') => Ok(Sharer::User(address.clone())),
            _ => Err("mailid is missing or invalid."),
        },
        Kind::Group if matches!(data.privilege, Some(Privilege::Moderate | Privilege::Delegate)) => {
            Err("privilege is not available for groups.")
        }
        // The parameter table says long, the sample has a string.
        Kind::Group => match &data.zgid {
            Some(Value::Number(id)) if id.is_u64() => Ok(Sharer::Group(id.to_string())),
            Some(Value::String(id)) if id.parse::<u64>().is_ok() => Ok(Sharer::Group(id.clone())),
            _ => Err("zgid is missing or invalid."),
        },
    }
}

fn invalid(description: &str) -> Answer {
    refusal::calendar(StatusCode::BAD_REQUEST, "INVALID_DATA", description)
}
