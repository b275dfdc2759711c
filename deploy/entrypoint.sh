#!/bin/sh
# Starts anomaly-exporter in the container. The kernels were compiled when the image was built, but numba accepts only a
# cache that it can write to: give it a copy in /tmp, which is writable even where the root file system is not.
set -eu
writable="${TMPDIR:-/tmp}/kernels"
if [ ! -d "$writable" ]; then
    if ! mkdir -p "$writable.partial" || ! cp -R "$NUMBA_CACHE_DIR/." "$writable.partial"; then
        echo "anomaly-exporter: can't write to ${TMPDIR:-/tmp}; mount a tmpfs or an emptyDir there" >&2
        exit 1
    fi
    mv "$writable.partial" "$writable"
fi
export NUMBA_CACHE_DIR="$writable"
exec anomaly-exporter "$@"
