//! Sends calls that wait, and differ in one list of record numbers only, as one call.
//!
//! A route does so if it has [`Merge`](crate::zoho::catalogue::Merge). Two layers work together, because the throttle is
//! between them. [`Gather`] is above it and takes a [`Call`]: it notes the call in [`Groups`] and lets it wait for its own
//! slot. [`Compose`] is below it and takes a [`Permitted`]: the call that gets a slot takes the others of its group with
//! it, callers in turn, the oldest call of each first. Their futures above leave the queue and wait for their part of the
//! answer instead.
//!
//! A call that got its slot at once never merges, so a call that is alone passes both layers unchanged. A call that would
//! wait too long for a slot of its own waits without a place in the queue while others of its group have one.
//!
//! A merged call runs in a task that ends when all its callers have left. If Zoho rejects its payload, the task sends it
//! again as two halves, down to single calls, each with a slot of its own and before new calls. Any other end (an answer, a
//! lock, a dead token, a loss) goes to each caller as if its own call had it, and the layer above decides what follows.
//!
//! | file | content |
//! |---|---|
//! | `payload.rs` | finds the list in a call, and writes a longer one in its place |
//! | `similar.rs` | which calls differ in the list only |
//! | `groups.rs` | the calls that wait, and which of them travel together |
//! | `gather.rs`, `compose.rs` | the two layers |
//! | `merged.rs` | a merged call: its answer, and its halves |
//! | `divide.rs` | the part of an answer that belongs to a caller |

mod compose;
mod divide;
mod gather;
mod groups;
mod merged;
mod parts;
mod payload;
mod similar;
#[cfg(test)]
mod tests;

pub use compose::Compose;
pub use gather::Gather;
pub use groups::Groups;

#[cfg(doc)]
use crate::call::{Call, Permitted};
