//! What makes two reads the same read.

use http::{HeaderMap, header, uri::PathAndQuery};

use crate::{account::AccountName, call::Call};

/// An account, a target and the request fields that can change an answer. The method is always GET.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    account: AccountName,
    product: &'static str,
    target: PathAndQuery,
    negotiated: [Vec<u8>; 3],
}

/// Zoho's answers can differ by these.
const NEGOTIATED: [http::HeaderName; 3] = [header::ACCEPT, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];

impl Key {
    pub(super) fn of(call: &Call) -> Self {
        let (account, _) = call.subject.names();
        let negotiated = NEGOTIATED.map(|name| joined(&call.headers, &name));
        Self { account, product: call.subject.route.product.as_str(), target: call.target.clone(), negotiated }
    }

    /// What the key holds in memory, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.target.as_str().len() + self.negotiated.iter().map(Vec::len).sum::<usize>()
    }
}

/// All values of a field, as one (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &http::HeaderName) -> Vec<u8> {
    let values: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    values.join(&b','.to_owned())
}
