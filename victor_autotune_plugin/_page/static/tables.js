/* Tables of a team, and what may be done to it. */
"use strict";

const plansTable = (plans) =>
  h(
    "table",
    { cls: "fold", role: "table" },
    h("caption", { cls: "quiet" }, "Plans that ran"),
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        ["Plan", "Runs", "Success", "Median", "P95", "Cost", "Score", "Last run"].map((head, place) =>
          h("th", { role: "columnheader", scope: "col", cls: place ? "num" : null }, head),
        ),
      ),
    ),
    h(
      "tbody",
      { role: "rowgroup" },
      plans.map((one) =>
        h(
          "tr",
          { role: "row" },
          h("td", { role: "cell", cls: "wide" }, one.plan),
          ...[
            ["Runs", grouped(one.runs)],
            ["Success", percent(one.success)],
            ["Median", seconds(one.median)],
            ["P95", seconds(one.p95)],
            ["Cost", usd(one.usd)],
            ["Score", score(one.score)],
            ["Last run", ago(one.last_at)],
          ].map(([head, text]) => h("td", { role: "cell", cls: "num", "data-head": head }, text)),
        ),
      ),
    ),
  );
const runsTable = (view) => {
  const points = view.team.runs.points;
  if (!points)
    return h(
      "p",
      { cls: "dim" },
      `${count(view.team.runs.total, "run")} are drawn in groups. Drag over the chart to come to single runs.`,
    );
  const places = points.id
    .map((_, place) => place)
    .filter(
      (place) =>
        view.roles.has(points.role[place]) &&
        (!view.plan || view.team.runs.plans[points.plan[place]] === view.plan) &&
        (!view.zoom || view.spacing === "runs"
          ? !view.zoom || (place >= view.zoom[0] && place <= view.zoom[1])
          : points.at[place] >= view.zoom[0] && points.at[place] <= view.zoom[1]),
    )
    .reverse()
    .slice(0, view.listed);
  return h(
    "div",
    { id: "runs" },
    h(
      "table",
      { cls: "fold", role: "table" },
      h("caption", { cls: "quiet" }, "Runs"),
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          ["Run", "Plan", "Went", "Duration", "Cost", "Score"].map((head, place) =>
            h("th", { role: "columnheader", scope: "col", cls: place > 2 ? "num" : null }, head),
          ),
        ),
      ),
      h(
        "tbody",
        { role: "rowgroup" },
        places.map((place) =>
          h(
            "tr",
            { role: "row" },
            h(
              "td",
              { role: "cell", "data-head": "Run" },
              h("a", { href: `#/run/${encodeURIComponent(points.id[place])}` }, when(points.at[place])),
            ),
            h(
              "td",
              { role: "cell", cls: "wide", "data-head": "Plan" },
              view.team.runs.plans[points.plan[place]],
              h(
                "span",
                { cls: "dim small" },
                points.role[place] === 1 || points.role[place] === 2 ? ` · ${ROLES[points.role[place]].title}` : "",
              ),
            ),
            h(
              "td",
              {
                role: "cell",
                "data-head": "Went",
                cls: points.flags[place] & (FAILED | TIMED_OUT | LOST) ? "bad" : "",
              },
              went(points.flags[place]),
            ),
            h("td", { role: "cell", cls: "num", "data-head": "Duration" }, seconds(points.seconds[place])),
            h("td", { role: "cell", cls: "num", "data-head": "Cost" }, usd(points.usd[place])),
            h("td", { role: "cell", cls: "num", "data-head": "Score" }, score(points.score[place])),
          ),
        ),
      ),
    ),
    places.length === view.listed
      ? h(
          "p",
          { css: { marginTop: ".6rem" } },
          h(
            "button",
            {
              cls: "button",
              type: "button",
              onclick: () => {
                view.listed += 50;
                refillRuns(view);
              },
            },
            "Show more",
          ),
        )
      : null,
  );
};
const refillRuns = (view) => {
  const old = document.getElementById("runs");
  if (old) old.replaceWith(runsTable(view));
};
const outcomeTiles = (row) => {
  const outcome = row.outcome;
  if (!outcome) return null;
  const figures = outcome.figures.filter((one) => known(one.was) && known(one.now));
  if (!figures.length)
    return outcome.not_measured_since
      ? card("Was → now", h("p", { cls: "dim" }, `${upper(outcome.basis_told)}.`))
      : null;
  return h(
    "section",
    { cls: "card", "aria-label": "What the plan brought" },
    h(
      "div",
      { cls: "tiles" },
      figures.map((one) => {
        const about = FIGURES[one.name];
        return h(
          "div",
          { cls: "tile" },
          h("div", { cls: "label" }, about.title, h("span", { cls: "small" }, ` (${about.note})`)),
          h(
            "div",
            { cls: "big" },
            h("span", { cls: "was" }, about.text(one.was).replace(/ USD$/, "")),
            h("span", { cls: "arrow" }, "→"),
            h("span", { cls: "nowrap" }, about.text(one.now)),
          ),
          h(
            "div",
            { cls: "small" },
            known(one.change) && !one.unknown
              ? [
                  h("strong", { cls: deltaClass(one) }, about.delta(one.change)),
                  known(one.low) && known(one.high)
                    ? h(
                        "span",
                        { cls: "dim" },
                        ` (${about.delta(one.low)} to ${about.delta(one.high)}${one.sure ? `, ${one.sure}` : ""})`,
                      )
                    : null,
                ]
              : h("span", { cls: "dim" }, "too few runs to tell how much"),
          ),
        );
      }),
    ),
    h(
      "p",
      { cls: "dim small", css: { marginTop: ".8rem" } },
      `${upper(outcome.basis_told)}. Both plans' runs are of the same time; in brackets are 95 % intervals.`,
    ),
  );
};
const teamActions = (row) =>
  config.actions
    ? h(
        "div",
        { cls: "row" },
        row.paused
          ? h(
              "button",
              {
                cls: "button",
                type: "button",
                onclick: () =>
                  perform(row, "resume", "Resume the tuning?", "An open test goes on where it was.", "Resume"),
              },
              "Resume",
            )
          : h(
              "button",
              {
                cls: "button",
                type: "button",
                onclick: () =>
                  perform(
                    row,
                    "pause",
                    "Pause the tuning?",
                    "The team keeps its plan, and its runs take part in no test.",
                    "Pause",
                  ),
              },
              "Pause",
            ),
        row.state.name
          ? h(
              "button",
              {
                cls: "button danger",
                type: "button",
                onclick: () =>
                  perform(
                    row,
                    "rollback",
                    "Roll back?",
                    "An open test ends; without one, the plan before comes back.",
                    "Roll back",
                  ),
              },
              "Roll back",
            )
          : null,
      )
    : null;
