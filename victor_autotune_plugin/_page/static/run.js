/* The page of a run. */
"use strict";

/* --- a run */
const runPage = (run) => {
  const facts = [
    ["Started", when(run.at)],
    ["Duration", seconds(run.seconds)],
    [
      "Went",
      run.status === "finished"
        ? run.cancelled
          ? "was cancelled"
          : run.timed_out
            ? "timed out"
            : run.success
              ? "succeeded"
              : `failed${run.error_class ? `: ${run.error_class}` : ""}`
        : run.status,
    ],
    ["Formation", run.formation],
    ["Plan asked for", run.asked],
    [
      "Took part in",
      run.experiment
        ? `${run.phase === "watch" ? "the watch" : "a test"}, ${run.arm === "control" ? "plan before" : "new plan"}`
        : "no test",
    ],
    ["Cost", usd(run.usd)],
    ["Score", score(run.score)],
    ["Model calls", grouped(run.llm_calls)],
    ["Tool calls", grouped(run.tool_calls)],
    ["Tokens in / out", `${grouped(run.input_tokens)} / ${grouped(run.output_tokens)}`],
    ["Mode", run.mode],
  ];
  const heads = ["Member", "Took", "Model", "Tools", "Model calls", "Tool calls", "Tokens in / out"];
  return [
    h(
      "div",
      { cls: "title" },
      h(
        "div",
        {},
        h(
          "p",
          { cls: "crumb dim" },
          h("a", { href: "#/" }, "Teams"),
          " / ",
          h("a", { href: teamLink(run.workflow, run.team) }, run.team),
        ),
        h("h1", {}, "Run ", h("span", { cls: "mono" }, run.id.slice(0, 12))),
        h("p", { cls: "dim" }, `${run.workflow}, ${when(run.at)}`),
      ),
      h("span", { cls: `pill ${run.success ? "good" : run.cancelled ? "" : "bad"}` }, facts[2][1]),
    ),
    card("Members", run.members.length ? gantt(run) : h("p", { cls: "dim" }, "No member was recorded.")),
    card(
      "Figures",
      h(
        "dl",
        { cls: "facts" },
        facts.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))),
      ),
    ),
    run.members.length
      ? card(
          "What each member did",
          h(
            "table",
            { cls: "fold", role: "table" },
            h("caption", { cls: "quiet" }, "Members"),
            h(
              "thead",
              { role: "rowgroup" },
              h(
                "tr",
                { role: "row" },
                heads.map((head, place) =>
                  h("th", { role: "columnheader", scope: "col", cls: place ? "num" : null }, head),
                ),
              ),
            ),
            h(
              "tbody",
              { role: "rowgroup" },
              run.members.map((one) =>
                h(
                  "tr",
                  { role: "row" },
                  h(
                    "td",
                    { role: "cell", cls: "wide" },
                    one.id,
                    one.role ? h("span", { cls: "dim small" }, ` ${one.role}`) : null,
                    one.success ? null : h("span", { cls: "bad small" }, ` ${one.error_class || "failed"}`),
                    one.models.length ? h("div", { cls: "dim small" }, one.models.join(", ")) : null,
                  ),
                  ...[
                    ["Took", seconds(one.seconds)],
                    ["Model", seconds(one.model_seconds)],
                    ["Tools", seconds(one.tool_seconds)],
                    ["Model calls", grouped(one.llm_calls)],
                    ["Tool calls", grouped(one.tool_calls) + (one.refused ? ` (${grouped(one.refused)} refused)` : "")],
                    ["Tokens in / out", `${grouped(one.input_tokens)} / ${grouped(one.output_tokens)}`],
                  ].map(([head, text]) => h("td", { role: "cell", cls: "num", "data-head": head }, text)),
                ),
              ),
            ),
          ),
        )
      : null,
    run.scores.length
      ? card(
          "Scores",
          h(
            "dl",
            { cls: "facts" },
            run.scores.map((one) =>
              h(
                "div",
                {},
                h("dt", {}, `${one.name} (${one.source})`),
                h("dd", {}, one.value === null ? "no opinion" : score(one.value)),
              ),
            ),
          ),
        )
      : null,
    card(
      "In traces",
      run.trace_id
        ? [
            h(
              "p",
              { cls: "dim small" },
              "Look for this trace where your spans go; the search above finds the run by it.",
            ),
            command(run.trace_id),
          ]
        : h("p", { cls: "dim" }, "No trace was recorded: no tracer provider was set."),
      h("p", { cls: "dim small", css: { marginTop: ".6rem" } }, "Run id: ", h("span", { cls: "mono" }, run.id)),
    ),
  ];
};
