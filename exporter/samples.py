"""What a query's answer becomes: flat arrays of samples, series by series, with the raw bytes of each label set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of n series.

    Shapes: ``label_start, label_end, label_hash`` (n,), ``first`` (n + 1,), ``time_ms, value`` (m,).
    Series i has the label JSON object ``body[label_start[i]:label_end[i]]`` (braces included) and the samples
    ``first[i]:first[i + 1]`` in the order the server sent them. ``value`` may be NaN or infinite. ``histograms``
    counts native-histogram samples, which are skipped.
    """

    body: Bytes
    label_start: npt.NDArray[np.int64]
    label_end: npt.NDArray[np.int64]
    label_hash: npt.NDArray[np.uint64]
    first: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    histograms: int = 0

    @property
    def series(self) -> int:
        """Number of series in the batch."""
        return len(self.label_hash)

    def label_bytes(self, index: int) -> bytes:
        """The raw label JSON of one series."""
        return self.body[self.label_start[index] : self.label_end[index]].tobytes()
