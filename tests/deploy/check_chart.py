"""Render the chart with given values and hold it against Kubernetes' schemas. Runs in what `make checkers` makes.

    .venv-deploy/bin/python tests/deploy/check_chart.py CHART VALUES.json VERSION ...

Prints JSON: what `helm lint` says, the objects, and what is wrong with them for each version of Kubernetes.
"""

from __future__ import annotations

import json
import sys

import helm_python
import kubernetes_validate
import yaml


def main(chart: str, values: str, *versions: str) -> None:
    """Print the findings."""
    with open(values) as file:
        given = json.load(file)
    with helm_python.Chart.load(chart) as loaded:
        rendered = loaded.render(given, name="calls", namespace="visavis")
    objects = [
        (template, found)
        for template, text in rendered.items()
        if not template.endswith(".txt")
        for found in yaml.safe_load_all(text)
        if found
    ]
    problems = []
    unknown = set()
    for template, found in objects:
        for version in versions:
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                unknown.add(f"{found['apiVersion']} {found['kind']}")
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{template}, Kubernetes {version}: {error.message}")
    lint = helm_python.lint(chart)
    print(
        json.dumps(
            {
                "lint": [found["error"] for found in lint["messages"] if found["severity"] > 1] + lint["errors"],
                "problems": problems,
                "unknown": sorted(unknown),
                "objects": [found for _, found in objects],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
