//! The Helm chart and the plain manifests.

use std::{env, fs};

use serde_json::{Value, json};

use super::{CONFIG, folder, tools};
use crate::support::Process;

/// Values of the chart, with credentials.
fn values(more: Value) -> Value {
    let mut values = json!({ "credentials": { "existingSecret": "zoho-credentials" } });
    values.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
    values
}

fn redis() -> Value {
    json!({ "url": "redis://zoho-redis:6379", "existingSecret": "zoho-redis" })
}

#[track_caller]
fn one<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let found: Vec<_> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind} in {:?}", kinds(documents));
    found[0]
}

fn kinds(documents: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().expect("a kind")).collect();
    kinds.sort_unstable();
    kinds
}

/// The value of a variable of a container.
fn variable<'c>(container: &'c Value, name: &str) -> Option<&'c str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    for file in ["kubernetes.yaml", "redis.yaml", "kubernetes-service.yaml"] {
        assert!(tools::manifests(&[file]).len() > 2, "{file}");
    }
}

/// `UPDATE_PAGES=1` writes the file.
#[test]
fn the_manifest_of_the_service_is_what_the_chart_makes() {
    let documents = tools::rendered(&values(json!({})));
    let mut text = "# The gateway as a service of the whole cluster, made from deploy/helm/zoho-gateway with its default values; a test writes\n\
                    # this file. Replace the image, the account and the callers.\n#\n\
                    # The credentials are a separate Secret, created outside this file, with the keys client_secret and refresh_token.\n"
        .to_owned();
    for mut document in documents {
        for pointer in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
                labels.remove("helm.sh/chart");
                labels.remove("app.kubernetes.io/managed-by");
            }
        }
        // A person who edits the configuration here has no Helm that renews the checksum.
        if let Some(metadata) = document.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut) {
            metadata.remove("annotations");
        }
        // JSON is YAML too, but a person reads this file.
        text.push_str("---\n");
        write(&document, 0, &mut text);
    }
    let path = folder().join("kubernetes-service.yaml");
    if env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&path, &text).expect("written");
    }
    assert_eq!(fs::read_to_string(path).expect("a file"), text, "run this test with UPDATE_PAGES=1");
}

/// Writes a table of YAML in block style.
fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for (key, value) in value.as_object().expect("a table") {
        text.push_str(&format!("{indent}{key}:"));
        write_after(value, depth, text);
    }
}

fn write_after(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth + 1);
    match value {
        Value::Object(table) if !table.is_empty() => {
            text.push('\n');
            write(value, depth + 1, text);
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            text.push('\n');
            for item in items {
                let mut lines = String::new();
                write(item, depth + 2, &mut lines);
                text.push_str(&format!("{indent}- {}", lines.trim_start()));
            }
        }
        Value::String(lines) if lines.contains('\n') => {
            text.push_str(" |\n");
            for line in lines.lines() {
                text.push_str(if line.is_empty() { "" } else { &indent });
                text.push_str(&format!("{line}\n"));
            }
        }
        Value::String(word) if is_plain(word) => text.push_str(&format!(" {word}\n")),
        // Numbers, flags and lists of words look the same in both; a quoted text is never anything else.
        _ => text.push_str(&format!(" {value}\n")),
    }
}

/// Whether a text needs no quotes in YAML.
fn is_plain(word: &str) -> bool {
    let is_text = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte));
    let is_value =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&word.to_lowercase().as_str());
    is_text && is_word && !is_value
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = &tools::documents(&["helm/zoho-gateway/Chart.yaml"])[0];
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn one_gateway_serves_the_cluster() {
    let documents = tools::rendered(&values(json!({})));
    assert_eq!(
        kinds(&documents),
        ["ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Service"],
        "without Redis there is one pod, and a budget would block its node"
    );
    let spec = &one(&documents, "Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["restartPolicy"], Value::Null);
    assert_eq!(variable(container, "ZOHO_GATEWAY__PROXY__LISTEN"), Some("0.0.0.0:8080"));
    let service = &one(&documents, "Service")["spec"];
    assert_eq!(service["ports"].as_array().map(Vec::len), Some(1), "the admin listener is no part of it");
    assert_eq!(service["selector"], spec["selector"]["matchLabels"]);
    let policy = &one(&documents, "NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"], spec["selector"]["matchLabels"]);
}

