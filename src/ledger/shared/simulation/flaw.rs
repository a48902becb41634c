//! The rules of the design, each of which can be broken to see that the simulation notices.

/// A rule that members break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger::shared) enum Flaw {
    /// The longest call is not part of the time after which a member is gone.
    NoLongest,
    /// Neither is the time for which a process may be frozen.
    NoFrozen,
    /// Nor the grace of bytes that are under way.
    NoGrace,
    /// Frozen processes are not killed.
    NoFreezeGuard,
    /// Nothing is checked just before a call is sent.
    NoCheckBeforeSending,
    /// The lease begins when an answer arrives.
    LeaseFromAnswer,
    /// The lease stops while the machine sleeps.
    LeaseSleeps,
    /// Others are counted as silent from when the request was sent.
    SilenceFromRequest,
    /// Nobody is gone by its own clock.
    NeverGone,
    /// The rest of a lock is counted from when the request was sent.
    LockFromRequest,
}

/// A rule that the script breaks: this line of it, in another form.
pub(super) struct ScriptFlaw {
    pub(super) line: &'static str,
    pub(super) broken: &'static str,
}

pub(super) const MEMBER_FLAWS: &[(Flaw, &[&str])] = &[
    (Flaw::NoLongest, &["tight: partitions"]),
    (Flaw::NoFrozen, &["tight: freezes"]),
    (Flaw::NoGrace, &["tight: partitions"]),
    (Flaw::NoFreezeGuard, &["frozen processes", "tight: freezes"]),
    (Flaw::NoCheckBeforeSending, &["tight: partitions", "tight: freezes"]),
    (Flaw::LeaseFromAnswer, &["tight: partitions", "tight: data lost"]),
    (Flaw::LeaseSleeps, &["suspended machines"]),
    (Flaw::SilenceFromRequest, &["tight: partitions", "tight: data lost"]),
    (Flaw::NeverGone, &["tight: data lost", "tight: partitions"]),
    (Flaw::LockFromRequest, &["tight: locks", "locks"]),
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
        // The data is believed after a restart.
        ScriptFlaw {
            line: "if record and record.life ~= life then record = nil end",
            broken: "life = record and record.life or life",
        },
        &["rolled back"],
    ),
    (
        // A life is the run id alone.
        ScriptFlaw {
            line: "field('server', 'run_id') .. '/' .. field('replication', 'master_replid')",
            broken: "field('server', 'run_id')",
        },
        &["failed over and back"],
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
        ScriptFlaw { line: "return gone_after + math.ceil(window * 1.01)", broken: "return gone_after" },
        &["tight: partitions"],
    ),
    (
        // What a member says more than the record has is believed.
        ScriptFlaw {
            line: "math.min(entry.held, says.held), math.min(entry.sealed, says.sealed)",
            broken: "says.held, says.sealed",
        },
        &["network", "tight: partitions", "emptied"],
    ),
    (
        // Claims are accepted at any time.
        ScriptFlaw { line: "if record.age < gone_after then", broken: "if true then" },
        &["tight: data lost", "deleted", "everything"],
    ),
];
