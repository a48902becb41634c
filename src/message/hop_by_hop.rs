//! Header fields that belong to one hop.

use http::{HeaderMap, HeaderName, header};

use super::list::{Quotes, split};

/// Removes the fields that `Connection` names (RFC 9110 section 7.6.1), except those that `kept` accepts: they are for
/// the receiver of the message only. A request loses them before any layer reads them, so that no layer decides by a
/// field that is not sent.
pub fn take_connection_options(headers: &mut HeaderMap, kept: impl Fn(&str) -> bool) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    // As bytes: an option that is not ASCII must not hide the others on its line.
    let lines = headers.get_all(header::CONNECTION).iter();
    let options = lines.flat_map(|line| split(line.as_bytes(), Quotes::Tokens));
    let names: Vec<_> = options.filter_map(|option| HeaderName::from_bytes(option).ok()).collect();
    for name in names.into_iter().filter(|name| !kept(name.as_str())) {
        headers.remove(name);
    }
}
