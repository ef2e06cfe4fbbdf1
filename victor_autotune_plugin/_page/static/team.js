/* The page of a team. */
"use strict";

const earlierText = (one) => {
  const figures = [
    known(one.success_rate) ? `${percent(one.success_rate)} ok` : null,
    known(one.median_seconds) ? `median ${seconds(one.median_seconds)}` : null,
    known(one.mean_seconds) ? `mean ${seconds(one.mean_seconds)}` : null,
    known(one.mean_cost_usd) ? `mean cost ${usd(one.mean_cost_usd)}` : null,
    known(one.mean_score) ? `mean score ${score(one.mean_score)}` : null,
  ].filter(Boolean);
  const dates = [one.first_at, one.last_at].map((at) => new Date(at * 1000).toISOString().slice(0, 10));
  const days = [...new Set(dates)].join(" to ");
  return (
    `${count(one.runs, "earlier run")} (${days}) ${one.runs === 1 ? "is" : "are"} kept as daily totals` +
    `${figures.length ? ": " + figures.join(", ") : ""}.`
  );
};

const teamPage = (view) => {
  const { row, definition, flow, changes, earlier, experiments, plans, runs } = view.team;
  const names = runs.plans || [...new Set(plans.map((one) => one.plan))],
    hasCost = runs.points && runs.points.usd.some(known),
    hasScore = runs.points && runs.points.score.some(known);
  const pressed = (list, value, set) =>
    h(
      "div",
      { cls: "group", role: "group" },
      list.map(([key, text]) =>
        h(
          "button",
          { cls: "button", type: "button", "aria-pressed": String(key === value), onclick: () => set(key) },
          text,
        ),
      ),
    );
  const spans = [
      ["all", "All"],
      ["30", "30 days"],
      ["7", "7 days"],
      ["1", "24 h"],
    ],
    last = row.last_at || 0;
  const roles = ROLES.map((role, place) => ({ role, place })).filter(({ role, place }) =>
    runs.points ? runs.points.role.includes(place) : role.name in runs.bins.roles,
  );
  const story = h(
    "section",
    { cls: "card" },
    h(
      "div",
      { cls: "head" },
      h("h2", {}, "Story"),
      h(
        "div",
        { cls: "row" },
        hasCost || hasScore
          ? pressed(
              [
                ["seconds", "Duration"],
                ...(hasCost ? [["usd", "Cost"]] : []),
                ...(hasScore ? [["score", "Score"]] : []),
              ],
              view.metric,
              (key) => {
                view.metric = key;
                render(true);
              },
            )
          : null,
        pressed(
          [
            ["time", "By time"],
            ["runs", "Run by run"],
          ],
          view.spacing,
          (key) => {
            view.spacing = key;
            view.zoom = null;
            render(true);
          },
        ),
      ),
    ),
    h(
      "div",
      { cls: "row", css: { marginBottom: ".5rem" } },
      view.spacing === "time"
        ? pressed(spans, view.span, (key) => {
            view.span = key;
            view.zoom = key === "all" ? null : [last - 86400 * Number(key), last + 60];
            render(true);
            zoomed(view);
          })
        : null,
      names.length > 1
        ? chooser("Plan", "plan", [["", "All plans"], ...names.map((name) => [name, name])], view.plan, (value) => {
            view.plan = value;
            render(true);
            if (runs.bins) zoomed(view);
          })
        : null,
      h(
        "button",
        {
          cls: "button",
          type: "button",
          id: "unzoom",
          hidden: !view.zoom,
          onclick: () => {
            view.zoom = null;
            view.span = "all";
            render(true);
            zoomed(view);
          },
        },
        "Whole story",
      ),
    ),
    h("div", {
      cls: "chart",
      id: "story",
      tabindex: 0,
      role: "group",
      "aria-label":
        `${METRICS[view.metric].title} of ${count(runs.total, "run")} over time. ` +
        "Arrow keys go from run to run, Enter opens one.",
    }),
    h("p", { cls: "quiet", id: "picked", role: "status" }),
    h(
      "div",
      { cls: "legend" },
      roles.map(({ role, place }) =>
        h(
          "label",
          { css: { display: "inline-flex", alignItems: "center", gap: ".35rem", cursor: "pointer" } },
          h("input", {
            type: "checkbox",
            checked: view.roles.has(place),
            onchange: (event) => {
              if (event.target.checked) view.roles.add(place);
              else view.roles.delete(place);
              drawStory(view);
              refillRuns(view);
            },
          }),
          legendMark(role),
          role.title,
        ),
      ),
      h("span", {}, legendMark({ shape: "cross", colour: "--bad" }), "failed"),
    ),
    runs.bins
      ? h("p", { cls: "dim small" }, `${count(runs.total, "run")}, drawn in groups: median, and the middle 80 %.`)
      : null,
    row.looked_at < row.runs
      ? h(
          "p",
          { cls: "dim small", id: "looked-at" },
          `Of ${count(row.runs, "run")} the last ${grouped(row.looked_at)} are here: in the chart, the figures and the ` +
            "plans. Tests count all of theirs.",
        )
      : null,
    earlier ? h("p", { cls: "dim small", id: "earlier" }, earlierText(earlier)) : null,
  );
  const declared = definition
    ? [
        definition.formation,
        count(definition.members.length, "member"),
        definition.tool_budget === null ? null : `tool budget ${grouped(definition.tool_budget)}`,
        definition.timeout === null ? null : `timeout ${seconds(definition.timeout)}`,
      ]
        .filter(Boolean)
        .join(", ")
    : "unknown";
  return [
    h(
      "div",
      { cls: "title" },
      h(
        "div",
        {},
        h("p", { cls: "crumb dim" }, h("a", { href: "#/" }, "Teams"), ` / ${row.workflow}`),
        h("div", { cls: "row" }, h("h1", {}, row.team), statePill(row)),
        h("p", { cls: "dim" }, `Live plan: ${row.plan}. Configured: ${declared}. Mode ${row.mode}.`),
        row.mode_told ? h("p", { cls: "asks small" }, `${upper(row.mode_told).replaceAll("`", "")}.`) : null,
      ),
      teamActions(row),
    ),
    ...row.awaits.map((one) => decision(row, one)),
    row.next.length
      ? h("p", {}, h("strong", {}, "Next: "), row.next.map((text) => text.replaceAll("`", "")).join(" "))
      : null,
    outcomeTiles(row),
    runs.total ? story : null,
    ...tests(view),
    h(
      "div",
      { cls: "pair" },
      card(
        "Data flow",
        flow
          ? [
              flow.edges.some((one) => one.source !== one.target)
                ? flowDrawing(flow)
                : h(
                    "div",
                    { cls: "alone" },
                    flow.members.map((name) => h("span", {}, name)),
                  ),
              h("p", {}, h("strong", {}, upper(flow.verdict) + ". "), flow.because),
              flow.missing ? h("p", { cls: "dim small" }, `Missing: ${flow.missing}`) : null,
              flow.open.map((one) => h("p", { cls: "dim small" }, `${one.member} is open: ${one.why}.`)),
              flow.follows.map((said) => h("p", { cls: "dim small" }, said)),
              h(
                "p",
                { cls: "dim small" },
                `Looked at: ${flow.looked_at}.${flow.edges.some((one) => !one.sure) ? " Dashed: may be." : ""}`,
              ),
            ]
          : h("p", { cls: "dim" }, "Not known yet."),
      ),
      h(
        "div",
        { cls: "column" },
        card("What changing a knob did", forest(experiments)),
        view.team.quality.length
          ? card(
              "Quality",
              view.team.quality.map((said) => h("p", {}, said)),
            )
          : null,
      ),
    ),
    h("section", { cls: "card", id: "members" }, h("h2", {}, "Members in the last run"), h("p", { cls: "dim" }, "…")),
    plans.length
      ? card(
          "Plans that ran",
          h(
            "p",
            { cls: "dim small" },
            "All runs of each plan, of different times: was → now above compares runs of the same time.",
          ),
          plansTable(plans),
        )
      : null,
    h(
      "section",
      { cls: "card" },
      h(
        "details",
        {
          open: view.listOpen,
          ontoggle: (event) => {
            view.listOpen = event.target.open;
          },
        },
        h("summary", {}, "Runs, newest first"),
        runsTable(view),
      ),
    ),
    card(
      "History",
      changes.length
        ? h(
            "ul",
            { cls: "story" },
            changes.map((one) =>
              h(
                "li",
                {},
                h("time", { datetime: new Date(one.at * 1000).toISOString() }, when(one.at)),
                h(
                  "div",
                  {},
                  h("span", { css: { fontWeight: 550 } }, upper(one.title)),
                  known(one.improvement)
                    ? h("span", { cls: "good" }, ` ${percent(one.improvement / 100)} better`)
                    : null,
                  h("span", { cls: "dim small" }, ` ${one.who}`),
                  h("p", { cls: "small" }, one.reason),
                  one.after ? h("p", { cls: "dim small" }, `${one.before} → ${one.after}`) : null,
                ),
              ),
            ),
          )
        : h("p", { cls: "dim" }, "No changes yet."),
    ),
  ];
};
const fillTeam = async (view) => {
  drawStory(view);
  const box = document.getElementById("evidence");
  if (box && view.experiment)
    source
      .evidence(view.experiment)
      .then((path) => {
        if (!box.isConnected) return;
        if (path.runs.length < 2) box.replaceChildren(h("p", { cls: "dim" }, "It has too few runs to draw."));
        else {
          box.setAttribute("role", "img");
          box.setAttribute(
            "aria-label",
            `Evidence ${rounded(path.statistic.at(-1))} after ${count(path.runs.at(-1), "run")}; ` +
              `boundary ${rounded(path.boundary.at(-1))}.`,
          );
          box.replaceChildren();
          evidenceChart(path, box);
        }
      })
      .catch((error) => box.replaceChildren(h("p", { cls: "dim" }, error.message)));
  const members = document.getElementById("members"),
    points = view.team.runs.points,
    ended = points ? points.id.filter((_, place) => !(points.flags[place] & RUNNING)) : [];
  const shown = view.team.last_run || ended.at(-1);
  if (!shown) {
    members.hidden = true;
    return;
  }
  source
    .run(shown)
    .then((run) =>
      members.replaceChildren(
        h(
          "div",
          { cls: "head" },
          h("h2", {}, "Members in the last run"),
          h(
            "a",
            { href: `#/run/${encodeURIComponent(run.id)}`, cls: "small" },
            `${when(run.at)}, ${seconds(run.seconds)}`,
          ),
        ),
        gantt(run),
      ),
    )
    .catch(() => {
      members.hidden = true;
    });
};
