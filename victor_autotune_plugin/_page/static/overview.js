/* The overview: what awaits a person, what was saved, and the list of teams. */
"use strict";

/* --- overview */
const SAVED = {
  seconds: ["Time saved", seconds],
  usd: ["Money saved", usd],
  tokens: ["Tokens saved", grouped],
  score: ["Score gained", rounded],
};
const savingsTiles = () => {
  const saved = state.savings && state.savings.saved,
    kinds = Object.keys(SAVED).filter((kind) => saved && saved[kind]);
  if (!kinds.length) return null;
  return h(
    "section",
    { cls: "card", "aria-label": "Savings since promotions" },
    h(
      "div",
      { cls: "tiles" },
      kinds.map((kind) => {
        const one = saved[kind],
          [title, text] = SAVED[kind];
        return h(
          "div",
          { cls: "tile" },
          h("div", { cls: "label" }, title),
          one.low > 0 || one.high < 0
            ? h("div", { cls: `big ${one.low > 0 ? "good" : "bad"}` }, text(one.value))
            : h("div", { cls: "big unclear" }, "no clear difference"),
          h("div", { cls: "dim small" }, `95 %: ${text(one.low)} to ${text(one.high)}, in ${count(one.runs, "run")}`),
        );
      }),
    ),
    h(
      "p",
      { cls: "dim small", css: { marginTop: ".8rem" } },
      "Since each promotion, against runs of the plan before from the same time.",
    ),
  );
};
const overviewRows = () => {
  const text = state.search.trim().toLowerCase();
  const kept = [...state.rows.values()].filter(
    (row) =>
      (!text || `${row.team} ${row.workflow} ${row.plan} ${row.state.title}`.toLowerCase().includes(text)) &&
      (state.show === "all" || (state.show === "asks" ? row.awaits.length : row.state.kind === state.show)),
  );
  const gain = (row) => {
    const one = row.outcome && row.outcome.figures.find((each) => each.name === row.outcome.metric);
    return one && known(one.change) ? (FIGURES[one.name].less ? one.change : -one.change) : 9;
  };
  const orders = {
    last: (a, b) => b.last_at - a.last_at,
    name: (a, b) => a.team.localeCompare(b.team),
    gain: (a, b) => gain(a) - gain(b),
    slow: (a, b) => (b.median || 0) - (a.median || 0),
    runs: (a, b) => b.runs - a.runs,
  };
  return kept.sort((a, b) => b.awaits.length - a.awaits.length || orders[state.order](a, b));
};
const teamRow = (row) => {
  const metric = row.outcome ? row.outcome.metric : "duration";
  const told = wasNow(row.outcome, metric in FIGURES ? metric : "duration");
  const next =
    row.ready && row.runs_to_next
      ? `next in ${row.at_most ? "at most" : "about"} ${count(row.runs_to_next, "run")}`
      : null;
  const measured =
    row.outcome && row.outcome.not_measured_since && !told
      ? `not measured since ${when(row.outcome.not_measured_since)}`
      : null;
  return h(
    "tr",
    {
      role: "row",
      onclick: (event) => {
        if (!event.target.closest("a")) location.hash = teamLink(row.workflow, row.team);
      },
    },
    h(
      "td",
      { role: "cell", cls: "wide" },
      h(
        "div",
        { cls: "name" },
        h("a", { href: teamLink(row.workflow, row.team) }, row.team),
        h("div", { cls: "dim small" }, `${row.workflow} · ${row.mode}`),
      ),
    ),
    h("td", { role: "cell", "data-head": "State" }, statePill(row), next ? h("div", { cls: "dim small" }, next) : null),
    h(
      "td",
      { role: "cell", "data-head": "Was → now", cls: "wide" },
      told || h("span", { cls: "dim" }, measured || DASH),
      h("div", { cls: "dim small" }, row.plan),
    ),
    h("td", { role: "cell", "data-head": "Trend", cls: "spark" }, spark(row.spark)),
    h("td", { role: "cell", "data-head": "Runs", cls: "num" }, grouped(row.runs)),
    h("td", { role: "cell", "data-head": "Success", cls: "num" }, percent(row.success)),
    h("td", { role: "cell", "data-head": "Median", cls: "num" }, seconds(row.median)),
    h("td", { role: "cell", "data-head": "Last run", cls: "num dim" }, ago(row.last_at)),
  );
};
const HEADS = ["Team", "State", "Was → now, live plan", "Trend", "Runs", "Success", "Median", "Last run"];
const teamsTable = () => {
  const rows = overviewRows(),
    shown = rows.slice(0, state.shown);
  const more =
    rows.length > shown.length
      ? h(
          "p",
          { css: { marginTop: ".8rem" } },
          h(
            "button",
            {
              cls: "button",
              type: "button",
              id: "more",
              onclick: () => {
                state.shown += 200;
                refill();
              },
            },
            `Show more (${grouped(rows.length - shown.length)} left)`,
          ),
        )
      : null;
  return h(
    "div",
    { id: "teams" },
    rows.length
      ? h(
          "table",
          { cls: "teams fold", role: "table" },
          h("caption", { cls: "quiet" }, "Teams"),
          h(
            "thead",
            { role: "rowgroup" },
            h(
              "tr",
              { role: "row" },
              HEADS.map((head, place) =>
                h("th", { role: "columnheader", scope: "col", cls: place > 3 ? "num" : null }, head),
              ),
            ),
          ),
          h("tbody", { role: "rowgroup" }, shown.map(teamRow)),
        )
      : h(
          "p",
          { cls: "dim" },
          state.rows.size
            ? "No team fits."
            : "Nothing was recorded yet. Run a workflow: victor autotune run WORKFLOW.yaml",
        ),
    more,
  );
};
const refill = () => {
  const old = document.getElementById("teams");
  if (old) old.replaceWith(teamsTable());
};
const chooser = (label, name, options, value, change) =>
  h(
    "label",
    {},
    h("span", { cls: "quiet" }, label),
    h(
      "select",
      { cls: "field", id: name, onchange: (event) => change(event.target.value) },
      options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
    ),
  );
