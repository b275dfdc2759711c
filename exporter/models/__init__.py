"""The models: one file per model and their numeric kernels; numpy, numba and scipy only."""
