"""Alert rules and the dashboard under `deploy/` use metrics that the processes export, and each alert has a runbook."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from estelam.catalogue.loader import read_catalogue
from estelam.core.errors import ERROR_CATALOGUE, Layer
from estelam.core.model import Outcome
from estelam.telemetry.metrics import Metrics
from estelam.witness.metrics import WitnessMetrics
from estelam.witness.rejections import RejectionReason
from quality import slo
from quality.monitor.monitor_metrics import MonitorMetrics
from quality.slo import Sli

ROOT = Path(__file__).parents[2]
PROMETHEUS, DASHBOARD = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana" / "estelam.json"
PROMTOOL = shutil.which("promtool")
OF_THE_TARGET = {"service", "instance", "job"}
VALUES = {
    "outcome": {*map(str, Outcome), *ERROR_CATALOGUE, "cosigned", *map(str, RejectionReason), ""},
    "layer": set(map(str, Layer)),
    "origin": {""},
    "use": {"tls", "signing", "client", "revocation_list", "probe", "report"},
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[str]:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])


def exported() -> dict[str, set[str]]:
    """The labels of each exported series, by its name."""
    found: dict[str, set[str]] = {}
    for process in (Metrics(), WitnessMetrics(), MonitorMetrics()):
        for metric in process.registry._collector_to_names:
            name, labels = getattr(metric, "_name", None), set(getattr(metric, "_labelnames", ()))
            match getattr(metric, "_type", None):
                case "counter":
                    found[f"{name}_total"] = labels
                case "gauge":
                    found[str(name)] = labels
                case "histogram":
                    found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
    return found


RECORDED = {rule["record"] for rule in rules() if "record" in rule}
EXPRESSIONS = [rule["expr"] for rule in rules()] + list(queries())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_metrics_exist(expression: str) -> None:
    """Every metric and label that an alert or a panel names is exported, with values that occur."""
    known = exported()
    named = re.findall(r"(?<![\w:])(estelam_\w+|service:[\w:]+)(?:\{([^}]*)\})?", expression)
    for name, matchers in named:
        assert name in known or name in RECORDED
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            assert label in known.get(name, set()) | OF_THE_TARGET
            if label in VALUES:
                assert set(value.split("|") if "~" in operator else [value]) <= VALUES[label]
    labels = {label.strip() for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in by.split(",")}

    assert named or re.match(r"up\b|ALERTS\b", expression)
    assert labels <= OF_THE_TARGET.union(*known.values())


def test_every_alert_has_a_runbook() -> None:
    """Every alert links to a section of the runbooks that bears its name, and no section is of another."""
    alerts = [rule for rule in rules() if "alert" in rule]
    sections = re.findall(r"^### (Estelam\w+)$", (ROOT / "docs" / "runbooks.md").read_text("utf-8"), re.MULTILINE)

    assert [rule["alert"] for rule in alerts] == sections
    assert {rule["annotations"]["runbook_url"] for rule in alerts} == {
        f"docs/runbooks.md#{name.lower()}" for name in sections
    }
    assert all({"summary", "summary_fa"} < rule["annotations"].keys() for rule in alerts)
    assert {rule["labels"]["severity"] for rule in alerts} == {"page", "ticket"}


def test_bounds_are_those_of_the_rules() -> None:
    """The alerts on failures and slow answers use the bounds of the minimum rules."""
    rulebook = slo.read(ROOT / "rules" / "quality.toml", read_catalogue(ROOT / "catalogue"))
    bounds = {each.metric: each.at_most for each in rulebook.rule_set(rulebook.entering).objectives}
    texts = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}

    for name in ("EstelamFailuresFast", "EstelamFailuresSlow"):
        assert {float(found) * 100 for found in re.findall(r"\* ([0-9.]+)", texts[name])} == {bounds[Sli.ERROR_RATE]}
    assert float(texts["EstelamAnswersSlow"].rpartition("> ")[2]) * 1000 == bounds[Sli.P95]


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_promtool(arguments: tuple[str, ...]) -> None:
    """Promtool accepts the configuration, and each alert fires in its test and not in that of a healthy service."""
    done = subprocess.run([PROMTOOL, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)  # type: ignore[list-item]

    assert 0 == done.returncode, done.stderr


def test_every_alert_is_tested() -> None:
    """Every alert fires in a test of `alerts_test.yaml`."""
    text = (PROMETHEUS / "alerts_test.yaml").read_text("utf-8")

    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(re.findall(r'alertname="(\w+)"', text))