const overview = () => {
  const waiting = [...state.rows.values()].filter((row) => row.awaits.length),
    asked = waiting.flatMap((row) => row.awaits.map((one) => decision(row, one)));
  const open = [...state.rows.values()].filter((row) => row.state.kind === "open").length,
    live = [...state.rows.values()].filter((row) => row.state.name === "proven").length;
  return [
    h(
      "div",
      { cls: "title" },
      h(
        "div",
        {},
        h("h1", {}, "Teams"),
        h(
          "p",
          { cls: "dim" },
          [
            count(state.head.total, "team"),
            count(state.head.runs, "run"),
            open ? `${grouped(open)} in a test` : null,
            live ? `${grouped(live)} with a proven plan` : null,
            waiting.length ? `${grouped(waiting.length)} ${waiting.length === 1 ? "awaits" : "await"} you` : null,
          ]
            .filter(Boolean)
            .join(" · "),
        ),
        state.head.kept
          ? h(
              "p",
              { cls: "dim small", id: "looked-at" },
              `Success, median and P95 are of the last ${grouped(state.head.kept)} runs of each team at most.`,
            )
          : null,
      ),
      state.head.paused ? h("span", { cls: "pill asks" }, "All tuning is paused") : null,
    ),
    ...asked.slice(0, 5),
    asked.length > 5
      ? h("p", { cls: "dim" }, `${grouped(asked.length - 5)} more await you; they stand first in the list.`)
      : null,
    savingsTiles(),
    h(
      "section",
      { cls: "card", "aria-label": "All teams" },
      state.rows.size > 1
        ? h(
            "div",
            { cls: "head" },
            h(
              "div",
              { cls: "row" },
              chooser(
                "Show",
                "show",
                [
                  ["all", "All states"],
                  ["asks", "Awaits you"],
                  ["open", "In a test"],
                  ["good", "Proven"],
                  ["unsure", "Being verified"],
                  ["idle", "No open test"],
                ],
                state.show,
                (value) => {
                  state.show = value;
                  state.shown = 100;
                  refill();
                },
              ),
              chooser(
                "Order by",
                "order",
                [
                  ["last", "Last run first"],
                  ["gain", "Largest gain first"],
                  ["slow", "Slowest first"],
                  ["runs", "Most runs first"],
                  ["name", "By name"],
                ],
                state.order,
                (value) => {
                  state.order = value;
                  refill();
                },
              ),
            ),
          )
        : null,
      teamsTable(),
    ),
  ];
};
