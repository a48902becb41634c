//! The key by which stored answers are found.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{call::Call, zoho::account::AccountName};

/// An account, a target, the request fields that can change an answer, and the caller's view. The method is always GET:
/// answers to GET also serve HEAD, and no others are stored. The token is not part of the key, because it changes hourly
/// and every token of an account gets the same answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    account: AccountName,
    product: &'static str,
    /// A copy, because the call's target is a part of the connection's read buffer.
    target: Box<str>,
    negotiated: [Vec<u8>; 2],
    view: View,
}

/// The part of the account's answers that a caller may see. Empty, because all callers of an account use the same login, and
/// Zoho gives a login the same answers. If the gateway ever shows callers different parts, the difference belongs here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct View;

/// The fields by which Zoho's answers can differ. Not `Accept-Encoding`, because answers to be stored are requested without
/// compression. The values of other fields in an answer's `Vary` are stored with the answer.
pub(super) const NEGOTIATED: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];

impl Key {
    pub(super) fn of(call: &Call) -> Self {
        let (account, _) = call.context.names();
        let negotiated = NEGOTIATED.map(|name| joined(&call.headers, &name));
        let (product, target) = (call.context.route.product.as_str(), call.target.as_str().into());
        Self { account, product, target, negotiated, view: View }
    }

    /// The approximate memory of the key, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.target.len() + self.negotiated.iter().map(Vec::len).sum::<usize>()
    }
}

/// All values of a field, joined (RFC 9110 section 5.3).
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    values.join(&b','.to_owned())
}
