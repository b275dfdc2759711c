"""Measures of a detector's scores against labels: NAB's, delay-limited F1, events and episodes, ranking."""
