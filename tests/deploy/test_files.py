"""The files of deploy/ by the checkers of those who read them, and against each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from server.metrics import Metrics
from tests.deploy.dockerfile import ROOT
from tests.deploy.tools import DEPLOY, RECORDINGS, run, tool

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "visavis.json").read_text())
ALERTS = (DEPLOY / "alerts.yml").read_text()
TESTS_OF_ALERTS = ROOT / "tests" / "deploy" / "alerts_test.yml"
FROM_PROMETHEUS = {"up", "ALERTS"}
ITS_LABELS = {"instance", "job", "le", "alertname", "alertstate"}


def expressions() -> list[str]:
    """Those of the dashboard."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_compose_files_are_what_the_specification_says() -> None:
    run(
        tool("check-jsonschema"),
        *("--builtin-schema", "vendor.compose-spec"),
        *(DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml"),
    )


def test_what_compose_mounts_is_there_and_what_it_wants_is_documented() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    mounted = re.findall(r"^\s+- (\./[^:]+):", text, re.MULTILINE)
    assert len(mounted) >= 4
    assert all((DEPLOY / path).exists() for path in mounted)
    example = (DEPLOY / "visavis.env.example").read_text()
    for name in set(re.findall(r"\$\{([A-Z_]+):\?", text)):
        assert re.search(rf"^#?{name}=", example, re.MULTILINE), name


def test_compose_keeps_what_must_outlast_a_container() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    declared = re.findall(r"^  (\w+):$", text.partition("\nvolumes:\n")[2], re.MULTILINE)
    mounted = dict(re.findall(r"^\s+- (\w+):(/\S+)$", text, re.MULTILINE))
    assert set(mounted) == set(declared)
    assert mounted["recordings"] == RECORDINGS
    assert RECORDINGS in (DEPLOY / "visavis.env.example").read_text()


def test_the_proxy_is_valid() -> None:
    caddy = tool("caddy")
    run(caddy, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile", DOMAIN="calls.example.org")
    run(caddy, "fmt", "--diff", DEPLOY / "Caddyfile")


def test_prometheus_takes_its_configuration_and_the_alerts() -> None:
    promtool = tool("promtool")
    run(promtool, "check", "config", DEPLOY / "prometheus.yml")
    run(promtool, "check", "rules", DEPLOY / "alerts.yml")


def test_each_alert_fires_at_what_it_is_for_and_at_nothing_else() -> None:
    run(tool("promtool"), "test", "rules", TESTS_OF_ALERTS)


def test_each_alert_has_a_test() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS))
    assert alerts == set(re.findall(r"alertname=\"(\w+)\"", TESTS_OF_ALERTS.read_text()))


def test_the_dashboards_expressions_are_understood_by_prometheus(tmp_path: Path) -> None:
    rules = [{"record": f"check:{number}", "expr": expression} for number, expression in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(tool("promtool"), "check", "rules", "--lint=none", path)


def served() -> dict[str, set[str]]:
    """Labels by name of everything that /metrics can show."""
    metrics = Metrics()
    metrics.watch_gpu(lambda: (0, 1))
    metrics.watch_udp_port(lambda: 0, lambda: {"unknown": 0})
    metrics.watch_nodes(lambda: True)
    found: dict[str, set[str]] = {}
    for collector in list(metrics._registry._collector_to_names):
        labels = set(getattr(collector, "_labelnames", ()))
        for name in metrics._registry._collector_to_names[collector]:
            found[name] = labels
        for family in collector.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_dashboard_and_alerts_ask_for_what_is_measured() -> None:
    known = served()
    wanted = [*expressions(), *re.findall(r"expr: (?:>\n)?((?:.|\n)*?)\n\s+(?:for|labels):", ALERTS)]
    assert len(wanted) > 20
    for expression in wanted:
        names = set(re.findall(r"\b((?:visavis|process)_\w+|up|ALERTS)\b", expression))
        assert names, expression
        assert names <= set(known) | FROM_PROMETHEUS, expression
        labels = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
        labels |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|!~|=)", expression))
        assert labels <= set().union(*(known.get(name, set()) for name in names)) | ITS_LABELS, expression


def test_the_dashboard_shows_what_runs_out() -> None:
    text = " ".join(expressions())
    for name in (
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "visavis_gpu_memory_used_bytes",
        "visavis_render_seconds_total",
        "visavis_media_bytes_total",
    ):
        assert name in text


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    source = re.search(
        r"uid: (\w+)", (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    assert source is not None
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": source[1]}
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
