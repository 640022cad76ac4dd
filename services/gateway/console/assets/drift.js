// Draws the series of a monitor: change of the gap with its ribbon, the gap of each window, bars of deciding records.
"use strict";
(() => {
  const block = document.getElementById("drift-data");
  if (!block || typeof uPlot === "undefined") return;
  const series = JSON.parse(block.textContent);
  const HEIGHT = 250, BARS = 0.22;  // bars take the lowest part of the drawing
  let charts = [];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const text = (value) => (value == null ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(3));

  const day = (stamp, length) => new Date(1000 * stamp).toISOString().replace("T", " ").slice(0, length);

  function vertical(u, place, name, words, dash, row) {
    const x = u.valToPos(u.data[0][place], "x", true), { top, height, left, width } = u.bbox, ratio = devicePixelRatio;
    u.ctx.save();
    u.ctx.strokeStyle = u.ctx.fillStyle = colour(name);
    u.ctx.lineWidth = 1.5 * ratio;
    u.ctx.setLineDash(dash.map((length) => length * ratio));
    u.ctx.beginPath(); u.ctx.moveTo(x, top); u.ctx.lineTo(x, top + height); u.ctx.stroke();
    if (words) {
      u.ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      const beyond = x + u.ctx.measureText(words).width + 6 * ratio > left + width;
      u.ctx.textAlign = beyond ? "right" : "left";
      u.ctx.fillText(words, x + (beyond ? -4 : 4) * ratio, top + (11 + 14 * row) * ratio);
    }
    u.ctx.restore();
  }

  function marks(one) {
    return (u) => {
      for (const [place, words] of one.versions) vertical(u, place, "--s4", words, [5, 4], 1);
      for (const place of one.since) vertical(u, place, "--found", "since", [2, 3], 2);
      for (const place of one.alarms) vertical(u, place, "--warn-edge", "alarm", [], 0);
    };
  }

  function zero(u) {
    const y = u.valToPos(0, "y", true);
    u.ctx.save();
    u.ctx.strokeStyle = colour("--quiet"); u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath(); u.ctx.moveTo(u.bbox.left, y); u.ctx.lineTo(u.bbox.left + u.bbox.width, y); u.ctx.stroke();
    u.ctx.restore();
  }

  // Zero belongs into the picture, and the bars below it.
  function range(u, low, high) {
    const least = Math.min(low ?? 0, 0), most = Math.max(high ?? 0, 0), span = Math.max(most - least, 0.02);
    return [least - span * (0.05 + BARS / (1 - BARS)), most + 0.08 * span];
  }

  function draw(place) {
    const one = series[Number(place.dataset.chart)];
    if (!one || !one.times.length) return null;
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 }, font: "12px system-ui, sans-serif" };
    const line = colour("--s1"), last = one.times.length - 1;
    const room = last > 0 ? (0.6 * (one.times[last] - one.times[0])) / last : 43200;
    return new uPlot({
      width: place.clientWidth, height: HEIGHT,
      tzDate: (stamp) => uPlot.tzDate(new Date(1000 * stamp), "Etc/UTC"),
      scales: { x: { time: true, range: (u, low, high) => [low - room, high + room] }, y: { range }, n: { range: (u, low, high) => [0, (high || 1) / BARS] } },
      axes: [{ ...axis, space: 80, values: (u, ticks, place, space, step) => ticks.map((stamp) => day(stamp, step < 86400 ? 16 : 10).slice(5)) }, { ...axis, size: 54, values: (u, ticks) => ticks.map((tick) => tick.toFixed(2).replace("-", "−")) }],
      bands: [{ series: [3, 2], fill: colour("--ribbon") }],
      series: [
        { label: "Window ended", value: (u, stamp) => (stamp == null ? "–" : day(stamp, 10)) },
        { label: "deciding records", scale: "n", stroke: "transparent", fill: colour("--rule"), paths: uPlot.paths.bars({ size: [0.6, 24] }), points: { show: false }, value: (u, value) => (value == null ? "–" : String(value)) },
        { label: "interval from", stroke: "transparent", points: { show: false }, value: (u, value) => text(value) },
        { label: "to", stroke: "transparent", points: { show: false }, value: (u, value) => text(value) },
        { label: "gap of the window", stroke: colour("--quiet"), paths: () => null, points: { show: true, size: 5, fill: colour("--quiet") }, value: (u, value) => text(value) },
        { label: "change so far", stroke: line, width: 2.5, points: { show: one.times.length < 60, size: 5, fill: line }, value: (u, value) => text(value) },
      ],
      hooks: {
        drawAxes: [zero], draw: [marks(one)],
        ready: [(u) => u.setLegend({ idx: last })],
        setCursor: [(u) => { if (u.cursor.idx == null) u.setLegend({ idx: last }); }],
      },
    }, [one.times, one.cases, one.low, one.high, one.gap, one.change], place);
  }

  function all() {
    for (const chart of charts) chart.destroy();
    charts = [...document.querySelectorAll("[data-chart]")].map(draw).filter(Boolean);
  }

  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  addEventListener("resize", () => { for (const chart of charts) chart.setSize({ width: chart.root.parentElement.clientWidth, height: HEIGHT }); });
})();
