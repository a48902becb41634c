//! The rules of the design, each of which can be broken to see that the simulation notices.

/// A rule that members, or the machines that they run on, break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger::shared) enum Flaw {
    /// Frozen processes are not killed.
    NoFreezeGuard,
    /// Nobody is gone by its own clock.
    NeverGone,
    /// The lease follows a clock that stops while the machine sleeps.
    LeaseSleeps,
    /// How long a member keeps its place has no part for calls in flight.
    NoLongest,
    /// An id goes on in the next epoch.
    SameId,
    /// It has no part for frozen processes.
    NoFrozen,
    /// It has no part for bytes that arrive after their connection was closed.
    NoGrace,
    /// The lease begins with the answer, not with the request.
    LeaseFromAnswer,
    /// A request counts as touch although no majority has confirmed it.
    TouchUnconfirmed,
}

/// A rule that the script breaks: this line of it, in another form.
pub(super) struct ScriptFlaw {
    pub(super) line: &'static str,
    pub(super) broken: &'static str,
}

/// Each with the scenes that must notice it.
pub(super) const MEMBER_FLAWS: &[(Flaw, &[&str])] = &[
    (Flaw::NoFreezeGuard, &["frozen processes", "tight: freezes"]),
    (Flaw::NeverGone, &["tight: data lost"]),
    (Flaw::LeaseSleeps, &["tight: suspended machines", "suspended machines"]),
    (Flaw::NoLongest, &["tight: long calls"]),
    (Flaw::NoFrozen, &["tight: long freezes"]),
    (Flaw::NoGrace, &["tight: long grace"]),
    (Flaw::LeaseFromAnswer, &["tight: long lease, rare calls"]),
    (Flaw::SameId, &["tight, fast: three nodes", "three nodes"]),
    (Flaw::TouchUnconfirmed, &["tight: three nodes"]),
];

pub(super) const SCRIPT_FLAWS: &[(ScriptFlaw, &[&str])] = &[
    (
        // Late and repeated requests are executed.
        ScriptFlaw { line: "if request.number <= me.number then return answer('stale') end", broken: "" },
        &["network", "tight: partitions"],
    ),
    (
        // What nobody has claimed is given out at once.
        ScriptFlaw { line: "math.max(0, says.requests - says.spare)", broken: "0" },
        &["emptied", "tight: data lost"],
    ),
    (
        // What several members saw of a silence is added up.
        ScriptFlaw { line: "math.max(other.silent, seen.silent)", broken: "other.silent + seen.silent" },
        &["network", "kill -9 and clean stops"],
    ),
    (
        // The slots of a member that left are free at once.
        ScriptFlaw {
            line: "entry.left = request.limits[name] and request.limits[name].ends or {}",
            broken: "entry.left = {}",
        },
        &["kill -9 and clean stops"],
    ),
    (
        // A member's slots are free when it is gone, without its window.
        ScriptFlaw {
            line: "return gone_after + math.ceil(longest_window(name, window) * 1.01)",
            broken: "return gone_after",
        },
        &["tight: partitions"],
    ),
    (
        // Data of an earlier run of the server is believed.
        ScriptFlaw { line: "field('server', 'run_id') .. '/' ..", broken: "'life/' .." },
        &["tight: rolled back", "rolled back"],
    ),
    (
        // Older data under the same run id is believed.
        ScriptFlaw { line: " .. '/' .. field('replication', 'master_replid')", broken: "" },
        &["tight: failed over and back", "failed over and back"],
    ),
    (
        // Gateways with different timings share a record.
        ScriptFlaw {
            line: "if request.gone_after ~= record.gone_after then return answer('other-timing') end",
            broken: "",
        },
        &["tight: timings differ", "timings differ"],
    ),
];
