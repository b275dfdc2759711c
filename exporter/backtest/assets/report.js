"use strict";
(() => {
  const all = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const at = (seconds) => seconds.map((s) => new Date(s * 1000).toISOString());
  const colours = () => dark.matches
    ? { ink: "#c7cedb", line: "#343c48", value: "#8ab4f8", band: "rgba(129,201,149,.22)", centre: "#81c995", bad: "#ff8a80", mark: "rgba(255,138,128,.14)" }
    : { ink: "#414b59", line: "#e3e7ec", value: "#1257b8", band: "rgba(46,125,50,.16)", centre: "#2e7d32", bad: "#b3261e", mark: "rgba(179,38,30,.10)" };

  function layout(c, more) {
    const axis = { gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: c.ink, size: 12 },
      margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "x unified", showlegend: true,
      modebar: { bgcolor: "rgba(0,0,0,0)" }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, xaxis: { ...axis, type: "date" }, yaxis: axis,
    };
    for (const key of Object.keys(more)) base[key] = { ...axis, ...base[key], ...more[key] };
    return base;
  }

  const stretch = (start, end, c) => ({
    type: "rect", xref: "x", yref: "paper", x0: at([start])[0], x1: at([end])[0], y0: 0, y1: 1,
    fillcolor: c.mark, line: { width: 0 }, layer: "below",
  });

  function episode(chart, c) {
    const x = at(chart.time);
    const line = (name, colour, more) => ({ x, y: chart[name], name, mode: "lines", line: { color: colour, width: 1.4 }, ...more });
    const hidden = { line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    const outside = chart.score.map((score, i) => (score > 1 ? chart.value[i] : null));
    const one = chart.score.map((score) => (score === null ? null : 1));
    return [[
      { ...line("upper", c.centre), ...hidden, legendgroup: "band" },
      { ...line("lower", c.centre), ...hidden, showlegend: true, name: "band", legendgroup: "band", fill: "tonexty", fillcolor: c.band },
      line("expected", c.centre, { line: { color: c.centre, width: 1, dash: "dot" } }),
      line("value", c.value),
      { x, y: outside, name: "outside", mode: "markers", marker: { color: c.bad, size: 6 } },
      line("score", c.bad, { yaxis: "y2", line: { color: c.bad, width: 1.2 } }),
      { x, y: one, name: "threshold", mode: "lines", yaxis: "y2", hoverinfo: "skip", showlegend: false, line: { color: c.ink, width: 1, dash: "dash" } },
    ], { ...layout(c, { yaxis: { domain: [0.32, 1] }, yaxis2: { domain: [0, 0.24], rangemode: "tozero", title: { text: "score" } }, xaxis: { anchor: "y2" } }), shapes: [stretch(chart.start, chart.end, c)] }];
  }

  function firing(chart, c) {
    return [[{
      x: at(chart.time), y: chart.firing, name: "alerts", mode: "lines", fill: "tozeroy", fillcolor: c.mark,
      line: { color: c.bad, width: 1.2, shape: "hv" },
    }], { ...layout(c, { yaxis: { rangemode: "tozero" } }), showlegend: false, shapes: chart.storms.map(([a, b]) => stretch(a, b, c)) }];
  }

  function draw(div) {
    const chart = all[div.dataset.chart];
    const [traces, shape] = (chart.kind === "firing" ? firing : episode)(chart, colours());
    Plotly.react(div, traces, shape, { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] });
    div.dataset.drawn = "yes";
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  const divs = document.querySelectorAll("[data-chart]");
  for (const div of divs) near.observe(div);
  dark.addEventListener("change", () => { for (const div of divs) if (div.dataset.drawn) draw(div); });
  addEventListener("beforeprint", () => { for (const div of divs) draw(div); });
})();
