"""Scrapes the Prometheus metrics of a service: whether it serves, and how many refusals it did not record."""

from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from estelam.core.model import Outcome
from quality.records import MetricsSample

TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 1 << 20

# Metrics are on the internal network: proxies of the environment must not be used.
_OPENER = build_opener(ProxyHandler({}))


class ScrapeError(Exception):
    """The metrics can't be read."""


def scrape(url: str, sample: MetricsSample) -> MetricsSample:
    """Return *sample* completed with the metrics at *url*.

    Raises:
        ScrapeError: the metrics can't be read or parsed.
    """
    try:
        with _OPENER.open(url, timeout=TIMEOUT_SECONDS) as reply:
            text = reply.read(MAX_RESPONSE_BYTES).decode("utf-8")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (OSError, HTTPException, ValueError, KeyError, IndexError) as error:
        raise ScrapeError(type(error).__name__) from None
    inquiries = _named(samples, "estelam_inquiries_total")
    answered = sum(one.value for one in inquiries if one.labels.get("outcome") in set(Outcome))
    return replace(
        sample,
        serving=any(one.value == 1 for one in _named(samples, "estelam_serving")),
        answered=int(answered),
        refused=int(sum(one.value for one in inquiries) - answered),
        unrecorded=int(sum(one.value for one in _named(samples, "estelam_unrecorded_refusals_total"))),
    )


def _named(samples: list[Any], name: str) -> list[Any]:
    return [sample for sample in samples if sample.name == name]
