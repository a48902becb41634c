//! Zoho People: the shares of a course, and one answer for everything else.

use http::StatusCode;
use serde_json::{Value, json};

use super::{answer::Answer, refusal, request::Arrival};

/// Records per page. The page of the share list states no number; its siblings in the LMS state 25.
const PAGE: usize = 25;

/// The description that the page gives for HTTP 400.
const INVALID: &str = "Invalid parameter value/input parameter missing";

/// The employees that a course can be shared with.
#[derive(Default)]
pub(super) struct Employees {
    /// The record numbers that nobody has.
    pub(super) unknown: Vec<String>,
    /// How many one call may name; no page states a number.
    pub(super) most: Option<usize>,
}

/// `PUT .../share`: shares the course with the employees in `erecnosList`, and answers with these. If one of them is
/// unknown, it shares with nobody.
pub(super) fn share(employees: &Employees, shared: &mut Vec<String>, arrival: &Arrival) -> Answer {
    let Some(list) = arrival.parameter("erecnosList") else {
        return missing_parameter();
    };
    let Some(named) = record_numbers(&list) else {
        return invalid_parameter();
    };
    if employees.most.is_some_and(|most| named.len() > most) {
        return refusal::people(StatusCode::UNPROCESSABLE_ENTITY, 7205, "Maximum limit exceeded");
    }
    if named.iter().any(|number| employees.unknown.contains(number)) {
        return invalid_parameter();
    }
    for number in &named {
        if !shared.contains(number) {
            shared.push(number.clone());
        }
    }
    Answer::ok(json!({"sharedUsers": users(&named), "code": "200", "message": "success"}))
}

/// `GET .../share`: one page of the employees, starting at `startIndex`.
pub(super) fn shared_users(shared: &[String], arrival: &Arrival) -> Answer {
    let start = match arrival.parameter("startIndex") {
        None => 0,
        Some(index) => match index.parse::<usize>() {
            Ok(index) => index,
            Err(_) => return invalid_parameter(),
        },
    };
    let rest = shared.get(start..).unwrap_or_default();
    let page = &rest[..rest.len().min(PAGE)];
    Answer::ok(json!({
        "sharedUsers": users(page),
        "code": "200",
        "message": "success",
        "hasMoreRecords": rest.len() > PAGE,
    }))
}

/// `DELETE .../share`: removes the course from one employee.
pub(super) fn remove_share(shared: &mut Vec<String>, arrival: &Arrival) -> Answer {
    let Some(number) = arrival.parameter("sharedUserErecno") else {
        return missing_parameter();
    };
    if !is_record_number(&number) {
        return invalid_parameter();
    }
    let before = shared.len();
    shared.retain(|other| *other != number);
    if shared.len() == before {
        return refusal::people(StatusCode::NOT_FOUND, 7049, "Not found");
    }
    Answer::ok(json!({"code": "200", "message": "success"}))
}

/// Every other call: success with an empty result.
pub(super) fn other(path: &str) -> Answer {
    Answer::ok(json!({
        "response": {"result": [], "message": "Data fetched successfully", "uri": path, "status": 0}
    }))
}

/// A JSON array of at least one record number, each a number or a string of digits.
fn record_numbers(list: &str) -> Option<Vec<String>> {
    let list: Vec<Value> = serde_json::from_str(list).ok()?;
    let numbers: Option<Vec<String>> = list.iter().map(record_number).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}

fn record_number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        Value::String(text) if is_record_number(text) => Some(text.clone()),
        _ => None,
    }
}

fn is_record_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Invented employees for the record numbers.
fn users(numbers: &[String]) -> Vec<Value> {
    numbers
        .iter()
        .map(|number| {
            json!({
                "erecno": number,
                "displayName": format!("Employee {number}"),
                "employeeId": number,
                "emailId": format!("employee-{number}@example.com"),
                "displayPictureURL": "https://contacts.zoho.com/file?ID=705822094&fs=thumb",
            })
        })
        .collect()
}

fn missing_parameter() -> Answer {
    refusal::people(StatusCode::BAD_REQUEST, 7019, INVALID)
}

fn invalid_parameter() -> Answer {
    refusal::people(StatusCode::BAD_REQUEST, 7204, INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_number_keeps_every_digit() {
        assert_eq!(
            record_numbers(r#"[588882000000212025, "588882000000212026"]"#),
            Some(vec!["588882000000212025".to_owned(), "588882000000212026".to_owned()])
        );
    }

    #[test]
    fn only_a_list_of_record_numbers_is_accepted() {
        for list in ["", "[]", "588882000000212025", "[1.5]", "[-1]", r#"["x"]"#, r#"[""]"#, "[null]", "{}"] {
            assert_eq!(record_numbers(list), None, "{list}");
        }
    }
}
