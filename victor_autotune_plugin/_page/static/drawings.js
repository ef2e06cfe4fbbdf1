/* Drawings of a team: guardrails, data flow, what knobs did, members' timelines. */
"use strict";

const metricText = (name) =>
  ({ duration: seconds, p95: seconds, mean: seconds, cost: usd, score, tool_calls: rounded })[name] || percent;
/** How much of a guardrail: a share in points, a score as it is, all else in per cent. */
const size = (unit, value) =>
  unit === "score" ? rounded(value) : absolute(unit) ? `${hundredths(value)} points` : percent(value);
const absolute = (name) => ["success", "score", "member_success", "loss"].includes(name);
const guardrails = (list) =>
  h(
    "div",
    {},
    list.map((one) => {
      const text = metricText(one.unit),
        span = Math.max(2 * (one.margin || 0.1), 1.15 * Math.abs(one.change || 0)) || 0.1,
        place = (value) => `${50 + (50 * Math.max(-span, Math.min(span, value))) / span}%`;
      const kind = { ok: "good", harmed: "bad", confirmed: "bad", alarm: "asks" }[one.status] || "idle",
        title =
          {
            ok: "fine",
            harmed: "harmed",
            confirmed: "worse",
            alarm: "alarm",
            unclear: "not proven yet",
            open: "not proven yet",
            "no data": "no data",
          }[one.status] || one.status;
      const bar = known(one.change)
        ? h("i", {
            css: {
              left: one.change < 0 ? place(one.change) : "50%",
              width: `${(50 * Math.min(Math.abs(one.change), span)) / span}%`,
              background: `var(--${one.change > one.margin ? "bad" : one.change > 0 ? "asks" : "good"})`,
            },
          })
        : null;
      const moved = !known(one.change)
        ? ""
        : one.change === 0
          ? " (no change)"
          : ` (${size(one.unit, Math.abs(one.change))} ${one.change > 0 ? "worse" : "better"})`;
      const most = known(one.margin) && one.margin > 0 ? `up to ${size(one.unit, one.margin)} worse` : "nothing worse";
      return h(
        "div",
        { cls: "guard" },
        h("span", {}, upper(one.title)),
        h(
          "div",
          { cls: "bar", "aria-hidden": "true" },
          bar,
          h("u", { css: { left: "50%" } }),
          known(one.margin) ? h("b", { css: { left: place(one.margin) } }) : null,
        ),
        h("span", { cls: `pill ${kind}` }, title),
        h("span", { cls: "said" }, `${text(one.before)} → ${text(one.after)}${moved}; ${most} is tolerated`),
      );
    }),
    h("p", { cls: "dim small", css: { marginTop: ".5rem" } }, "To the right is worse; the red line is the margin."),
  );
