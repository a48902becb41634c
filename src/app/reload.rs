//! Reloads the configuration while the gateway runs.
//!
//! SIGHUP, a change of the file, and POST /reload ask for it. The configuration is validated as a whole, exactly as at the
//! start, and applied as a whole or not at all. One reload runs at a time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};
use tower::util::BoxCloneSyncService;

use super::{
    admin::reload::{Outcome, ReloadReport, Reloads, Trigger, Wish},
    configured::{Before, Configured},
    current::Current,
    kept::Kept,
};
use crate::{
    config::{self, Config, Overrides, SetKeys},
    os::{clock, shutdown::Shutdown},
    secret::file_watch,
    telemetry,
};

/// A file that was just replaced may be replaced once more, or be incomplete.
const SETTLES: Duration = Duration::from_millis(300);

/// The configuration as the process gets it: a file, and the environment.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// The path.
    pub path: PathBuf,
    /// The environment at the start, which does not change, and the command's options.
    pub overrides: Overrides,
}

/// Replaces one configuration by the next.
pub(super) struct Reloader {
    /// `None` for a configuration that is in no file.
    pub(super) file: Option<ConfigFile>,
    pub(super) kept: Arc<Kept>,
    pub(super) configured: Configured,
    /// The keys at the start.
    pub(super) at_start: SetKeys,
    pub(super) proxy: Current,
    pub(super) admin: Current,
    pub(super) reloads: Reloads,
}

impl Reloader {
    /// Fulfils wishes until the drain begins. Returns the last configuration, whose files are followed until it is dropped.
    pub(super) async fn run(mut self, mut wishes: mpsc::Receiver<Wish>) -> Configured {
        let shutdown = self.kept.shutdown.clone();
        loop {
            let wish = tokio::select! {
                () = shutdown.draining() => return self.configured,
                wish = wishes.recv() => wish,
            };
            let Some(Wish { trigger, report }) = wish else { return self.configured };
            let outcome = tokio::select! {
                () = shutdown.draining() => return self.configured,
                outcome = self.reload(trigger) => outcome,
            };
            log(&outcome);
            self.reloads.ended(outcome.clone());
            // The one that asked may have left.
            let _ = report.send(outcome);
        }
    }

    /// The present configuration receives requests.
    pub(super) fn serve(&self) {
        self.proxy.set(self.configured.stack(&self.kept));
        self.admin.set(BoxCloneSyncService::new(self.configured.admin(&self.kept, &self.reloads)));
    }

    async fn reload(&mut self, trigger: Trigger) -> ReloadReport {
        let mut report = ReloadReport {
            at: String::new(),
            trigger,
            outcome: Outcome::Refused,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            errors: Vec::new(),
        };
        match self.replace().await {
            Ok((changed, needs_restart)) => {
                (report.outcome, report.changed, report.needs_restart) = (Outcome::Applied, changed, needs_restart);
            }
            Err(errors) => report.errors = errors,
        }
        let at = jiff::Timestamp::try_from(clock::wall()).and_then(|at| at.round(jiff::Unit::Millisecond));
        report.at = at.map_or_else(|_| String::new(), |at| at.to_string());
        report
    }

    /// Returns the keys that have changed, and those of them that need a restart.
    async fn replace(&mut self) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
        let Some(file) = self.file.clone() else {
            return Err(vec!["run --sandbox has no configuration file".to_owned()]);
        };
        // Files may be on a disk that no longer responds.
        let loading = spawn_blocking(move || config::load(&file.path, file.overrides));
        let loaded = loading.await.map_err(|_| vec!["the reader of the configuration has panicked".to_owned()])?;
        let mut config: Config =
            loaded.map_err(|errors| errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let changed = self.configured.config.keys.changed(&config.keys);
        let needs_restart = config.keep_until_restart(&self.configured.config, &self.at_start);
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let before = Before { configured: &self.configured, changed: &changed };
        let next = Configured::new(&self.kept, config, Some(&before)).map_err(|error| vec![error.to_string()])?;
        // First the rules of the ledger: a call that comes with the next configuration finds them.
        next.apply(&self.kept);
        // Otherwise a level that an operator has set meanwhile stays.
        if config::concern(&changed, "log") {
            telemetry::configure_log(next.config.log.format, &next.config.log.level);
        }
        self.configured = next;
        self.serve();
        Ok((changed, needs_restart))
    }
}

fn log(report: &ReloadReport) {
    let ReloadReport { trigger, outcome, changed, needs_restart, errors, .. } = report;
    let (changed, needs_restart) = (changed.join(", "), needs_restart.join(", "));
    if *outcome == Outcome::Refused {
        let errors = errors.join("\n");
        tracing::error!(?trigger, "the configuration was not reloaded, and the one before stays in force:\n{errors}");
        return;
    }
    tracing::info!(?trigger, changed, "the configuration was reloaded");
    if !needs_restart.is_empty() {
        tracing::warn!(
            keys = needs_restart,
            "these keys have changed and need a restart; until then their old values hold"
        );
    }
}

/// Asks for a reload whenever the content of the file has changed and stays the same for a moment. Ends with the drain.
pub(super) async fn follow_file(file: ConfigFile, reloads: Reloads, shutdown: Shutdown) {
    let (changes, mut changed) = mpsc::channel(1);
    let known = Mutex::new(read(&file));
    let look = move || {
        let mut known = known.lock();
        let mut content = read(&file);
        if content == *known || content.is_none() {
            return;
        }
        loop {
            std::thread::sleep(SETTLES);
            let again = read(&file);
            if again == content {
                break;
            }
            content = again;
        }
        *known = content;
        // A full channel has the same wish already.
        let _ = changes.try_send(());
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(file_watch::until_draining(shutdown, look));
    while changed.recv().await.is_some() {
        reloads.ask(Trigger::File).await;
    }
}

/// A file that is missing for a moment is no change.
fn read(file: &ConfigFile) -> Option<Vec<u8>> {
    file_watch::read(&file.path, config::LONGEST_FILE).ok().map(|content| content.expose().to_vec())
}
