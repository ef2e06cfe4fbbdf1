/* A team's runs on one time axis. */
"use strict";

const METRICS = {
  seconds: { title: "Duration", text: seconds, log: true },
  usd: { title: "Cost", text: usd, log: false },
  score: { title: "Score", text: score, log: false },
};

const storyChart = (view, box) => {
  const runs = view.team.runs,
    metric = METRICS[view.metric],
    narrow = box.clientWidth < 560;
  const byRuns = view.spacing === "runs",
    flags = runs.points && runs.points.flags;
  let points = [],
    range = null,
    bins = runs.bins || null;
  const at = bins ? bins.at : runs.points.at;
  const placeOf = (time) => {
    if (!byRuns) return time;
    let low = 0,
      high = at.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low - 0.5;
  };
  const xs = at.map((time, place) => (byRuns ? place : time));
  if (!bins)
    points = runs.points.at
      .map((_, place) => ({
        place,
        x: xs[place],
        y: runs.points[view.metric][place],
        role: runs.points.role[place],
        flags: flags[place],
        plan: runs.plans[runs.points.plan[place]],
      }))
      .filter(
        (one) =>
          known(one.y) &&
          (one.y > 0 || !metric.log) &&
          view.roles.has(one.role) &&
          (!view.plan || one.plan === view.plan),
      );
  const shapes = [];
  const values = bins
    ? Object.entries(bins.roles)
        .filter(([name]) => view.roles.has(ROLES.findIndex((one) => one.name === name)))
        .flatMap(([, one]) => [...one.low, ...one.high])
        .filter(known)
    : points.filter((one) => !(one.flags & CANCELLED)).map((one) => one.y);
  const sorted = [...values].sort((a, b) => a - b);
  let low = sorted[0],
    high = sorted[sorted.length - 1];
  if (!values.length) {
    low = metric.log ? 0.1 : 0;
    high = 1;
  }
  if (metric.log) {
    low = Math.max(low * 0.85, 1e-4);
    high *= 1.18;
    if (high / low < 2) {
      low /= 1.4;
      high *= 1.4;
    }
  } else {
    const span = high - low || Math.abs(high) || 1;
    low -= 0.08 * span;
    high += 0.08 * span;
  }
  const lane = 22,
    data = [xs.length ? xs : [0], xs.map(() => null)];
  const changes = view.team.changes.filter((one) => one.action in ACTIONS);
  const draw = (u) => {
    const context = u.ctx,
      ratio = devicePixelRatio || 1,
      { left, top, width, height } = u.bbox;
    context.save();
    context.beginPath();
    context.rect(left, top - lane * ratio, width, height + lane * ratio);
    context.clip();
    shapes.length = 0;
    for (const band of bands(view.team.changes)) {
      const a = Math.max(left, u.valToPos(placeOf(band.begin), "x", true)),
        b = band.end === Infinity ? left + width : Math.min(left + width, u.valToPos(placeOf(band.end), "x", true));
      if (!(b > a)) continue;
      context.globalAlpha = 0.07;
      context.fillStyle = colour(band.colour);
      context.fillRect(a, top, b - a, height);
      context.globalAlpha = 1;
      context.fillRect(a, top - (lane - 16) * ratio, b - a, 4 * ratio);
      context.font = `${11 * ratio}px system-ui, sans-serif`;
      context.textBaseline = "bottom";
      context.textAlign = "left";
      if (context.measureText(band.title).width + 8 * ratio < b - a)
        context.fillText(band.title, a + 2 * ratio, top - (lane - 15) * ratio);
    }
    context.setLineDash([3 * ratio, 3 * ratio]);
    context.lineWidth = ratio;
    for (const one of changes) {
      const x = u.valToPos(placeOf(one.at), "x", true);
      if (x < left || x > left + width) continue;
      context.globalAlpha = 0.75;
      context.strokeStyle = colour(ACTIONS[one.action]);
      context.beginPath();
      context.moveTo(x, top - 6 * ratio);
      context.lineTo(x, top + height);
      context.stroke();
      shapes.push({ x: x / ratio, change: one });
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
    if (bins)
      for (const [name, one] of Object.entries(bins.roles)) {
        const role = ROLES.find((each) => each.name === name);
        if (!view.roles.has(ROLES.indexOf(role))) continue;
        context.strokeStyle = context.fillStyle = colour(role.colour);
        for (let place = 0; place < xs.length; place++) {
          if (!known(one.median[place])) continue;
          const x = u.valToPos(xs[place], "x", true),
            y = u.valToPos(one.median[place], "y", true);
          context.globalAlpha = 0.35;
          context.lineWidth = 2 * ratio;
          context.beginPath();
          context.moveTo(x, u.valToPos(one.low[place], "y", true));
          context.lineTo(x, u.valToPos(one.high[place], "y", true));
          context.stroke();
          context.globalAlpha = 1;
          context.lineWidth = 1.4 * ratio;
          mark(context, role.shape, x, y, 2.6 * ratio);
          shapes.push({ x: x / ratio, y: y / ratio, bin: place, role, values: one });
        }
      }
    const size = (points.length > 800 ? 2.1 : points.length > 250 ? 2.7 : 3.4) * ratio;
    for (const one of points) {
      const role = ROLES[one.role],
        bad = one.flags & (FAILED | TIMED_OUT | LOST),
        y = u.valToPos(one.y, "y", true),
        x = u.valToPos(one.x, "x", true);
      if (one.flags & RUNNING || x < left - 5 || x > left + width + 5) continue;
      context.globalAlpha = one.flags & CANCELLED ? 0.45 : 0.82;
      context.lineWidth = 1.5 * ratio;
      context.strokeStyle = context.fillStyle = colour(bad ? "--bad" : role.colour);
      mark(
        context,
        bad ? "cross" : one.flags & CANCELLED ? "ring" : role.shape,
        x,
        Math.min(Math.max(y, top + 3), top + height - 3),
        size,
      );
      shapes.push({ x: x / ratio, y: y / ratio, point: one });
    }
    if (view.picked !== null && points[view.picked]) {
      const one = points[view.picked];
      context.globalAlpha = 1;
      context.strokeStyle = colour("--ink");
      context.lineWidth = 2 * ratio;
      context.beginPath();
      context.arc(u.valToPos(one.x, "x", true), u.valToPos(one.y, "y", true), 7 * ratio, 0, 2 * Math.PI);
      context.stroke();
    }
    context.restore();
  };
  const said = (one) => [
    one.change
      ? null
      : h(
          "strong",
          {},
          one.point
            ? `${metric.text(one.point.y)}, ${went(one.point.flags)}`
            : `${seconds(one.values.median[one.bin])} median of ${count(one.values.runs[one.bin], "run")}`,
        ),
    one.point ? one.point.plan : one.role ? one.role.title : null,
    one.change ? h("strong", {}, upper(one.change.title)) : null,
    one.change ? one.change.reason : null,
    one.bin !== undefined && one.values.bad[one.bin] ? `${count(one.values.bad[one.bin], "run")} failed` : null,
    when(one.change ? one.change.at : one.point ? at[one.point.place] : at[one.bin]),
  ];
  const nearest = (x, y) => {
    let best = null,
      least = 18 ** 2;
    for (const one of shapes) {
      if (one.change) continue;
      const distance = (one.x - x) ** 2 + (one.y - y) ** 2;
      if (distance < least) {
        least = distance;
        best = one;
      }
    }
    if (!best) for (const one of shapes) if (one.change && Math.abs(one.x - x) < 5) best = one;
    return best;
  };
  const day = (u, ticks, place, space, step) =>
    ticks.map((at, number) => {
      const date = new Date(at * 1000),
        clock = `${pad(date.getHours())}:${pad(date.getMinutes())}`,
        name = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
      return step >= 86400
        ? name
        : number === 0 || (date.getHours() === 0 && date.getMinutes() === 0)
          ? `${name}\n${clock}`
          : clock;
    });
  const splits = byRuns
    ? {
        values: (u, ticks) =>
          ticks.map((value) => {
            const time = at[Math.round(value)];
            return known(time) && value === Math.round(value) ? when(time).slice(5) : "";
          }),
        space: 110,
      }
    : { space: narrow ? 70 : 90, values: day };
  const options = {
    width: Math.max(box.clientWidth, 240),
    height: narrow ? 260 : 330,
    padding: [lane + 4, 12, 0, 0],
    legend: { show: false },
    cursor: { x: true, y: false, drag: { x: true, y: false }, points: { show: false } },
    scales: {
      x: {
        time: !byRuns,
        range: (u, a, b) =>
          view.zoom ? view.zoom : a === b ? [a - 1, b + 1] : [a - (b - a) * 0.012, b + (b - a) * 0.012],
      },
      y: { distr: metric.log ? 3 : 1, range: () => [low, high] },
    },
    axes: [
      axis(splits),
      axis({
        size: narrow ? 58 : 70,
        values: (u, ticks) => ticks.map((value) => (value === null ? "" : metric.text(value))),
        ...(metric.log ? { splits: logTicks, filter: (u, ticks) => ticks } : {}),
      }),
    ],
    series: [{}, { stroke: "transparent", points: { show: false } }],
    hooks: {
      draw: [draw],
      setSelect: [
        (u) => {
          if (u.select.width > 8) {
            view.zoom = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
            zoomed(view);
          }
        },
      ],
    },
  };
  const chart = new uPlot(options, data, box);
  const over = chart.over,
    area = () => over.getBoundingClientRect(),
    near = (event) => {
      const box = area(),
        left = chart.bbox.left / devicePixelRatio,
        top = chart.bbox.top / devicePixelRatio;
      return nearest(event.clientX - box.left + left, event.clientY - box.top + top);
    };
  over.addEventListener("mousemove", (event) => {
    const one = near(event);
    if (one) showTip(said(one), event.clientX, event.clientY);
    else hideTip();
    over.style.cursor = one && one.point ? "pointer" : "";
  });
  over.addEventListener("mouseleave", hideTip);
  over.addEventListener("click", (event) => {
    const one = near(event);
    if (one && one.point && !chart.select.width)
      location.hash = `#/run/${encodeURIComponent(runs.points.id[one.point.place])}`;
  });
  over.addEventListener("dblclick", () => {
    view.zoom = null;
    zoomed(view);
  });
  box.onkeydown = (event) => {
    if (event.key === "Escape" && view.zoom) {
      view.zoom = null;
      zoomed(view);
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (step && points.length) {
      event.preventDefault();
      view.picked = Math.min(
        Math.max((view.picked === null ? points.length : view.picked) + step, 0),
        points.length - 1,
      );
      const one = points[view.picked];
      chart.redraw();
      document.getElementById("picked").textContent =
        `Run ${one.place + 1} of ${at.length}: ${metric.text(one.y)}, ${went(one.flags)}, ${one.plan}, ` +
        `${when(at[one.place])}. Enter opens it.`;
    } else if (event.key === "Enter" && view.picked !== null && points[view.picked])
      location.hash = `#/run/${encodeURIComponent(runs.points.id[points[view.picked].place])}`;
  };
  return chart;
};
const legendMark = (role) => {
  const icon = {
    circle: s("circle", { cx: 6, cy: 6, r: 4, fill: "currentColor" }),
    ring: s("circle", { cx: 6, cy: 6, r: 3.6, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }),
    diamond: s("path", { d: "M6 1l5 5-5 5-5-5z", fill: "currentColor" }),
    cross: s("path", { d: "M2 2l8 8M10 2l-8 8", stroke: "currentColor", "stroke-width": 1.8 }),
  }[role.shape];
  const made = s("svg", { width: 12, height: 12, "aria-hidden": "true" }, icon);
  made.style.color = `var(${role.colour})`;
  return made;
};
const zoomed = async (view) => {
  if (config.live && view.team.runs.total > 0 && (view.team.whole || view.team.runs).bins && view.spacing === "time") {
    const filter = view.zoom ? { since: view.zoom[0], until: view.zoom[1], plan: view.plan } : { plan: view.plan };
    try {
      view.team.whole = view.team.whole || view.team.runs;
      view.team.runs = await source.runs(view.workflow, view.name, filter);
    } catch (error) {
      note(error.message, true);
    }
  }
  drawStory(view);
};
const drawStory = (view) => {
  const box = document.getElementById("story");
  if (!box) return;
  if (state.chart) state.chart.destroy();
  box.replaceChildren();
  state.chart = storyChart(view, box);
  const reset = document.getElementById("unzoom");
  if (reset) reset.hidden = !view.zoom;
};
