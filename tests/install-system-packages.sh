#!/bin/sh
# Installs the real servers that demo and tests run against, where they are missing. Debian only; elsewhere it says what to get.
# With "demo" as its argument: only those of the demo.
set -eu

missing=""
have() { command -v "$1" >/dev/null 2>&1; }
have prometheus && have promtool || missing="$missing prometheus"
have prometheus-alertmanager || have alertmanager || missing="$missing prometheus-alertmanager"
if [ "${1:-all}" != demo ]; then
  have chromium || have chromium-browser || have google-chrome || missing="$missing chromium"
  have patch || missing="$missing patch"
  ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing faketime"
  have victoria-metrics && have vmagent && have vmalert && have vmauth || missing="$missing victoria-metrics"
fi
[ -z "$missing" ] && exit 0

if ! have apt-get; then
  echo "missing:$missing. Install them (https://prometheus.io/download/ has the first two) and put them on PATH." >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
  have sudo || { echo "missing:$missing. As root: apt-get install$missing" >&2; exit 1; }
  sudo="sudo"
fi
echo "installing$missing"
# Debian starts the services it installs; policy-rc.d says no for the time being, where nobody has said anything yet.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
  $sudo chmod +x "$policy"
  trap '$sudo rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
