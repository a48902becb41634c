//! Alert rules, their simulated cases, the dashboard and the runbook name what exists.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{deploy, folder, strings, tools};
use crate::docs;

/// What follows a family's name in the names of its samples.
const SAMPLES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The rules, each an alert.
fn rules() -> Vec<Value> {
    let file = &tools::documents(&["prometheus/alerts.yaml"])[0];
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("zoho_gateway_") || word.starts_with("process_"));
    names.map(|name| SAMPLES.iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name)).to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let documented = docs::metrics();
    let dashboard: Value = serde_json::from_str(&deploy("grafana/dashboard.json")).expect("JSON");
    let shown: BTreeSet<_> = strings(&dashboard).iter().flat_map(|text| metrics(text)).collect();
    let watched: BTreeSet<_> = strings(&Value::from(rules())).iter().flat_map(|text| metrics(text)).collect();
    assert!(watched.len() > 20, "{watched:?}");
    let unknown: Vec<_> = shown.union(&watched).filter(|name| !documented.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let hidden: Vec<_> = documented.difference(&shown).collect();
    assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
}

#[test]
fn every_alert_has_a_section_of_the_runbook() {
    let page = fs::read_to_string(folder().join("../docs/runbook.md")).expect("a page");
    let anchors = docs::anchors(&page);
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        let annotations = &rule["annotations"];
        assert!(annotations["summary"].as_str().is_some_and(|summary| summary.contains("{{")), "{name}");
        let url = annotations["runbook_url"].as_str().expect("a URL");
        let anchor = url.split_once("runbook.md#").map(|(_, anchor)| anchor);
        assert!(anchor.is_some_and(|anchor| anchor == name.to_lowercase() && anchors.contains(anchor)), "{url}");
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(page.contains(&format!("## {name}\n\n`{severity}`. ")), "{name}: {severity}");
        names.insert(name);
    }
    let sections: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(sections, names);
}

/// Each case says which alerts fire, and that no other does.
#[test]
fn every_alert_fires_in_a_simulated_case() {
    let cases = deploy("prometheus/alerts_test.yaml");
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name");
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "no case lets {name} fire");
    }
    let said = tools::promtool(&["test", "rules", "alerts_test.yaml"]);
    assert!(said.contains("SUCCESS") && !said.contains("FAILED"), "{said}");
}

#[test]
fn prometheus_reads_its_configuration() {
    let said = tools::promtool(&["check", "config", "prometheus.yaml"]);
    assert!(said.contains("alerts.yaml") && said.contains("valid prometheus config"), "{said}");
    // The rules name the job of this configuration and of the chart.
    let job = &tools::documents(&["prometheus/prometheus.yaml"])[0]["scrape_configs"][0]["job_name"];
    let named: BTreeSet<_> = strings(&Value::from(rules()))
        .iter()
        .flat_map(|text| text.split("job=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect::<Vec<_>>())
        .map(str::to_owned)
        .collect();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), [job.as_str().expect("a name")]);
}
