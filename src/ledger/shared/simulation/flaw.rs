//! The rules of the design, each of which can be broken to see that the simulation notices.

/// A rule that members break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger::shared) enum Flaw {
    /// Frozen processes are not killed.
    NoFreezeGuard,
    /// Nobody is gone by its own clock.
    NeverGone,
}

/// A rule that the script breaks: this line of it, in another form.
pub(super) struct ScriptFlaw {
    pub(super) line: &'static str,
    pub(super) broken: &'static str,
}

pub(super) const MEMBER_FLAWS: &[(Flaw, &[&str])] =
    &[(Flaw::NoFreezeGuard, &["frozen processes", "tight: freezes"]), (Flaw::NeverGone, &["tight: data lost"])];

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
];
