//! What makes two reads the same read.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{call::Call, zoho::account::AccountName};

/// An account, a target, the request fields that can change an answer, and the caller's view. The method is always GET:
/// HEAD is answered from what GET brought, and nothing else is kept. The token is no part of it; it changes hourly, and
/// every token of an account sees the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    account: AccountName,
    product: &'static str,
    /// A copy: the call's own is a part of the buffer its request was read into.
    target: Box<str>,
    negotiated: [Vec<u8>; 2],
    view: View,
}

/// What this caller may see of the account's answers. Empty, because every caller of an account calls with the same
/// login, and Zoho shows a login the same whoever asks. Once the gateway itself shows callers different parts of an
/// answer, what makes the difference belongs here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct View;

/// Zoho's answers can differ by these. Not by `Accept-Encoding`: what is to be kept is asked for as it is. Whatever else
/// an answer's `Vary` names is kept beside it.
pub(super) const NEGOTIATED: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];

impl Key {
    pub(super) fn of(call: &Call) -> Self {
        let (account, _) = call.context.names();
        let negotiated = NEGOTIATED.map(|name| joined(&call.headers, &name));
        let (product, target) = (call.context.route.product.as_str(), call.target.as_str().into());
        Self { account, product, target, negotiated, view: View }
    }

    /// What the key holds in memory, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.target.len() + self.negotiated.iter().map(Vec::len).sum::<usize>()
    }
}

/// All values of a field, as one (RFC 9110 section 5.3).
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    values.join(&b','.to_owned())
}
