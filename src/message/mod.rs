//! HTTP messages: bodies, field values and names that several layers use.

pub mod body;
pub mod hop_by_hop;
pub mod host;
pub mod list;
pub mod method_override;
pub mod payload_error;
pub mod protocol;
pub mod retry_after;
