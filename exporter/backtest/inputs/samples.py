"""What a file of samples becomes: series with their labels, samples in order of series and time, each moment once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.backtest.faults import BacktestError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_SAMPLES = 200_000_000  # 24 bytes each while they are read
MILLISECONDS_FROM = 1e11  # as seconds, this is the year 5138
LATEST_MS = 253_402_300_799_000  # the end of the year 9999
_TOLD = 5

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples (m,) of series: `of` the number of the series, ascending, and within it `time_ms`, each once; all values
    are finite. `labels` by series, `__name__` among them where the file has one; `remarks` say what was left out."""

    labels: tuple[Labels, ...]
    of: I64
    time_ms: I64
    value: F64
    remarks: tuple[str, ...] = ()

    def part(self, chosen: Sequence[int]) -> Samples:
        """Some of the series, ascending."""
        number = np.full(len(self.labels), -1, np.int64)
        number[list(chosen)] = np.arange(len(chosen))
        kept = number[self.of] >= 0
        labels = tuple(self.labels[i] for i in chosen)
        return Samples(labels, number[self.of[kept]], self.time_ms[kept], self.value[kept], self.remarks)


class Problems:
    """What is wrong with a file; nothing of a file with a problem is used."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._told: list[str] = []
        self._count = 0

    def add(self, where: str, what: str) -> None:
        """Note one."""
        self._count += 1
        if len(self._told) < _TOLD:
            self._told.append(f"{self._path}: {where}: {what}")

    def check(self) -> None:
        """Raises BacktestError when there is one."""
        if self._count:
            more = f"\n... and {self._count - len(self._told)} more" if self._count > len(self._told) else ""
            raise BacktestError("\n".join(self._told) + more + "\nnothing was read: mend the file and try again")


class Builder:
    """Collects samples one by one or many at once, in any order."""

    def __init__(self, path: str, most: int = MOST_SAMPLES) -> None:
        self._path = path
        self._most = most
        self._numbers: dict[Hashable, int] = {}
        self._labels: list[Labels] = []
        self._of, self._time_ms, self._value = array("q"), array("q"), array("d")

    def series(self, key: Hashable, labels: Callable[[], Labels]) -> int:
        """The number of a series; `labels` is called for one that is new."""
        number = self._numbers.get(key)
        if number is None:
            found = {name: text for name, text in labels().items() if text}
            number = self._numbers.setdefault(frozenset(found.items()), len(self._labels))
            if number == len(self._labels):
                self._labels.append(found)
            self._numbers[key] = number
        return number

    def add(self, number: int, time_ms: int, value: float) -> None:
        """Take a sample; NaN and infinite values are gaps."""
        self._of.append(number)
        self._time_ms.append(time_ms)
        self._value.append(value)
        if len(self._value) > self._most:
            self._refuse()

    def add_all(self, numbers: I64, time_ms: I64, value: F64) -> None:
        """Take samples (m,)."""
        self._of.frombytes(np.ascontiguousarray(numbers, np.int64).tobytes())
        self._time_ms.frombytes(np.ascontiguousarray(time_ms, np.int64).tobytes())
        self._value.frombytes(np.ascontiguousarray(value, np.float64).tobytes())
        if len(self._value) > self._most:
            self._refuse()

    def _refuse(self) -> None:
        raise BacktestError(f"{self._path}: more than {self._most:,} samples: split the file by series or by time")

    def samples(self) -> Samples:
        """All of them. Raises BacktestError where there is none."""
        of, time_ms = np.frombuffer(self._of, np.int64), np.frombuffer(self._time_ms, np.int64)
        value = np.frombuffer(self._value, np.float64)
        finite = np.isfinite(value)
        of, time_ms, value = of[finite], time_ms[finite], value[finite]
        if len(value) == 0:
            raise BacktestError(f"{self._path}: no sample in it")
        order = np.lexsort((time_ms, of))  # stable: of two samples of a moment the later one in the file is last
        of, time_ms, value = of[order], time_ms[order], value[order]
        last = np.append((of[1:] != of[:-1]) | (time_ms[1:] != time_ms[:-1]), True)
        remarks = _remarks(int((~finite).sum()), int((~last).sum()))
        return Samples(tuple(self._labels), of[last], time_ms[last], value[last], remarks)


def _remarks(not_finite: int, repeated: int) -> tuple[str, ...]:
    told = []
    if not_finite:
        told.append(f"{not_finite:,} samples of the file are empty, NaN or infinite: they are gaps")
    if repeated:
        told.append(
            f"{repeated:,} samples of the file have the time of another one of their series: the last one counts"
        )
    return tuple(told)


def to_ms(moment: float) -> int:
    """Milliseconds of a time that is in seconds or, where it is that large, in milliseconds. Raises ValueError."""
    scaled = moment if abs(moment) >= MILLISECONDS_FROM else moment * 1000
    if not 0 <= scaled <= LATEST_MS:
        raise ValueError("not a time from 1970 to 9999 in seconds or milliseconds")
    return round(scaled)
