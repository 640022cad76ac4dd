// The counterfactual player: frames of one synthetic patient, their difference to the first, and the trace beside them.
"use strict";
(() => {
  const player = document.getElementById("player");
  if (!player) return;
  const data = JSON.parse(document.getElementById("player-data").textContent);
  const at = (id) => document.getElementById(id);
  const scrub = at("scrub"), play = at("play"), blink = at("blink"), spoken = at("spoken");
  const frame = at("frame").getContext("2d"), difference = at("difference").getContext("2d", { willReadFrequently: true });
  const FRAMES_A_SECOND = 24, BLINK_MS = 450;
  const BRIGHTER = [224, 133, 63], DARKER = [47, 134, 201], EVEN = [38, 40, 43];
  const images = new Array(data.frames.length), greys = new Array(data.frames.length);
  let shown = 0, playing = 0, blinking = 0, first = false, scale = 1, chart = null;

  function load(place) {
    images[place] ??= new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error(data.frames[place]));
      image.src = data.frames[place];
    });
    return images[place];
  }

  // Mean of the colours of each pixel, 0 to 255.
  function grey(image, place) {
    if (greys[place]) return greys[place];
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const values = new Float32Array(pixels.length / 4);
    for (let i = 0; i < values.length; i++) values[i] = (pixels[4 * i] + pixels[4 * i + 1] + pixels[4 * i + 2]) / 3;
    return (greys[place] = values);
  }

  function differences(values, base) {
    const out = difference.createImageData(difference.canvas.width, difference.canvas.height);
    for (let i = 0; i < values.length; i++) {
      const change = Math.max(-1, Math.min(1, (values[i] - base[i]) / scale));
      const towards = change > 0 ? BRIGHTER : DARKER, share = Math.abs(change);
      for (let c = 0; c < 3; c++) out.data[4 * i + c] = EVEN[c] + share * (towards[c] - EVEN[c]);
      out.data[4 * i + 3] = 255;
    }
    return out;
  }

  async function draw() {
    const wanted = shown;
    const [base, image] = await Promise.all([load(0), load(wanted)]);
    if (wanted !== shown) return;
    for (const context of [frame, difference]) {
      if (context.canvas.width !== base.naturalWidth) { context.canvas.width = base.naturalWidth; context.canvas.height = base.naturalHeight; }
    }
    frame.drawImage(first ? base : image, 0, 0);
    difference.putImageData(differences(grey(image, wanted), grey(base, 0)), 0, 0);
    const number = first ? 1 : wanted + 1;
    at("shown").textContent = `Frame ${number} of ${data.frames.length}` + (first ? " (blinking)" : "");
    at("differing").textContent = `Frame ${wanted + 1} minus frame 1`;
    at("place").textContent = `${wanted + 1} of ${data.frames.length}`;
    scrub.value = wanted;
    if (chart) { chart.setLegend({ idx: shown }); chart.redraw(false); }
  }

  function go(place, aloud = true) {
    shown = Math.max(0, Math.min(data.frames.length - 1, place));
    draw().catch(() => { spoken.textContent = `frame ${shown + 1} cannot be loaded`; });
    if (aloud) spoken.textContent = `frame ${shown + 1}`;
  }

  function step(time, last) {
    if (!playing) return;
    const moved = Math.floor(((time - last) / 1000) * FRAMES_A_SECOND);
    if (moved > 0) { go((shown + moved) % data.frames.length, false); last = time; }
    playing = requestAnimationFrame((now) => step(now, last));
  }

  function setPlaying(on) {
    if (playing) cancelAnimationFrame(playing);
    playing = on ? requestAnimationFrame((now) => step(now, now)) : 0;
    play.setAttribute("aria-pressed", String(on));
    play.textContent = on ? "Pause" : "Play";
  }

  function setBlinking(on) {
    clearInterval(blinking);
    blinking = on ? setInterval(() => { first = !first; draw(); }, BLINK_MS) : 0;
    first = false;
    blink.setAttribute("aria-pressed", String(on));
    draw();
  }

  // One scale for all frames, so that colours can be compared along the path: the largest change of the ends.
  async function measure() {
    const last = data.frames.length - 1;
    const [base, end] = await Promise.all([load(0), load(last)]);
    const from = grey(base, 0), to = grey(end, last);
    scale = 8;
    for (let i = 0; i < from.length; i++) scale = Math.max(scale, Math.abs(to[i] - from[i]));
    at("scale").textContent = `${Math.round((100 * scale) / 255)} %`;
  }

  const KEYS = {
    ArrowRight: () => go(shown + 1), ArrowLeft: () => go(shown - 1), Home: () => go(0),
    End: () => go(data.frames.length - 1), " ": () => setPlaying(!playing), b: () => setBlinking(!blinking), B: () => setBlinking(!blinking),
  };
  player.addEventListener("keydown", (event) => {
    const taken = event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter");
    if (taken || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  scrub.addEventListener("input", () => go(Number(scrub.value), false));
  play.addEventListener("click", () => setPlaying(!playing));
  blink.addEventListener("click", () => setBlinking(!blinking));

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  function drawTrace() {
    const place = at("trace-chart");
    if (!place || !data.series.length || typeof uPlot === "undefined") return;
    place.replaceChildren();
    const axis = (more) => ({ stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 }, ...more });
    const names = data.series.map((one, n) => ({ ...one, scale: `y${n}`, stroke: colour(`--s${n % 6}`), dash: n < 6 ? [] : [6, 4] }));
    const chances = names.every((one) => one.kind === "probability");
    const ranges = Object.fromEntries(names.map((one) => [one.scale, one.kind === "probability" ? { range: [0, 1] } : {}]));
    chart = new uPlot({
      width: place.clientWidth, height: 260,
      scales: { x: { time: false }, ...ranges },
      axes: [axis({ label: "Frame", labelSize: 20, incrs: [1, 2, 5, 10, 20, 50, 100] }), axis({ scale: names[0].scale, size: 46, show: chances })],
      series: [{ label: "Frame" }, ...names.map((one) => ({ label: one.kind === "probability" ? `${one.name} (probability)` : one.name, scale: one.scale, stroke: one.stroke, dash: one.dash, width: 2, points: { show: false } }))],
      hooks: { draw: [(u) => {
        const x = u.valToPos(shown + 1, "x", true);
        u.ctx.save(); u.ctx.strokeStyle = colour("--ink"); u.ctx.setLineDash([3, 3]);
        u.ctx.beginPath(); u.ctx.moveTo(x, u.bbox.top); u.ctx.lineTo(x, u.bbox.top + u.bbox.height); u.ctx.stroke(); u.ctx.restore();
      }] },
    }, [data.series[0].values.map((_, n) => n + 1), ...data.series.map((one) => one.values)], place);
  }

  document.documentElement.classList.add("scripted");
  player.hidden = false;
  drawTrace();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTrace);
  addEventListener("resize", () => { if (chart) chart.setSize({ width: at("trace-chart").clientWidth, height: 260 }); });
  measure().then(() => go(0, false)).catch(() => { spoken.textContent = "the frames cannot be loaded"; });
  data.frames.forEach((_, place) => setTimeout(() => load(place).catch(() => {}), 30 * place));
})();
