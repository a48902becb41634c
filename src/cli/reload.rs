//! `reload`: asks a running gateway to read its configuration again.

use http::{Method, StatusCode};

use super::{Failure, RunningGateway, admin::AdminListener, print};
use crate::app::admin::reload::ReloadReport;

pub(super) async fn reload(gateway: RunningGateway) -> Result<(), Failure> {
    let listener = AdminListener::find(&gateway)?;
    let (status, body) = listener.ask(Method::POST, "/reload").await?;
    let report: Option<ReloadReport> = serde_json::from_str(&body).ok();
    match (status, report) {
        (StatusCode::OK, Some(report)) => Ok(print(&in_words(&report))?),
        (StatusCode::UNPROCESSABLE_ENTITY, Some(report)) => {
            let errors = report.errors.join("\n");
            Err(Failure::Usage(format!("the configuration before stays in force\n{errors}")))
        }
        _ => Err(Failure::Run(format!("the admin listener answers {status}: {body}"))),
    }
}

fn in_words(report: &ReloadReport) -> String {
    let mut text = match report.changed.as_slice() {
        [] => "reloaded; no key has changed\n".to_owned(),
        changed => format!("reloaded; changed: {}\n", changed.join(", ")),
    };
    if !report.needs_restart.is_empty() {
        text += &format!("the old values hold until a restart: {}\n", report.needs_restart.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::admin::reload::{Outcome, Trigger};

    #[test]
    fn says_what_changed_and_what_needs_a_restart() {
        let mut report = ReloadReport {
            at: String::new(),
            trigger: Trigger::Request,
            outcome: Outcome::Applied,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            errors: Vec::new(),
        };
        assert_eq!(in_words(&report), "reloaded; no key has changed\n");
        report.changed = vec!["proxy.listen".to_owned(), "queue.max_wait".to_owned()];
        report.needs_restart = vec!["proxy.listen".to_owned()];
        assert_eq!(
            in_words(&report),
            "reloaded; changed: proxy.listen, queue.max_wait\nthe old values hold until a restart: proxy.listen\n"
        );
    }
}
