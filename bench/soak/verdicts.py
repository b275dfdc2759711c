"""Whether what was published is what the samples give: some published scores beside their replay by `explain`."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import requests

from exporter.config import Config
from exporter.connections import Sessions, make_client
from exporter.errors import SourceError
from exporter.explain.explainer import Explainer
from exporter.explain.question import ExplainError, Question
from exporter.publish.explain_link import quoted

_MODEL = "robust_band"
_TOLD = 5
_ADDED = ("__name__", "query", "model")


@dataclass(slots=True)
class Judge:
    """Compares samples of what `url`, a Prometheus, has scraped of the exporter. `config` reads the same server."""

    url: str
    config: Config
    seed: int
    found: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def compare(self, count: int) -> None:
        """Explain some published scores of now. They count as equal, wrong, or not there any more."""
        shown = self._published()
        rng = Random(f"{self.seed} {sum(self.found.values())}")
        with Sessions(self.config) as sessions:
            stop = threading.Event()
            explainer = Explainer(self.config, lambda tenant: make_client(self.config, sessions, tenant, stop=stop))
            for labels in rng.sample(shown, min(count, len(shown))):
                self._one(explainer, labels)

    def _published(self) -> list[dict[str, str]]:
        """The labels of all series that have a score now."""
        ask = {"query": f'anomaly_score{{model="{_MODEL}"}}'}
        answer = requests.get(f"{self.url}/api/v1/query", params=ask, timeout=60).json()
        return sorted((one["metric"] for one in answer["data"]["result"]), key=lambda own: sorted(own.items()))

    def _one(self, explainer: Explainer, labels: dict[str, str]) -> None:
        selector = ",".join(f"{name}={quoted(text)}" for name, text in labels.items() if name not in _ADDED)
        now_s = time.time()
        try:
            told = explainer.explain(Question(labels["query"], f"{{{selector}}}", at=f"{now_s:.3f}"), now_s)
        except (ExplainError, SourceError) as error:
            self.found["not explained"] += 1
            self._tell(f"{selector}: {error}")
            return
        word = {True: "equal", False: "wrong", None: "gone"}[told.reproduced]
        self.found[word] += 1
        if word == "wrong":
            self._tell(f"{selector} at {now_s:.0f}: replayed {told.numbers}, published {told.published}")

    def _tell(self, words: str) -> None:
        if len(self.wrong) < _TOLD:
            self.wrong.append(words)
