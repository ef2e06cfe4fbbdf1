/* Small parts that several pages have. */
"use strict";

/* --- small parts */
const pill = (one) => h("span", { cls: `pill ${one.name === "probation" ? "probation" : one.kind}` }, one.title);
const statePill = (row) =>
  row.ready
    ? [pill(row.state), row.paused && row.state.title !== "paused" ? [" ", h("span", { cls: "pill" }, "paused")] : null]
    : h("span", { cls: "dim" }, "…");
const teamLink = (workflow, team) => `#/team/${encodeURIComponent(workflow)}/${encodeURIComponent(team)}`;
const copy = (text) =>
  h(
    "button",
    {
      cls: "button",
      type: "button",
      "aria-label": `Copy ${text}`,
      onclick: async (event) => {
        const button = event.currentTarget;
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Select it";
        }
        setTimeout(() => {
          button.textContent = "Copy";
        }, 1500);
      },
    },
    "Copy",
  );
const command = (text) => h("div", { cls: "command" }, h("code", {}, text), copy(text));
const card = (title, ...children) => h("section", { cls: "card" }, title ? h("h2", {}, title) : null, ...children);
// Only what the interval tells from no change has a colour.
const deltaClass = (one) =>
  !known(one.change) || one.change === 0 || !known(one.low) || !known(one.high) || (one.low < 0 && one.high > 0)
    ? "dim"
    : one.change < 0 === FIGURES[one.name].less
      ? "good"
      : "bad";
const spark = (values) => {
  const shown = values.filter(known);
  if (shown.length < 2) return null;
  const low = Math.min(...shown),
    high = Math.max(...shown),
    span = high - low || 1;
  const point = (value, place) => {
    const x = (112 * place) / (values.length - 1),
      y = 25 - (22 * (value - low)) / span;
    return `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  const [first, last] = [values[0], values[values.length - 1]].map(seconds);
  return s(
    "svg",
    {
      cls: "sparkline",
      viewBox: "0 0 112 28",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Median duration of recent runs, from ${first} to ${last}`,
    },
    s("path", { d: values.map(point).join("") }),
  );
};
const wasNow = (outcome, figure) => {
  const one = outcome && outcome.figures.find((each) => each.name === figure);
  if (!one || !known(one.was) || !known(one.now)) return null;
  const about = FIGURES[figure];
  return [
    h("span", { cls: "num" }, h("span", { cls: "dim" }, about.text(one.was)), " → ", about.text(one.now)),
    known(one.change) ? [" ", h("span", { cls: `num ${deltaClass(one)}` }, about.delta(one.change))] : null,
  ];
};
const askPerson = (title, text, verb, wantsReason) =>
  new Promise((resolve) => {
    const dialog = document.getElementById("ask"),
      reason = h("input", { cls: "field", type: "text", id: "ask-reason", maxlength: 300 });
    const done = (value) => {
      dialog.close();
      resolve(value);
    };
    dialog.replaceChildren(
      h(
        "form",
        {
          method: "dialog",
          cls: "stack",
          onsubmit: (event) => {
            event.preventDefault();
            done({ reason: reason.value });
          },
        },
        h("h2", { id: "ask-title" }, title),
        h("p", {}, text),
        wantsReason ? [h("label", { for: "ask-reason" }, "Why, for the history"), reason] : null,
        h(
          "div",
          { cls: "row" },
          h("button", { cls: "button main", type: "submit" }, verb),
          h("button", { cls: "button", type: "button", onclick: () => done(null) }, "Cancel"),
        ),
      ),
    );
    dialog.setAttribute("aria-labelledby", "ask-title");
    dialog.oncancel = () => resolve(null);
    dialog.showModal();
  });
const perform = async (row, action, title, text, verb, more = {}) => {
  const answer = await askPerson(title, text, verb, action !== "pause" && action !== "resume");
  if (!answer) return;
  try {
    const said = await act({ action, workflow: row.workflow, team: row.team, reason: answer.reason, ...more });
    note(said.said);
    await update();
    await render(true);
  } catch (error) {
    note(error.message, true);
  }
};
const note = (text, bad) => {
  pulse.textContent = text;
  pulse.className = `pulse ${bad ? "lost" : "live"}`;
};
const decision = (row, one) =>
  h(
    "section",
    { cls: "card decision" },
    h("h2", {}, h("span", { cls: "asks" }, one.question)),
    h("p", {}, h("a", { href: teamLink(row.workflow, row.team) }, row.team), ` · ${one.description}`),
    h(
      "p",
      { cls: "dim small" },
      `${upper(one.before)} → ${one.after}. `,
      one.waited ? one.waited.join(" ") : `It has waited since ${when(one.since)}.`,
    ),
    config.actions && one.approve
      ? h(
          "div",
          { cls: "row commands" },
          h(
            "button",
            {
              cls: "button main",
              type: "button",
              onclick: () =>
                perform(row, "approve", "Approve?", one.description, "Approve", { experiment: one.experiment_id }),
            },
            "Approve",
          ),
          h(
            "button",
            {
              cls: "button",
              type: "button",
              onclick: () =>
                perform(row, "reject", "Reject?", one.description, "Reject", { experiment: one.experiment_id }),
            },
            "Reject",
          ),
        )
      : h("div", { cls: "commands" }, [one.approve, one.reject].filter(Boolean).map(command)),
  );
