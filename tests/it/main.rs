//! The integration tests: the real program, as a process, in front of the simulated Zoho or a server that misbehaves.
//!
//! Everything starts with `support/`: it starts the processes, speaks HTTP, and checks at the end of each test that
//! the output has no panic and no secret, and that the exit code is 0.

#[cfg(test)]
mod support;

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod actions;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod audit;
mod audit_kept;
#[cfg(test)]
mod bookings;
#[cfg(test)]
mod burst;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cut_answers;
#[cfg(test)]
mod daily;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod docs;
mod docs_commands;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod dry_run;
mod egress;
#[cfg(test)]
mod external_use;
#[cfg(test)]
mod first_minutes;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod further_limits;
#[cfg(test)]
mod hangups;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hygiene;
#[cfg(test)]
mod import_cycles;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod live_page;
#[cfg(test)]
mod locations;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod login;
#[cfg(test)]
mod logs;
mod memory;
mod merge;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod output;
#[cfg(test)]
mod payloads;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod ratelimit;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod report;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod sandbox_mode;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod shared;
mod shares;
#[cfg(test)]
mod status;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod take_over;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tls_inbound;
#[cfg(test)]
mod token_faults;
#[cfg(test)]
mod token_life;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod unauthorized;
#[cfg(test)]
mod unix_socket;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod upstream_faults;