const tests = (view) => {
  const list = view.team.experiments.filter((one) => one.verdict);
  if (!list.length)
    return [
      card(
        "Tests",
        h(
          "p",
          { cls: "dim" },
          view.team.row.mode === "observe" ? "In mode observe nothing is tested." : "No test yet.",
        ),
      ),
    ];
  const chosen =
    list.find((one) => one.id === view.experiment) ||
    list.find((one) => one.id === view.team.open) ||
    list.find((one) => one.id === view.team.live) ||
    list[0];
  view.experiment = chosen.id;
  const pick =
    list.length > 1
      ? chooser(
          "Test",
          "test",
          list.map((one) => [one.id, `${when(one.created_at).slice(0, 10)} ${one.description} (${one.title})`]),
          chosen.id,
          (value) => {
            view.experiment = value;
            render(true);
          },
        )
      : null;
  const said = chosen.verdict,
    box = h("div", { cls: "chart", id: "evidence" });
  if (!chosen.watch && !(said.runs.control || said.runs.treatment))
    return [
      h(
        "section",
        { cls: "card" },
        h("div", { cls: "head" }, h("h2", {}, "Test"), pick),
        h("p", {}, `${chosen.description} No run has taken part yet.`),
        h(
          "p",
          { cls: "dim small" },
          `It takes at most ${grouped(chosen.max_runs)} runs in each arm. Guardrails: `,
          `${said.guardrails.map((one) => `${one.title} up to ${size(one.unit, one.margin)} worse`).join(", ")}.`,
        ),
      ),
    ];
  const watch = chosen.watch && chosen.id === view.team.live ? chosen.watch : null;
  return [
    h(
      "div",
      { cls: "pair" },
      h(
        "section",
        { cls: "card" },
        h("div", { cls: "head" }, h("h2", {}, "Evidence over runs"), pick),
        h("p", { css: { marginBottom: ".5rem" } }, said.reason),
        box,
        h(
          "div",
          { cls: "legend" },
          h(
            "span",
            {},
            s(
              "svg",
              { width: 20, height: 8, "aria-hidden": "true" },
              s("path", { d: "M0 4h20", stroke: "currentColor", "stroke-width": 2 }),
            ),
            "evidence for an improvement",
          ),
          h(
            "span",
            {},
            s(
              "svg",
              { width: 20, height: 8, "aria-hidden": "true" },
              s("path", { d: "M0 4h20", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "5 3" }),
            ),
            "where it is proven",
          ),
        ),
        h(
          "p",
          { cls: "dim small", css: { marginTop: ".5rem" } },
          `${grouped(said.runs.control || 0)} + ${grouped(said.runs.treatment || 0)} runs of the plan before and the `,
          `new one, at most ${grouped(chosen.max_runs)} in each arm.`,
          known(said.chance_better) && said.status === "running"
            ? ` ${likely(said.chance_better)} likely to be better so far.`
            : "",
        ),
      ),
      h(
        "section",
        { cls: "card" },
        h("h2", {}, watch ? "The live plan is watched" : "Guardrails"),
        watch ? h("p", { css: { marginBottom: ".5rem" } }, watch.reason) : null,
        (watch && watch.guardrails.length ? watch : said).guardrails.length
          ? guardrails((watch && watch.guardrails.length ? watch : said).guardrails)
          : h("p", { cls: "dim" }, "No figures yet."),
      ),
    ),
  ];
};
