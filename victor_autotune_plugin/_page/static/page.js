/* Routes, and how the page stays up to date. */
"use strict";

/* --- routes */
const parts = () =>
  location.hash
    .replace(/^#\/?/, "")
    .split("/")
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
const put = (nodes) => {
  if (state.chart) {
    state.chart.destroy();
    state.chart = null;
  }
  hideTip();
  main.replaceChildren(...nodes.flat().filter(Boolean));
};
let turn = 0;
const render = async (stay) => {
  const mine = ++turn,
    [page, first, second] = parts(),
    scroll = scrollY,
    focused = document.activeElement && document.activeElement.id;
  try {
    if (page === "team" && second) {
      const same = state.view && state.view.workflow === first && state.view.name === second;
      const view = same
        ? state.view
        : {
            workflow: first,
            name: second,
            metric: "seconds",
            spacing: "time",
            span: "all",
            zoom: null,
            plan: "",
            roles: new Set([0, 1, 2, 3]),
            picked: null,
            listed: 20,
            listOpen: false,
          };
      if (!same || !stay || view.stale) {
        view.team = await source.team(first, second);
        view.stale = false;
      }
      if (mine !== turn) return;
      state.view = view;
      document.title = `${second} · Autotune`;
      put(teamPage(view));
      fillTeam(view);
    } else if (page === "run" && first) {
      const run = await source.run(first);
      if (mine !== turn) return;
      document.title = `Run ${run.id.slice(0, 12)} · Autotune`;
      put(runPage(run));
    } else {
      document.title = config.title;
      put(overview());
    }
  } catch (error) {
    if (mine === turn)
      put([
        h("h1", {}, "Not here"),
        h("p", { cls: "dim" }, error.message),
        h("p", {}, h("a", { href: "#/" }, "All teams")),
      ]);
  }
  if (stay) {
    scrollTo(0, scroll);
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  }
  document.documentElement.dataset.ready = String(turn);
};
const take = (data) => {
  for (const row of data.teams) state.rows.set(keyOf(row.workflow, row.team), row);
  const { teams, ...head } = data;
  state.head = head;
  state.version = data.version;
  document.getElementById("where").textContent =
    head.project + (head.environment === "default" ? "" : ` · ${head.environment}`);
  return teams;
};
const update = async () => {
  const changed = take(await source.overview(state.version)),
    [page, first, second] = parts();
  if (page === "team" && changed.some((row) => row.workflow === first && row.team === second) && state.view) {
    state.view.stale = true;
    if (!state.view.zoom) await render(true);
  }
  if (page === "" && changed.length) {
    state.savings = await source.savings().catch(() => state.savings);
    await render(true);
  }
};
const listen = () => {
  let busy = false,
    again = false;
  const events = new EventSource("events");
  const look = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await update();
      note("Live");
    } catch (error) {
      note(error.message, true);
    }
    busy = false;
    if (again) {
      again = false;
      look();
    }
  };
  events.addEventListener("changed", (event) => {
    if (Number(event.data) !== state.version) look();
    else note("Live");
  });
  events.addEventListener("trouble", (event) => note(event.data, true));
  events.onerror = () => note("No connection: is the command still running?", true);
  events.onopen = () => note("Live");
};
document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = document.getElementById("find-text").value.trim();
  if (!text) return;
  const team = [...state.rows.values()].find((row) => row.team.toLowerCase() === text.toLowerCase());
  if (team) location.hash = teamLink(team.workflow, team.team);
  else if (overviewRows().length && parts()[0] === "") {
    const row = overviewRows()[0];
    location.hash = teamLink(row.workflow, row.team);
  } else location.hash = `#/run/${encodeURIComponent(text)}`;
});
document.getElementById("find-text").addEventListener("input", (event) => {
  state.search = event.target.value;
  state.shown = 100;
  if (parts()[0] === "") refill();
});
const theme = document.getElementById("theme"),
  dark = () =>
    document.documentElement.dataset.theme === "dark" ||
    (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
const paintTheme = () =>
  theme.replaceChildren(
    s(
      "svg",
      { viewBox: "0 0 20 20", width: 16, height: 16, "aria-hidden": "true" },
      dark()
        ? s("path", {
            d:
              "M10 3v2m0 10v2M3 10h2m10 0h2M5 5l1.4 1.4m7.2 7.2L15 15M5 15l1.4-1.4m7.2-7.2L15 5" +
              "M10 7a3 3 0 100 6 3 3 0 000-6z",
            fill: "none",
            stroke: "currentColor",
            "stroke-width": 1.6,
            "stroke-linecap": "round",
          })
        : s("path", {
            d: "M16 12.5A7 7 0 017.5 4 7 7 0 1016 12.5z",
            fill: "none",
            stroke: "currentColor",
            "stroke-width": 1.6,
            "stroke-linejoin": "round",
          }),
    ),
  );
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  paintTheme();
  render(true);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  paintTheme();
  render(true);
});
addEventListener("hashchange", async () => {
  await render(false);
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
let width = innerWidth,
  resizing;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(() => render(true), 120);
});

/* Milliseconds between two looks at how much of the store is read. */
const LOADING_PAUSE = 200;
const loading = (read, of) =>
  h(
    "div",
    { cls: "loading", role: "status" },
    h("p", {}, `Reading the store: ${grouped(read)} of ${count(of, "run")} …`),
    h("progress", { value: read, max: Math.max(of, 1), "aria-label": "Runs read" }),
  );

(async () => {
  paintTheme();
  if (config.first && config.first.teams.length) {
    take(config.first);
    state.version = 0;
    if (parts()[0] === "") await render(false);
  }
  try {
    take(await source.overview(0));
    while (state.head.loading) {
      put([loading(...state.head.loading)]);
      await new Promise((wake) => setTimeout(wake, LOADING_PAUSE));
      take(await source.overview(0));
    }
  } catch (error) {
    note(error.message, true);
    put([h("p", { cls: "loading" }, error.message)]);
    return;
  }
  document.getElementById("foot").textContent = config.live
    ? "Read from the project's store on this machine. Neither prompts nor outputs are in it."
    : `Written ${when(state.head.at)}. Neither prompts nor outputs are in it; nothing is loaded from elsewhere.`;
  await render(Boolean(config.first));
  state.savings = await source.savings().catch(() => null);
  if (parts()[0] === "") await render(true);
  if (config.live) listen();
  else {
    pulse.textContent = `As of ${when(state.head.at)}`;
  }
})();