const flowDrawing = (flow) => {
  const members = flow.members,
    level = new Map(members.map((name) => [name, 0]));
  for (let round = 0; round < members.length; round++)
    for (const one of flow.edges)
      if (level.has(one.source) && level.has(one.target) && members.indexOf(one.source) < members.indexOf(one.target))
        level.set(one.target, Math.max(level.get(one.target), level.get(one.source) + 1));
  const columns = [];
  for (const name of members) (columns[level.get(name)] ||= []).push(name);
  const skips = flow.edges.some(
      (one) => level.has(one.source) && level.has(one.target) && level.get(one.target) - level.get(one.source) > 1,
    ),
    above = skips ? 34 : 0;
  const wide = 132,
    tall = 34,
    gapX = 62,
    gapY = 16,
    height = Math.max(...columns.map((one) => one.length)) * (tall + gapY) + 14 + above,
    width = columns.length * (wide + gapX) - gapX + 4;
  const spot = new Map();
  columns.forEach((names, x) =>
    names.forEach((name, y) =>
      spot.set(name, {
        x: 2 + x * (wide + gapX),
        y: above + (height - above) / 2 - (names.length * (tall + gapY) - gapY) / 2 + y * (tall + gapY),
      }),
    ),
  );
  const cut = (name) => (name.length > 17 ? name.slice(0, 16) + "…" : name);
  const edges = flow.edges
    .filter((one) => spot.has(one.source) && spot.has(one.target) && one.source !== one.target)
    .map((one) => {
      const a = spot.get(one.source),
        b = spot.get(one.target),
        far = level.get(one.target) - level.get(one.source),
        middle = a.x + wide / 2,
        end = b.x + wide / 2;
      const title = s("title", {}, `${one.target} uses the work of ${one.source} (${one.through.join(", ")})`),
        line = (d) => s("path", { cls: one.sure ? "" : "maybe", d }),
        head = (x, y, angle) =>
          s("path", { cls: "head", d: "M0 0l-7-4v8z", transform: `translate(${x} ${y}) rotate(${angle})` });
      if (far === 1) {
        const y = a.y + tall / 2,
          to = b.y + tall / 2,
          from = a.x + wide;
        return s(
          "g",
          {},
          title,
          line(`M${from} ${y}C${from + gapX / 2} ${y} ${b.x - 7 - gapX / 2} ${to} ${b.x - 7} ${to}`),
          head(b.x - 1, to, 0),
        );
      }
      if (far > 1)
        return s(
          "g",
          {},
          title,
          line(`M${middle} ${a.y}C${middle} ${a.y - 44} ${end} ${b.y - 48} ${end} ${b.y - 7}`),
          head(end, b.y - 1, 90),
        );
      const down = b.y >= a.y;
      return s(
        "g",
        {},
        title,
        line(`M${middle} ${a.y + (down ? tall : 0)}L${end} ${b.y + (down ? -7 : tall + 7)}`),
        head(end, b.y + (down ? -1 : tall + 1), down ? 90 : -90),
      );
    });
  const nodes = members.map((name) => {
    const { x, y } = spot.get(name);
    return s(
      "g",
      {},
      s("title", {}, name),
      s("rect", { x, y, width: wide, height: tall, rx: 8 }),
      Object.assign(s("text", { x: x + wide / 2, y: y + tall / 2 + 4.5, "text-anchor": "middle" }), {
        textContent: cut(name),
      }),
    );
  });
  return s(
    "svg",
    {
      cls: "flow",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": `Data flow: ${flow.graph}`,
    },
    ...edges,
    ...nodes,
  );
};
const forest = (experiments) => {
  const list = experiments.filter((one) => one.verdict && known(one.verdict.effect)).slice(0, 12);
  if (!list.length) return h("p", { cls: "dim" }, "No test has told an effect yet.");
  const ends = list
      .flatMap((one) => [one.verdict.effect, ...one.verdict.interval])
      .filter(known)
      .map(Math.abs),
    most = Math.min(2, Math.max(0.2, ...ends)),
    place = (value) => 50 + 50 * Math.max(-1, Math.min(1, value / most));
  return h(
    "div",
    { cls: "forest" },
    list.map((one) => {
      const { effect, interval, metric } = one.verdict,
        low = known(interval[0]) ? interval[0] : -most,
        high = known(interval[1]) ? interval[1] : most,
        less = metric !== "score" && metric !== "success";
      const tone = high < 0 ? (less ? "good" : "bad") : low > 0 ? (less ? "bad" : "good") : "dim";
      return h(
        "div",
        { cls: "line" },
        h(
          "span",
          {},
          one.knobs.map((knob) => `${knob.knob}: ${knob.before} → ${knob.after}`).join("; ") || one.description,
          " ",
          h("span", { cls: "dim small" }, `(${one.title})`),
        ),
        h("span", { cls: "num" }, `${metric.replace("_", " ")} ${change(effect)}`),
        h(
          "div",
          { cls: `scale ${tone}`, role: "img", "aria-label": `Interval ${change(low)} to ${change(high)}` },
          h("i", { css: { left: `${place(low)}%`, width: `${place(high) - place(low)}%` } }),
          h("b", { css: { left: `${place(effect)}%` } }),
        ),
      );
    }),
    h(
      "p",
      { cls: "dim small" },
      `The middle is no change; the ends are ${change(-most)} and ${change(most)}. Bars are intervals.`,
    ),
  );
};
const gantt = (run) => {
  const ends = run.members.map((one) => (one.begin || 0) + (one.seconds || 0)),
    whole = Math.max(run.seconds || 0, ...ends, 1e-6);
  const bar = (one) => {
    const total = one.seconds || 0,
      model = Math.min(one.model_seconds || 0, total),
      tool = Math.min(one.tool_seconds || 0, total - model),
      part = (value) => `${total ? (100 * value) / total : 0}%`;
    return h(
      "div",
      {
        cls: `bar ${one.success ? "" : "bad"}`,
        css: { left: `${(100 * (one.begin || 0)) / whole}%`, width: `${(100 * total) / whole}%` },
      },
      h("i", { cls: "c-model", css: { width: part(model) } }),
      h("i", { cls: "c-tool", css: { width: part(tool) } }),
    );
  };
  return h(
    "div",
    { cls: "gantt" },
    run.members.map((one) =>
      h(
        "div",
        { cls: "lane", title: `${one.id}: begins after ${seconds(one.begin)}, takes ${seconds(one.seconds)}` },
        h(
          "div",
          { cls: "who" },
          one.id,
          one.role && one.role !== one.id ? h("span", { cls: "dim small" }, ` ${one.role}`) : null,
        ),
        h("div", { cls: "track" }, bar(one)),
        h(
          "div",
          { cls: "num" },
          seconds(one.seconds),
          one.success ? null : h("div", { cls: "bad small" }, one.finished ? "failed" : "cut off"),
        ),
      ),
    ),
    h(
      "div",
      { cls: "lane axis-row", "aria-hidden": "true" },
      h("span", {}),
      h(
        "div",
        { cls: "axis" },
        [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, share ? seconds(share * whole) : "0")),
      ),
      h("span", {}),
    ),
    h(
      "div",
      { cls: "legend" },
      [
        ["c-model", "waits for its model"],
        ["c-tool", "runs tools"],
        ["c-rest", "other work"],
      ].map(([cls, text]) => {
        const box = h("i", {
          cls,
          css: { width: "12px", height: "12px", borderRadius: "3px", display: "inline-block" },
        });
        return h("span", {}, box, text);
      }),
      h("span", {}, "shares of a bar, not their order"),
    ),
    run.measured
      ? null
      : h(
          "p",
          { cls: "dim small" },
          "The begins follow from the formation: this run was recorded before they were measured.",
        ),
  );
};
