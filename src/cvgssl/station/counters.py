"""Counters of a station for Prometheus."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from cvgssl.station.answering import Answering

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Counters:
    """What is counted."""

    def __init__(self, answering: "Answering") -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "cvgssl_request_seconds",
            "Seconds from the whole head of a request to its answer.",
            ("path", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "cvgssl_pictures",
            "Pictures by answer; unreadable ones have the answer unreadable.",
            ("answer", "kind"),
            registry=registry,
        )
        batches = Histogram(
            "cvgssl_batch_pictures",
            "Pictures that were recognized together.",
            buckets=_SIZES,
            registry=registry,
        )
        answering.gatherer.on_batch = batches.observe
        waiting = Gauge(
            "cvgssl_waiting_pictures", "Pictures that were taken and have no answer yet.",
            registry=registry,
        )  # fmt: skip
        waiting.set_function(lambda: answering.gatherer.taken)
        live = Gauge("cvgssl_live_version", "Version that answers, or 0.", registry=registry)
        live.set_function(lambda: answering.live.version.number if answering.live else 0)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).observe(seconds)

    def count(self, answers: Sequence[dict[str, Any]]) -> None:
        """Count the answers about pictures."""
        for answer in answers:
            if "error" in answer:
                self._pictures.labels("", "unreadable").inc()
            else:
                kind = "class" if answer["answer"] == answer["class"] else answer["answer"]
                self._pictures.labels(answer["answer"], kind).inc()

    def text(self) -> tuple[bytes, str]:
        """All counters, and their content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
