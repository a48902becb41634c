//! What is for one hop of a message only.

use http::{HeaderMap, HeaderName, header};

/// Takes away the fields that `Connection` names (RFC 9110 section 7.6.1): they are for whoever receives the message, and
/// go no further. For a request that is before anything is judged by them, or it would be judged by what is not sent.
/// Those that are to be `kept` are not for whoever comes next anyway.
pub fn take_connection_options(headers: &mut HeaderMap, kept: impl Fn(&str) -> bool) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    // By bytes: an option that is no ASCII must not hide the others of its line.
    let listed =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names: Vec<_> = listed.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect();
    for name in names.into_iter().filter(|name| !kept(name.as_str())) {
        headers.remove(name);
    }
}
