// Draw the figures. The page has them as tables too: without this script, and if the service does not answer.

import uPlot from "./vendor/uplot.esm.js";

const GAP = 50 * 3600; // seconds: between two nights that are further apart, one is missing, and the line breaks
const HEIGHT = 230;
const MARKS = { promotion: "▲", rollback: "▼", external: "◆" };
const WHOLE = [1, 2, 5].flatMap((first) => Array.from({ length: 9 }, (_, power) => first * 10 ** power)).sort((one, other) => one - other);
const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3]]; // colours are not all that tells lines apart
const form = document.getElementById("choice");
const state = document.getElementById("state");
const whole = document.getElementById("whole");
const language = document.documentElement.lang;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const plots = [];
let answer; // what is drawn

const numbers = {
  share: new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  count: new Intl.NumberFormat(language, { maximumFractionDigits: 0 }),
  score: new Intl.NumberFormat(language, { maximumSignificantDigits: 3 }),
};
const ticks = { ...numbers, share: new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 }) };
const times = {
  moment: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }),
  date: new Intl.DateTimeFormat(language, { dateStyle: "medium" }),
  month: new Intl.DateTimeFormat(language, { month: "short", year: "numeric" }),
  day: new Intl.DateTimeFormat(language, { day: "numeric", month: "short" }),
  hour: new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" }),
};

function write(unit, value) {
  return value == null ? "–" : numbers[unit].format(value);
}

