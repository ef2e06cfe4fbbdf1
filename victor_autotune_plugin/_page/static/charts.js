/* What charts share, and the chart of the evidence. */
"use strict";

/* --- charts */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ROLES = [
  { name: "configured", title: "as configured", colour: "--grey", shape: "circle" },
  { name: "before", title: "plan before, in a test", colour: "--grey", shape: "ring" },
  { name: "tested", title: "plan under test", colour: "--accent", shape: "diamond" },
  { name: "live", title: "live plan", colour: "--good", shape: "circle" },
];
const FAILED = 1,
  TIMED_OUT = 2,
  CANCELLED = 4,
  RUNNING = 8,
  LOST = 16;
const went = (flags) =>
  flags & RUNNING
    ? "is running"
    : flags & LOST
      ? "was lost"
      : flags & CANCELLED
        ? "was cancelled"
        : flags & TIMED_OUT
          ? "timed out"
          : flags & FAILED
            ? "failed"
            : "succeeded";
const ACTIONS = {
  started: "--accent",
  probation: "--violet",
  promoted: "--good",
  confirmed: "--good",
  reverifying: "--asks",
  rolled_back: "--bad",
  failed: "--bad",
  awaits_approval: "--asks",
  awaits_promotion: "--asks",
};
const bands = (changes) => {
  const found = [];
  let open = null,
    test = null;
  const close = (at) => {
    if (open) found.push({ ...open, end: at });
    open = null;
  };
  const begin = (at, title, tint) => {
    close(at);
    open = { begin: at, title, colour: tint };
  };
  let live = false;
  for (const one of [...changes].reverse()) {
    if (one.action === "started") {
      test = one.experiment;
      begin(one.at, "test", "--accent");
    } else if (one.action === "probation") begin(one.at, "probation", "--violet");
    else if (one.action === "promoted" || one.action === "confirmed") {
      test = null;
      live = true;
      begin(one.at, "live", "--good");
    } else if (one.action === "reverifying") begin(one.at, "verified again", "--asks");
    else if (one.action === "rolled_back") {
      live = false;
      test = null;
      close(one.at);
    } else if (["failed", "inconclusive", "aborted"].includes(one.action) && test === one.experiment) {
      test = null;
      close(one.at);
      if (live) begin(one.at, "live", "--good");
    }
  }
  if (open) found.push({ ...open, end: Infinity });
  return found;
};
const mark = (context, shape, x, y, size) => {
  context.beginPath();
  if (shape === "diamond") {
    context.moveTo(x, y - size * 1.25);
    context.lineTo(x + size * 1.25, y);
    context.lineTo(x, y + size * 1.25);
    context.lineTo(x - size * 1.25, y);
    context.closePath();
    context.fill();
  } else if (shape === "cross") {
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
  } else {
    context.arc(x, y, size, 0, 2 * Math.PI);
    if (shape === "ring") context.stroke();
    else context.fill();
  }
};
const axis = (format) => ({
  stroke: colour("--dim"),
  grid: { stroke: colour("--line"), width: 1 },
  ticks: { stroke: colour("--line"), width: 1, size: 4 },
  font: "12px system-ui, sans-serif",
  ...format,
});
const showTip = (lines, x, y) => {
  tip.replaceChildren(...lines.filter(Boolean).map((line) => h("div", {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect(),
    left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8),
    top = y + box.height + 24 > innerHeight ? y - box.height - 12 : y + 16;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${top + scrollY}px`;
};
const hideTip = () => {
  tip.hidden = true;
};
const logTicks = (u, place, low, high) => {
  const found = [],
    ratio = high / Math.max(low, 1e-9),
    steps = ratio > 30 ? [1, 3] : ratio > 6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const step of steps) {
      const value = step * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  return found;
};
const evidenceChart = (path, box) => {
  const line = (label, values, stroke, dash) => ({
    label,
    stroke,
    width: 2,
    dash,
    points: { show: false },
    spanGaps: true,
  });
  const told = path.boundary.filter(known),
    top = Math.max(...path.statistic.filter(known), ...told, 1),
    low = Math.min(0, ...path.statistic.filter(known));
  const chart = new uPlot(
    {
      width: Math.max(box.clientWidth, 220),
      height: Math.max(220, box.clientHeight),
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: true, size: 7 } },
      scales: { x: { time: false }, y: { range: [low - 0.08 * (top - low), top + 0.1 * (top - low)] } },
      axes: [
        axis({
          space: 60,
          values: (u, ticks) => ticks.map((value) => (value === Math.round(value) ? grouped(value) : "")),
          label: "runs of the test",
          labelSize: 22,
          labelFont: "12px system-ui, sans-serif",
        }),
        axis({ size: 46, values: (u, ticks) => ticks.map(rounded) }),
      ],
      series: [{}, line("evidence", 0, colour("--accent")), line("boundary", 0, colour("--good"), [6, 4])],
      hooks: {
        setCursor: [
          (u) => {
            const place = u.cursor.idx;
            if (place === null || place === undefined || u.cursor.left < 0) return hideTip();
            const box = u.over.getBoundingClientRect();
            showTip(
              [
                h("strong", {}, `After ${count(path.runs[place], "run")}`),
                `evidence ${rounded(path.statistic[place])}`,
                known(path.boundary[place]) ? `boundary ${rounded(path.boundary[place])}` : "too few runs for a proof",
                known(path.effect[place]) ? `${path.metric.replace("_", " ")} ${change(path.effect[place])}` : null,
              ],
              box.left + u.cursor.left,
              box.top + 20,
            );
          },
        ],
      },
    },
    [path.runs, path.statistic, path.boundary],
    box,
  );
  chart.over.addEventListener("mouseleave", hideTip);
  return chart;
};
