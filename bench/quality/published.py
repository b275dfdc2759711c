"""Published results to stand beside ours, as data; only figures found in the sources named here.

NAB's scoreboard is over all 58 files of the benchmark, with detections per row at a threshold that was optimised on
those same files, one for each profile: `nab_row_*_optimum` over all files is what compares with it. The F1 on the 2018
KPI data is point-adjusted with the challenge's delay (7 for minute data), over the test part of all series. A subset of
the files or series gives other figures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NabRow:
    """One line of NAB's scoreboard: a detector and its score in the three profiles, 0 = silent, 100 = perfect."""

    detector: str
    standard: float
    lowfp: float
    lowfn: float


@dataclass(frozen=True, slots=True)
class KpiRow:
    """A detector's F1 on the test part of the 2018 KPI data, and the paper that proposed it."""

    detector: str
    f1: float
    paper: str


NAB_SOURCE = "https://github.com/numenta/NAB, README of version 1.1, sections Scoreboard and Additional Scores"

NAB_SCOREBOARD = (
    NabRow("ARTime", 74.9, 65.1, 80.4),
    NabRow("Numenta HTM (NuPIC 1.0, best seed)", 70.5, 62.6, 75.2),
    NabRow("Numenta HTM (NuPIC 0.5.6)", 70.1, 63.1, 74.3),
    NabRow("CAD OSE", 69.9, 67.0, 73.2),
    NabRow("Numenta HTM (NuPIC 1.0, worst seed)", 69.7, 61.7, 74.2),
    NabRow("earthgecko Skyline", 58.2, 46.2, 63.9),
    NabRow("KNN CAD", 58.0, 43.4, 64.8),
    NabRow("Relative Entropy", 54.6, 47.6, 58.8),
    NabRow("Random Cut Forest", 51.7, 38.4, 59.7),
    NabRow("Twitter ADVec v1.0.0", 47.1, 33.6, 53.5),
    NabRow("Windowed Gaussian", 39.6, 20.9, 47.4),
    NabRow("Etsy Skyline", 35.7, 27.1, 44.5),
    NabRow("Bayesian Changepoint", 17.7, 3.2, 32.2),
    NabRow("EXPoSE", 16.4, 3.2, 26.9),
    NabRow("Random (mean of seeds)", 11.0, 1.2, 19.5),
    NabRow("Null", 0.0, 0.0, 0.0),
)
"""By falling standard score."""

KPI_SOURCE = "Li et al., FluxEV (WSDM 2021, doi 10.1145/3437963.3441823), table 2, as quoted in a review of the paper"

KPI_F1 = (
    KpiRow("FluxEV", 0.790, "Li et al., WSDM 2021"),
    KpiRow("SR-CNN", 0.771, "Ren et al., KDD 2019 (arXiv 1906.03821)"),
    KpiRow("DONUT", 0.729, "Xu et al., WWW 2018"),
    KpiRow("SeqVL", 0.664, "Chen et al., 2019 (arXiv 1910.03818)"),
    KpiRow("SR", 0.654, "Ren et al., KDD 2019 (arXiv 1906.03821)"),
    KpiRow("DSPOT", 0.488, "Siffer et al., KDD 2017"),
    KpiRow("SPOT", 0.181, "Siffer et al., KDD 2017"),
)
"""By falling F1."""