// Read the colours of the theme.
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--mycoflow-${name}`).trim();
  return { lines: [1, 2, 3, 4].map((number) => read(`chart-${number}`)), level: read("chart-level"), text: read("chart-text"), grid: read("chart-grid") };
}

// Give the times and one list for each line, with a hole wherever a night is missing.
function breakLines({ at, lines, columns, by_day: byDay }) {
  const rows = [at, ...lines.map(({ key }) => columns[key])];
  if (byDay) return rows;
  const broken = rows.map(() => []);
  at.forEach((moment, place) => {
    if (place && moment - at[place - 1] > GAP) broken.forEach((list, row) => list.push(row ? null : at[place - 1] + 1));
    broken.forEach((list, row) => list.push(rows[row][place]));
  });
  return broken;
}

// Put bars on top of each other: the last one is the highest, and is drawn first.
function stack(rows) {
  const sums = rows[0].map(() => 0);
  return [rows[0], ...rows.slice(1).map((list) => list.map((value, place) => (sums[place] += value)))];
}

function describeLine({ look, label, colour }, unit, raw, number, colours) {
  const stroke = colours.lines[colour - 1];
  const value = (_plot, _value, _series, place) => write(unit, place == null ? null : raw[place]);
  const looks = {
    line: { stroke, width: 2, dash: DASHES[colour - 1], points: { size: 5, fill: stroke } },
    edge: { stroke: `${stroke}80`, width: 1, points: { show: false } },
    dots: { stroke, width: 0, paths: () => null, points: { show: true, size: 9, fill: stroke } },
    bar: { stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.8, 40, 1] }), points: { show: false } },
  };
  return { label, value, number, ...looks[look] };
}

// Args: first, the place of the first line among all series.
function findBand(lines, first, colours) {
  const [low, high] = lines.flatMap(({ look }, place) => (look === "edge" ? [place + first] : []));
  return high ? [{ series: [high, low], fill: `${colours.lines[0]}30` }] : [];
}

function scaleOf(unit) {
  if (unit === "count") return (_plot, _low, high) => [0, Math.max(1, high) * 1.08];
  return (_plot, low, high) => {
    if (low == null) return [0, 1];
    const room = Math.max(0.02, (high - low) * 0.1);
    return [Math.max(0, low - room), unit === "share" ? Math.min(1, high + room) : high + room];
  };
}

// Draw a line for each promotion and rollback; its name stands above it where there is room.
function drawMarks(plot) {
  const { ctx, bbox } = plot;
  const colours = readColours();
  let free = -Infinity;
  ctx.save();
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  for (const { at, kind, version } of answer.marks) {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = kind === "rollback" ? colours.lines[1] : colours.text;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const name = `${MARKS[kind] ?? ""}${version ?? "–"}`;
    const half = ctx.measureText(name).width / 2;
    if (x - half > free) {
      ctx.fillText(name, x, bbox.top - 4 * devicePixelRatio);
      free = x + half + 6 * devicePixelRatio;
    }
  }
  ctx.restore();
}

function drawLevel(plot, { value }) {
  const { ctx, bbox } = plot;
  const y = plot.valToPos(value, "y", true);
  ctx.save();
  ctx.strokeStyle = readColours().level;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([10 * devicePixelRatio, 6 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

// Show the same time in all charts. Args: span, seconds since 1970; all of it is the whole range.
function zoom(span) {
  whole.disabled = span.min <= answer.since && span.max >= answer.until;
  for (const plot of plots) plot.setScale("x", span);
}

function showAll() {
  zoom({ min: answer.since, max: answer.until });
}

// Look closer at the middle, or at an earlier or later time: for keyboards and fingers. Args: shares of what is shown.
function step({ zoom: part, move }) {
  const { min, max } = plots[0].scales.x;
  const room = (max - min) * part;
  const start = (min + max - room) / 2 + (max - min) * move;
  const kept = Math.max(answer.since, Math.min(start, answer.until - room));
  zoom({ min: kept, max: kept + room });
}

function writeTicks(_plot, splits, _axis, _room, step) {
  const wanted = step >= 28 * 86400 ? times.month : step >= 86400 ? times.day : times.hour;
  return splits.map((moment) => wanted.format(moment * 1000));
}

function describePlot(chart, width, colours) {
  const raw = breakLines(chart);
  const isStacked = chart.lines.every(({ look }) => look === "bar");
  const data = isStacked ? stack(raw) : [...raw];
  const lines = chart.lines.map((line, place) => describeLine(line, chart.unit, raw[place + 1], place + 1, colours));
  const time = chart.by_day ? times.date : times.moment;
  const level = chart.level;
  if (level) {
    lines.unshift({ label: level.label, stroke: colours.level, dash: [10, 6], paths: () => null, points: { show: false }, value: () => write(chart.unit, level.value) });
    data.splice(1, 0, raw[0].map(() => level.value));
  }
  const axis = { stroke: colours.text, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid, width: 1 } };
  const options = {
    width,
    height: HEIGHT,
    scales: {
      x: { time: true, auto: false, min: answer.since, max: answer.until },
      y: { range: scaleOf(chart.unit) },
    },
    axes: [
      { ...axis, values: writeTicks, space: 70 },
      { ...axis, size: 60, ...(chart.unit === "count" ? { incrs: WHOLE } : {}), values: (_plot, splits) => splits.map((value) => ticks[chart.unit].format(value)) },
    ],
    series: [{ label: form.dataset.time, value: (_plot, moment) => (moment == null ? "–" : time.format(moment * 1000)) }, ...(isStacked ? lines.reverse() : lines)],
    bands: findBand(chart.lines, level ? 2 : 1, colours),
    cursor: {
      sync: { key: "dashboard", setSeries: false },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => showAll },
    },
    hooks: {
      drawAxes: chart.by_day ? [] : [drawMarks], // under the lines
      draw: level ? [(plot) => drawLevel(plot, level)] : [],
      setSelect: [
        (plot) => {
          const { left, width: room } = plot.select;
          if (room > 0) zoom({ min: plot.posToVal(left, "x"), max: plot.posToVal(left + room, "x") });
          if (room > 0) plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
  return [options, isStacked ? [data[0], ...data.slice(1).reverse()] : data];
}

function drawAll() {
  const began = performance.now();
  const colours = readColours();
  for (const plot of plots.splice(0)) plot.destroy();
  for (const chart of answer.charts) {
    const place = document.querySelector(`[data-chart="${chart.name}"]`);
    place.hidden = !chart.at.length;
    if (place.hidden) continue;
    plots.push(new uPlot(...describePlot(chart, place.clientWidth, colours), place));
  }
  performance.measure("draw", { start: began }); // shown by the browser's tools
}

// The reader's time zone says which days are meant: links and the form carry it on.
function nameZone() {
  form.elements.zone.value = zone;
  for (const link of document.querySelectorAll("a[data-zoned]")) {
    const address = new URL(link.href);
    address.searchParams.set("zone", zone);
    link.href = address;
  }
}

// Days that nobody has chosen are those of the reader's zone: there it may be tomorrow already.
async function read() {
  const asked = new URLSearchParams(new FormData(form));
  const usual = form.querySelectorAll("[data-usual]");
  for (const input of usual) asked.delete(input.name);
  const response = await fetch(`${form.dataset.figures}?${asked}`);
  if (!response.ok || response.redirected) throw new Error(`The figures: ${response.status}`);
  const figures = await response.json();
  for (const input of usual) input.value = figures[input.dataset.usual];
  return figures;
}

nameZone();
try {
  answer = await read();
  drawAll();
  for (const element of document.querySelectorAll(".scripted[hidden]")) element.hidden = !plots.length;
} catch {
  state.textContent = form.dataset.offline;
}
if (answer) {
  whole.addEventListener("click", showAll);
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => step({ zoom: Number(button.dataset.zoom), move: Number(button.dataset.move) }));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new ResizeObserver(() => {
    for (const plot of plots) {
      const width = plot.root.parentElement.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  }).observe(document.querySelector(".charts"));
}
