"""Reads and checks the files of deploy/ for tests/it/deploy. Prints JSON.

json FILE...         the documents of YAML files
validate FILE...     the same, after a check against the schemas of Kubernetes
render CHART VALUES  the documents of a Helm chart with these values (JSON), after `helm lint` and the same check
"""

import json
import sys

import yaml

# The oldest release that the chart supports, and a recent one.
RELEASES = ["1.29", "1.34"]


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def validated(found):
    import kubernetes_validate

    for document in found:
        # Of the Prometheus operator; its schema is not Kubernetes' own.
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        for release in RELEASES:
            kubernetes_validate.validate(document, release, strict=True)
    return found


def rendered(chart, values):
    import helm_python

    report = helm_python.lint(chart, values, strict=True)
    faults = report["errors"] + [found for found in report["messages"] if found["severity"] > 1]
    if faults:
        sys.exit(f"helm lint: {faults}")
    pages = helm_python.Chart.load(chart).render(values, name="zoho-gateway", namespace="zoho")
    return [document for path in sorted(pages) if path.endswith(".yaml") for document in documents(pages[path])]


def main(command, *arguments):
    if command == "render":
        chart, values = arguments
        return validated(rendered(chart, json.loads(values)))
    found = [document for path in arguments for document in documents(open(path, encoding="utf-8"))]
    return validated(found) if command == "validate" else found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
