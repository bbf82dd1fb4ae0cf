"""The Helm chart by Helm's own library, and against Kubernetes' schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dockerfile import ROOT
from tests.deploy.tools import DEPLOY, RECORDINGS, environment_python, run

CHART = DEPLOY / "helm" / "visavis"
VERSIONS = ("1.30", "1.37")
KEY = {"apiKey": "key", "apiSecret": 32 * "s"}

VALUES: dict[str, dict[str, Any]] = {
    "least": KEY,
    "existing secret": {"existingSecret": "calls"},
    "ingress and TURN": KEY
    | {"turnSecret": "secret", "ingress": {"enabled": True, "className": "nginx", "host": "calls.example.org"}},
    "GPU at a public address": KEY | {"gpus": 1, "publicAddress": "192.0.2.1"},
    "recordings": KEY | {"recordings": {"enabled": True, "storageClass": "fast"}},
}


@pytest.mark.parametrize("case", list(VALUES))
def test_the_chart_is_valid(case: str, tmp_path: Path) -> None:
    python = environment_python("helm_python", "kubernetes_validate", "yaml")
    values = tmp_path / "values.json"
    values.write_text(json.dumps(VALUES[case]))
    found = json.loads(run(python, ROOT / "tests" / "deploy" / "check_chart.py", CHART, values, *VERSIONS))
    assert found["lint"] == []
    assert found["problems"] == []
    kinds = [described["kind"] for described in found["objects"]]
    assert {"Service"} < set(kinds)
    assert ("Secret" in kinds) == ("existingSecret" not in VALUES[case])
    assert ("Ingress" in kinds) == ("ingress" in VALUES[case])
    # Kinds that others define, as PodMonitor and ScaledObject: there is no schema here, but a form they share.
    assert all("." in kind.split("/")[0] for kind in found["unknown"])
    for described in found["objects"]:
        assert described["metadata"]["name"].startswith("calls")
    identities = [(described["kind"], described["metadata"]["name"]) for described in found["objects"]]
    assert len(set(identities)) == len(identities)


def test_one_udp_port_reaches_the_receiver(tmp_path: Path) -> None:
    """However the pods are made: the port that is opened is the one that the receiver is told."""
    python = environment_python("helm_python", "kubernetes_validate", "yaml")
    values = tmp_path / "values.json"
    values.write_text(json.dumps(KEY | {"udpPort": 9000}))
    found = json.loads(run(python, ROOT / "tests" / "deploy" / "check_chart.py", CHART, values, VERSIONS[-1]))
    pods = [
        described["spec"]["template"]["spec"]
        for described in found["objects"]
        if "template" in described.get("spec", {})
    ]
    assert pods
    for pod in pods:
        (receiver,) = pod["containers"]
        told = {entry["name"]: entry.get("value") for entry in receiver["env"]}
        opened = [port["containerPort"] for port in receiver["ports"] if port.get("protocol") == "UDP"]
        assert opened == [9000]
        assert told["VISAVIS_UDP_PORT"] == "9000"


@pytest.mark.parametrize("enabled", [False, True])
def test_recordings_have_a_volume_of_their_own_where_they_are_wanted(enabled: bool, tmp_path: Path) -> None:
    python = environment_python("helm_python", "kubernetes_validate", "yaml")
    values = tmp_path / "values.json"
    values.write_text(json.dumps(KEY | {"recordings": {"enabled": enabled, "size": "7Gi"}}))
    found = json.loads(run(python, ROOT / "tests" / "deploy" / "check_chart.py", CHART, values, VERSIONS[-1]))
    (described,) = [described["spec"] for described in found["objects"] if described["kind"] == "StatefulSet"]
    pod = described["template"]["spec"]
    (receiver,) = pod["containers"]
    told = {entry["name"]: entry.get("value") for entry in receiver["env"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in receiver["volumeMounts"]}
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in described.get("volumeClaimTemplates", [])}
    # Every other volume is the pod's.
    assert set(mounted.values()) == {volume["name"] for volume in pod["volumes"]} | set(claims)
    assert ("VISAVIS_RECORDINGS" in told) == (RECORDINGS in mounted) == bool(claims) == enabled
    if enabled:
        assert told["VISAVIS_RECORDINGS"] == RECORDINGS
        assert claims[mounted[RECORDINGS]]["resources"]["requests"]["storage"] == "7Gi"
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"], "it may write there"
