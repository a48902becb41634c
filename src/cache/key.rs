//! What makes two reads the same read.

use http::{HeaderMap, header};

use crate::{account::AccountName, call::Call};

/// An account, a target and the request fields that can change an answer. The method is always GET.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    account: AccountName,
    product: &'static str,
    /// A copy: the call's own is a part of the buffer its request was read into.
    target: Box<str>,
    negotiated: [Vec<u8>; 2],
}

/// Zoho's answers can differ by these. Not by `Accept-Encoding`: what is to be kept is asked for as it is.
pub(super) const NEGOTIATED: [http::HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];

impl Key {
    pub(super) fn of(call: &Call) -> Self {
        let (account, _) = call.subject.names();
        let negotiated = NEGOTIATED.map(|name| joined(&call.headers, &name));
        Self { account, product: call.subject.route.product.as_str(), target: call.target.as_str().into(), negotiated }
    }

    /// What the key holds in memory, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.target.len() + self.negotiated.iter().map(Vec::len).sum::<usize>()
    }
}

/// All values of a field, as one (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &http::HeaderName) -> Vec<u8> {
    let values: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    values.join(&b','.to_owned())
}