#[test]
fn several_gateways_share_redis() {
    let documents =
        tools::rendered(&values(json!({ "replicas": 3, "redis": redis(), "podMonitor": { "enabled": true } })));
    assert_eq!(
        kinds(&documents),
        ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Service"]
    );
    let spec = &one(&documents, "Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(3), &json!("RollingUpdate")));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["shareProcessNamespace"], true);
    assert_eq!(variable(&pod["containers"][0], "ZOHO_GATEWAY__STATE__DIR"), Some("none"));
    let endpoint = &one(&documents, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    let ports = pod["containers"][0]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|port| port["name"] == endpoint["port"]));
}

/// An upgrade must not reset the number that the autoscaler chose.
#[test]
fn the_autoscaler_alone_decides_the_number_of_pods() {
    let documents = tools::rendered(&values(json!({ "redis": redis(), "autoscaling": { "enabled": true } })));
    assert_eq!(one(&documents, "Deployment")["spec"].get("replicas"), None);
    let scaled = &one(&documents, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"];
    assert_eq!(*scaled, one(&documents, "Deployment")["metadata"]["name"]);
}

#[test]
fn a_sidecar_starts_before_its_service_and_ends_after_it() {
    let credentials = json!({ "values": { "client_secret": "c", "refresh_token": "r" } });
    let documents = tools::rendered(&json!({ "mode": "sidecar", "credentials": credentials }));
    assert_eq!(kinds(&documents), ["ConfigMap", "Deployment", "PersistentVolumeClaim", "Secret"]);
    let pod = &one(&documents, "Deployment")["spec"]["template"]["spec"];
    let (gateway, services) = (&pod["initContainers"][0], pod["containers"].as_array().expect("containers"));
    assert_eq!((gateway["name"].as_str(), gateway["restartPolicy"].as_str()), (Some("zoho-gateway"), Some("Always")));
    assert_eq!(services.len(), 1);
    assert_eq!(variable(gateway, "ZOHO_GATEWAY__PROXY__LISTEN"), None, "it listens on loopback");
    assert_eq!(gateway["ports"], Value::Null);
    let drain = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(drain.is_some_and(|seconds| seconds > 30), "{drain:?}");
}

#[test]
fn contradictions_are_explained() {
    for (wrong, words) in [
        (values(json!({ "replicas": 2 })), "set redis.url"),
        (values(json!({ "autoscaling": { "enabled": true } })), "set redis.url"),
        (values(json!({ "redis": { "url": "redis://r" } })), "redis.existingSecret"),
        (values(json!({ "mode": "daemon" })), "mode is"),
        (json!({}), "credentials.existingSecret"),
    ] {
        let said = tools::rejected(&wrong);
        assert!(said.contains(words), "{said}");
    }
}

/// The gateway accepts what the chart gives it.
#[test]
fn the_program_accepts_the_configuration_of_the_chart() {
    for more in [json!({}), json!({ "replicas": 2, "redis": redis() }), json!({ "mode": "sidecar" })] {
        let documents = tools::rendered(&values(more.clone()));
        let pod = &one(&documents, "Deployment")["spec"]["template"]["spec"];
        let kind = if more["mode"] == "sidecar" { "initContainers" } else { "containers" };
        let container = &pod[kind][0];
        let text = one(&documents, "ConfigMap")["data"]["gateway.toml"].as_str().expect("a file");
        let place = tempfile::tempdir().expect("a folder");
        let moved = |text: &str| {
            text.replace("/run/secrets/zoho", &place.path().display().to_string())
                .replace("/run/secrets/redis", &place.path().display().to_string())
                .replace("/var/lib/zoho-gateway", &place.path().display().to_string())
        };
        for secret in ["client_secret", "refresh_token", "password"] {
            fs::write(place.path().join(secret), "1000.c11e27").expect("written");
        }
        let file = place.path().join("gateway.toml");
        fs::write(&file, moved(text)).expect("written");
        let variables = container["env"].as_array().expect("variables").iter();
        let variables: Vec<_> = variables
            .map(|variable| {
                (variable["name"].as_str().expect("a name"), moved(variable["value"].as_str().expect("one")))
            })
            .collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ended = Process::run(&["check", "--config", file.to_str().expect("UTF-8")], &variables);
        assert_eq!(ended.code, Some(0), "{more}: {ended:?}");
        let command = json!(["run", "--config", CONFIG]);
        assert_eq!(container["args"], command);
    }
}
