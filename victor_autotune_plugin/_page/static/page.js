/* The page of victor-autotune: teams, a team's story, and a run. Live it asks its server; offline all is in the file.
   Everything is made as nodes with text, never as markup, so that no name can become code. */
"use strict";
(() => {
  const config = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main"), tip = document.getElementById("tip"), pulse = document.getElementById("pulse");
  const DASH = "–", MINUS = "−";
  const state = { rows: new Map(), version: 0, head: {}, savings: null, search: "", show: "all", order: "last", shown: 100, view: null, chart: null, route: "" };

  /* --- nodes */
  const h = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "css") Object.assign(node.style, value);
      else node.setAttribute(name === "cls" ? "class" : name, value === true ? "" : value);
    }
    node.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false).map((one) => (one instanceof Node ? one : tag === "code" ? String(one) : glued(String(one)))));
    return node;
  };
  // A number and its unit stay on one line.
  const glued = (text) => text.replace(/(\d) (?=(?:%|s|min|h|USD|points?)(?![\p{L}\d]))/gu, "$1\u00a0");
  const SVG = "http://www.w3.org/2000/svg";
  const s = (tag, attributes, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name === "cls" ? "class" : name, value);
    node.append(...children.flat().filter(Boolean));
    return node;
  };

  /* --- numbers, as everywhere in the product */
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const minus = (text) => (/[1-9]/.test(text) ? text.replace("-", MINUS) : text.replace("-", ""));
  const signed = (text) => (/[1-9]/.test(text) && !text.startsWith(MINUS) ? "+" + text : text);
  const hundredths = (share) => {
    let shown = (100 * share).toFixed(1);
    if (Math.abs(Number(shown)) >= 10) shown = (100 * share).toFixed(0);
    return minus(shown.replace(/\.0$/, ""));
  };
  const percent = (share) => (known(share) ? hundredths(share) + " %" : DASH);
  const change = (share) => (known(share) ? signed(hundredths(share)) + " %" : "unknown");
  const points = (share) => (known(share) ? signed(hundredths(share)) + " points" : "unknown");
  const seconds = (value) => {
    if (!known(value)) return DASH;
    if (Math.abs(value) < 99.95) return minus(Math.abs(value) < 9.995 ? value.toFixed(2) : value.toFixed(1)) + " s";
    const sign = value < 0 ? MINUS : "", whole = Math.round(Math.abs(value)), minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
    const two = (number) => String(number).padStart(2, "0");
    return sign + (hours ? `${grouped(hours)} h ${two(minutes % 60)} min` : `${minutes} min ${two(whole % 60)} s`);
  };
  const usd = (value) => (known(value) ? minus(Math.abs(value) >= 0.99995 ? value.toFixed(2) : value.toFixed(4)) + " USD" : DASH);
  const grouped = (value) => minus(Math.round(value).toLocaleString("en-US"));
  const rounded = (value) => (known(value) ? minus(Math.abs(value) >= 1000 || value === Math.round(value) ? value.toFixed(0) : String(Number(value.toPrecision(3)))) : DASH);
  const score = (value) => (known(value) ? minus(value.toFixed(2)) : DASH);
  const count = (amount, noun) => `${grouped(amount)} ${noun}${amount === 1 ? "" : "s"}`;
  const pad = (number) => String(number).padStart(2, "0");
  const when = (at) => {
    if (!known(at)) return DASH;
    const date = new Date(at * 1000);
    return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const ago = (at) => {
    if (!known(at)) return DASH;
    const passed = Math.max(0, (config.live ? Date.now() / 1000 : state.head.at) - at);
    if (passed < 90) return "just now";
    for (const [length, name] of [[86400 * 2, "day"], [3600 * 1.5, "hour"], [90, "minute"]])
      if (passed >= length) return count(Math.floor(passed / { day: 86400, hour: 3600, minute: 60 }[name]), name) + " ago";
    return "just now";
  };
  const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const FIGURES = {
    duration: { title: "Duration", text: seconds, delta: change, less: true, note: "median" }, cost: { title: "Cost of a run", text: usd, delta: change, less: true, note: "median" },
    tokens: { title: "Tokens of a run", text: grouped, delta: change, less: true, note: "median" }, score: { title: "Score", text: score, delta: (value) => (known(value) ? signed(score(value)) : "unknown"), less: false, note: "mean" },
    success: { title: "Success", text: percent, delta: points, less: false, note: "share of runs" },
  };

  /* --- where data come from */
  const keyOf = (workflow, team) => JSON.stringify([workflow, team]);
  const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "")).toString();
  const ask = async (path) => {
    const answer = await fetch("api/" + path, { headers: { Accept: "application/json" } });
    const data = await answer.json().catch(() => ({ error: "The server gave no answer." }));
    if (!answer.ok) throw new Error(data.error || "The server gave no answer.");
    return data;
  };
  const missing = (what) => { throw new Error(what); };
  const source = config.live ? {
    overview: (since) => ask("overview?" + query({ since })), savings: () => ask("savings"),
    team: (workflow, team, filter) => ask("team?" + query({ workflow, team, ...filter })), runs: (workflow, team, filter) => ask("runs?" + query({ workflow, team, ...filter })),
    evidence: (id) => ask("evidence?" + query({ id })), run: (id) => ask("run?" + query({ id })),
  } : {
    overview: async () => config.overview, savings: async () => config.savings,
    team: async (workflow, team) => config.teams[keyOf(workflow, team)] || missing(`This file holds no details of team ${team}.`),
    runs: async (workflow, team) => config.teams[keyOf(workflow, team)].runs,
    evidence: async (id) => config.evidence[id] || missing("This file holds no evidence over time of this test."),
    run: async (id) => config.runs[id] || Object.values(config.runs).find((one) => one.trace_id === id || (id.length >= 6 && one.id.startsWith(id))) || missing("This file holds no details of this run; the dashboard does."),
  };
  const act = async (body) => {
    const answer = await fetch("api/act", { method: "POST", headers: { "Content-Type": "application/json", "X-Autotune-Token": config.csrf }, body: JSON.stringify(body) });
    const data = await answer.json().catch(() => ({ error: "The server gave no answer." }));
    if (!answer.ok) throw new Error(data.error);
    return data;
  };

  /* --- small parts */
  const pill = (one) => h("span", { cls: `pill ${one.name === "probation" ? "probation" : one.kind}` }, one.title);
  const statePill = (row) => (row.ready ? [pill(row.state), row.paused && row.state.title !== "paused" ? [" ", h("span", { cls: "pill" }, "paused")] : null] : h("span", { cls: "dim" }, "…"));
  const teamLink = (workflow, team) => `#/team/${encodeURIComponent(workflow)}/${encodeURIComponent(team)}`;
  const copy = (text) => h("button", { cls: "button", type: "button", "aria-label": `Copy ${text}`, onclick: async (event) => {
    const button = event.currentTarget;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Select it"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const command = (text) => h("div", { cls: "command" }, h("code", {}, text), copy(text));
  const card = (title, ...children) => h("section", { cls: "card" }, title ? h("h2", {}, title) : null, ...children);
  // Only what the interval tells from no change has a colour.
  const deltaClass = (one) => (!known(one.change) || one.change === 0 || !known(one.low) || !known(one.high) || (one.low < 0 && one.high > 0) ? "dim" : (one.change < 0) === FIGURES[one.name].less ? "good" : "bad");
  const spark = (values) => {
    const shown = values.filter(known);
    if (shown.length < 2) return null;
    const low = Math.min(...shown), high = Math.max(...shown), span = high - low || 1;
    const path = values.map((value, place) => `${place ? "L" : "M"}${((place / (values.length - 1)) * 112).toFixed(1)} ${(25 - ((value - low) / span) * 22).toFixed(1)}`).join("");
    return s("svg", { cls: "sparkline", viewBox: "0 0 112 28", preserveAspectRatio: "none", role: "img", "aria-label": `Median duration of recent runs, from ${seconds(values[0])} to ${seconds(values[values.length - 1])}` }, s("path", { d: path }));
  };
  const wasNow = (outcome, figure) => {
    const one = outcome && outcome.figures.find((each) => each.name === figure);
    if (!one || !known(one.was) || !known(one.now)) return null;
    const about = FIGURES[figure];
    return [h("span", { cls: "num" }, h("span", { cls: "dim" }, about.text(one.was)), " → ", about.text(one.now)), known(one.change) ? [" ", h("span", { cls: `num ${deltaClass(one)}` }, about.delta(one.change))] : null];
  };
  const askPerson = (title, text, verb, wantsReason) => new Promise((resolve) => {
    const dialog = document.getElementById("ask"), reason = h("input", { cls: "field", type: "text", id: "ask-reason", maxlength: 300 });
    const done = (value) => { dialog.close(); resolve(value); };
    dialog.replaceChildren(h("form", { method: "dialog", cls: "stack", onsubmit: (event) => { event.preventDefault(); done({ reason: reason.value }); } },
      h("h2", { id: "ask-title" }, title), h("p", {}, text), wantsReason ? [h("label", { for: "ask-reason" }, "Why, for the history"), reason] : null,
      h("div", { cls: "row" }, h("button", { cls: "button main", type: "submit" }, verb), h("button", { cls: "button", type: "button", onclick: () => done(null) }, "Cancel"))));
    dialog.setAttribute("aria-labelledby", "ask-title");
    dialog.oncancel = () => resolve(null);
    dialog.showModal();
  });
  const perform = async (row, action, title, text, verb, more = {}) => {
    const answer = await askPerson(title, text, verb, action !== "pause" && action !== "resume");
    if (!answer) return;
    try { const said = await act({ action, workflow: row.workflow, team: row.team, reason: answer.reason, ...more }); note(said.said); await update(); await render(true); }
    catch (error) { note(error.message, true); }
  };
  const note = (text, bad) => { pulse.textContent = text; pulse.className = `pulse ${bad ? "lost" : "live"}`; };
  const decision = (row, one) => h("section", { cls: "card decision" },
    h("h2", {}, h("span", { cls: "asks" }, one.question)),
    h("p", {}, h("a", { href: teamLink(row.workflow, row.team) }, row.team), ` · ${one.description}`),
    h("p", { cls: "dim small" }, `${upper(one.before)} → ${one.after}. ${one.waited ? one.waited.join(" ") : `It has waited since ${when(one.since)}.`}`),
    config.actions && one.approve ? h("div", { cls: "row commands" },
      h("button", { cls: "button main", type: "button", onclick: () => perform(row, "approve", "Approve?", one.description, "Approve", { experiment: one.experiment_id }) }, "Approve"),
      h("button", { cls: "button", type: "button", onclick: () => perform(row, "reject", "Reject?", one.description, "Reject", { experiment: one.experiment_id }) }, "Reject"))
      : h("div", { cls: "commands" }, [one.approve, one.reject].filter(Boolean).map(command)));

  /* --- overview */
  const SAVED = { seconds: ["Time saved", seconds], usd: ["Money saved", usd], tokens: ["Tokens saved", grouped], score: ["Score gained", rounded] };
  const savingsTiles = () => {
    const saved = state.savings && state.savings.saved, kinds = Object.keys(SAVED).filter((kind) => saved && saved[kind]);
    if (!kinds.length) return null;
    return h("section", { cls: "card", "aria-label": "Savings since promotions" }, h("div", { cls: "tiles" }, kinds.map((kind) => {
      const one = saved[kind], [title, text] = SAVED[kind];
      return h("div", { cls: "tile" }, h("div", { cls: "label" }, title), h("div", { cls: `big ${one.low > 0 ? "good" : one.high < 0 ? "bad" : "dim"}` }, text(one.value)),
        h("div", { cls: "dim small" }, `${one.low > 0 || one.high < 0 ? "" : "No clear difference. "}95 %: ${text(one.low)} to ${text(one.high)}, in ${count(one.runs, "run")}`));
    })), h("p", { cls: "dim small", css: { marginTop: ".8rem" } }, "Since each promotion, against runs of the plan before from the same time."));
  };
  const overviewRows = () => {
    const text = state.search.trim().toLowerCase();
    const kept = [...state.rows.values()].filter((row) => (!text || `${row.team} ${row.workflow} ${row.plan} ${row.state.title}`.toLowerCase().includes(text)) &&
      (state.show === "all" || (state.show === "asks" ? row.awaits.length : row.state.kind === state.show)));
    const gain = (row) => { const one = row.outcome && row.outcome.figures.find((each) => each.name === row.outcome.metric); return one && known(one.change) ? (FIGURES[one.name].less ? one.change : -one.change) : 9; };
    const orders = { last: (a, b) => b.last_at - a.last_at, name: (a, b) => a.team.localeCompare(b.team), gain: (a, b) => gain(a) - gain(b), slow: (a, b) => (b.median || 0) - (a.median || 0), runs: (a, b) => b.runs - a.runs };
    return kept.sort((a, b) => b.awaits.length - a.awaits.length || orders[state.order](a, b));
  };
  const teamRow = (row) => {
    const metric = row.outcome ? row.outcome.metric : "duration";
    const told = wasNow(row.outcome, metric in FIGURES ? metric : "duration");
    const next = row.ready && row.runs_to_next ? `next in ${row.at_most ? "at most" : "about"} ${count(row.runs_to_next, "run")}` : null;
    const measured = row.outcome && row.outcome.not_measured_since && !told ? `not measured since ${when(row.outcome.not_measured_since)}` : null;
    return h("tr", { role: "row", onclick: (event) => { if (!event.target.closest("a")) location.hash = teamLink(row.workflow, row.team); } },
      h("td", { role: "cell", cls: "wide" }, h("div", { cls: "name" }, h("a", { href: teamLink(row.workflow, row.team) }, row.team), h("div", { cls: "dim small" }, `${row.workflow} · ${row.mode}`))),
      h("td", { role: "cell", "data-head": "State" }, statePill(row), next ? h("div", { cls: "dim small" }, next) : null),
      h("td", { role: "cell", "data-head": "Was → now", cls: "wide" }, told || h("span", { cls: "dim" }, measured || DASH), h("div", { cls: "dim small" }, row.plan)),
      h("td", { role: "cell", "data-head": "Trend", cls: "spark" }, spark(row.spark)),
      h("td", { role: "cell", "data-head": "Runs", cls: "num" }, grouped(row.runs)),
      h("td", { role: "cell", "data-head": "Success", cls: "num" }, percent(row.success)),
      h("td", { role: "cell", "data-head": "Median", cls: "num" }, seconds(row.median)),
      h("td", { role: "cell", "data-head": "Last run", cls: "num dim" }, ago(row.last_at)));
  };
  const HEADS = ["Team", "State", "Was → now, live plan", "Trend", "Runs", "Success", "Median", "Last run"];
  const teamsTable = () => {
    const rows = overviewRows(), shown = rows.slice(0, state.shown);
    const more = rows.length > shown.length ? h("p", { css: { marginTop: ".8rem" } }, h("button", { cls: "button", type: "button", id: "more", onclick: () => { state.shown += 200; refill(); } }, `Show more (${grouped(rows.length - shown.length)} left)`)) : null;
    return h("div", { id: "teams" }, rows.length ? h("table", { cls: "teams fold", role: "table" }, h("caption", { cls: "quiet" }, "Teams"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, HEADS.map((head, place) => h("th", { role: "columnheader", scope: "col", cls: place > 3 ? "num" : null }, head)))),
      h("tbody", { role: "rowgroup" }, shown.map(teamRow))) : h("p", { cls: "dim" }, state.rows.size ? "No team fits." : "Nothing was recorded yet. Run a workflow: victor autotune run WORKFLOW.yaml"), more);
  };
  const refill = () => { const old = document.getElementById("teams"); if (old) old.replaceWith(teamsTable()); };
  const chooser = (label, name, options, value, change) => h("label", {}, h("span", { cls: "quiet" }, label), h("select", { cls: "field", id: name, onchange: (event) => change(event.target.value) }, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
  const overview = () => {
    const waiting = [...state.rows.values()].filter((row) => row.awaits.length), asked = waiting.flatMap((row) => row.awaits.map((one) => decision(row, one)));
    const open = [...state.rows.values()].filter((row) => row.state.kind === "open").length, live = [...state.rows.values()].filter((row) => row.state.name === "proven").length;
    return [
      h("div", { cls: "title" }, h("div", {}, h("h1", {}, "Teams"), h("p", { cls: "dim" },
        [count(state.head.total, "team"), count(state.head.runs, "run"), open ? `${grouped(open)} in a test` : null, live ? `${grouped(live)} with a proven plan` : null, waiting.length ? `${grouped(waiting.length)} ${waiting.length === 1 ? "awaits" : "await"} you` : null].filter(Boolean).join(" · "))),
        state.head.paused ? h("span", { cls: "pill asks" }, "All tuning is paused") : null),
      ...asked.slice(0, 5), asked.length > 5 ? h("p", { cls: "dim" }, `${grouped(asked.length - 5)} more await you; they stand first in the list.`) : null,
      savingsTiles(),
      h("section", { cls: "card", "aria-label": "All teams" }, state.rows.size > 1 ? h("div", { cls: "head" }, h("div", { cls: "row" },
        chooser("Show", "show", [["all", "All states"], ["asks", "Awaits you"], ["open", "In a test"], ["good", "Proven"], ["unsure", "Being verified"], ["idle", "No open test"]], state.show, (value) => { state.show = value; state.shown = 100; refill(); }),
        chooser("Order by", "order", [["last", "Last run first"], ["gain", "Largest gain first"], ["slow", "Slowest first"], ["runs", "Most runs first"], ["name", "By name"]], state.order, (value) => { state.order = value; refill(); }))) : null, teamsTable()),
    ];
  };

  /* --- charts */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ROLES = [
    { name: "configured", title: "as configured", colour: "--grey", shape: "circle" }, { name: "before", title: "plan before, in a test", colour: "--grey", shape: "ring" },
    { name: "tested", title: "plan under test", colour: "--accent", shape: "diamond" }, { name: "live", title: "live plan", colour: "--good", shape: "circle" },
  ];
  const FAILED = 1, TIMED_OUT = 2, CANCELLED = 4, RUNNING = 8, LOST = 16;
  const went = (flags) => (flags & RUNNING ? "is running" : flags & LOST ? "was lost" : flags & CANCELLED ? "was cancelled" : flags & TIMED_OUT ? "timed out" : flags & FAILED ? "failed" : "succeeded");
  const ACTIONS = { started: "--accent", probation: "--violet", promoted: "--good", confirmed: "--good", reverifying: "--asks", rolled_back: "--bad", failed: "--bad", awaits_approval: "--asks", awaits_promotion: "--asks" };
  const bands = (changes) => {
    const found = []; let open = null, test = null;
    const close = (at) => { if (open) found.push({ ...open, end: at }); open = null; };
    const begin = (at, title, tint) => { close(at); open = { begin: at, title, colour: tint }; };
    let live = false;
    for (const one of [...changes].reverse()) {
      if (one.action === "started") { test = one.experiment; begin(one.at, "test", "--accent"); }
      else if (one.action === "probation") begin(one.at, "probation", "--violet");
      else if (one.action === "promoted" || one.action === "confirmed") { test = null; live = true; begin(one.at, "live", "--good"); }
      else if (one.action === "reverifying") begin(one.at, "verified again", "--asks");
      else if (one.action === "rolled_back") { live = false; test = null; close(one.at); }
      else if (["failed", "inconclusive", "aborted"].includes(one.action) && test === one.experiment) { test = null; close(one.at); if (live) begin(one.at, "live", "--good"); }
    }
    if (open) found.push({ ...open, end: Infinity });
    return found;
  };
  const mark = (context, shape, x, y, size) => {
    context.beginPath();
    if (shape === "diamond") { context.moveTo(x, y - size * 1.25); context.lineTo(x + size * 1.25, y); context.lineTo(x, y + size * 1.25); context.lineTo(x - size * 1.25, y); context.closePath(); context.fill(); }
    else if (shape === "cross") { context.moveTo(x - size, y - size); context.lineTo(x + size, y + size); context.moveTo(x + size, y - size); context.lineTo(x - size, y + size); context.stroke(); }
    else { context.arc(x, y, size, 0, 2 * Math.PI); if (shape === "ring") context.stroke(); else context.fill(); }
  };
  const axis = (format) => ({ stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif", ...format });
  const showTip = (lines, x, y) => {
    tip.replaceChildren(...lines.filter(Boolean).map((line) => h("div", {}, line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8), top = y + box.height + 24 > innerHeight ? y - box.height - 12 : y + 16;
    tip.style.left = `${left + scrollX}px`; tip.style.top = `${top + scrollY}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  const logTicks = (u, place, low, high) => {
    const found = [], ratio = high / Math.max(low, 1e-9), steps = ratio > 30 ? [1, 3] : ratio > 6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) for (const step of steps) { const value = step * 10 ** power; if (value >= low * 0.999 && value <= high * 1.001) found.push(value); }
    return found;
  };
  const METRICS = { seconds: { title: "Duration", text: seconds, log: true }, usd: { title: "Cost", text: usd, log: false }, score: { title: "Score", text: score, log: false } };

  const storyChart = (view, box) => {
    const runs = view.team.runs, metric = METRICS[view.metric], narrow = box.clientWidth < 560;
    const byRuns = view.spacing === "runs", flags = runs.points && runs.points.flags;
    let points = [], range = null, bins = runs.bins || null;
    const at = bins ? bins.at : runs.points.at;
    const placeOf = (time) => { if (!byRuns) return time; let low = 0, high = at.length; while (low < high) { const middle = (low + high) >> 1; if (at[middle] < time) low = middle + 1; else high = middle; } return low - 0.5; };
    const xs = at.map((time, place) => (byRuns ? place : time));
    if (!bins) points = runs.points.at.map((_, place) => ({ place, x: xs[place], y: runs.points[view.metric][place], role: runs.points.role[place], flags: flags[place], plan: runs.plans[runs.points.plan[place]] }))
      .filter((one) => known(one.y) && (one.y > 0 || !metric.log) && view.roles.has(one.role) && (!view.plan || one.plan === view.plan));
    const shapes = [];
    const values = bins ? Object.entries(bins.roles).filter(([name]) => view.roles.has(ROLES.findIndex((one) => one.name === name))).flatMap(([, one]) => [...one.low, ...one.high]).filter(known) : points.filter((one) => !(one.flags & CANCELLED)).map((one) => one.y);
    const sorted = [...values].sort((a, b) => a - b);
    let low = sorted[0], high = sorted[sorted.length - 1];
    if (!values.length) { low = metric.log ? 0.1 : 0; high = 1; }
    if (metric.log) { low = Math.max(low * 0.85, 1e-4); high *= 1.18; if (high / low < 2) { low /= 1.4; high *= 1.4; } } else { const span = high - low || Math.abs(high) || 1; low -= 0.08 * span; high += 0.08 * span; }
    const lane = 22, data = [xs.length ? xs : [0], xs.map(() => null)];
    const changes = view.team.changes.filter((one) => one.action in ACTIONS);
    const draw = (u) => {
      const context = u.ctx, ratio = devicePixelRatio || 1, { left, top, width, height } = u.bbox;
      context.save(); context.beginPath(); context.rect(left, top - lane * ratio, width, height + lane * ratio); context.clip();
      shapes.length = 0;
      for (const band of bands(view.team.changes)) {
        const a = Math.max(left, u.valToPos(placeOf(band.begin), "x", true)), b = band.end === Infinity ? left + width : Math.min(left + width, u.valToPos(placeOf(band.end), "x", true));
        if (!(b > a)) continue;
        context.globalAlpha = 0.07; context.fillStyle = colour(band.colour); context.fillRect(a, top, b - a, height);
        context.globalAlpha = 1; context.fillRect(a, top - (lane - 16) * ratio, b - a, 4 * ratio);
        context.font = `${11 * ratio}px system-ui, sans-serif`; context.textBaseline = "bottom"; context.textAlign = "left";
        if (context.measureText(band.title).width + 8 * ratio < b - a) context.fillText(band.title, a + 2 * ratio, top - (lane - 15) * ratio);
      }
      context.setLineDash([3 * ratio, 3 * ratio]); context.lineWidth = ratio;
      for (const one of changes) {
        const x = u.valToPos(placeOf(one.at), "x", true);
        if (x < left || x > left + width) continue;
        context.globalAlpha = 0.75; context.strokeStyle = colour(ACTIONS[one.action]); context.beginPath(); context.moveTo(x, top - 6 * ratio); context.lineTo(x, top + height); context.stroke();
        shapes.push({ x: x / ratio, change: one });
      }
      context.setLineDash([]); context.globalAlpha = 1;
      if (bins) for (const [name, one] of Object.entries(bins.roles)) {
        const role = ROLES.find((each) => each.name === name);
        if (!view.roles.has(ROLES.indexOf(role))) continue;
        context.strokeStyle = context.fillStyle = colour(role.colour);
        for (let place = 0; place < xs.length; place++) {
          if (!known(one.median[place])) continue;
          const x = u.valToPos(xs[place], "x", true), y = u.valToPos(one.median[place], "y", true);
          context.globalAlpha = 0.35; context.lineWidth = 2 * ratio; context.beginPath(); context.moveTo(x, u.valToPos(one.low[place], "y", true)); context.lineTo(x, u.valToPos(one.high[place], "y", true)); context.stroke();
          context.globalAlpha = 1; context.lineWidth = 1.4 * ratio; mark(context, role.shape, x, y, 2.6 * ratio);
          shapes.push({ x: x / ratio, y: y / ratio, bin: place, role, values: one });
        }
      }
      const size = (points.length > 800 ? 2.1 : points.length > 250 ? 2.7 : 3.4) * ratio;
      for (const one of points) {
        const role = ROLES[one.role], bad = one.flags & (FAILED | TIMED_OUT | LOST), y = u.valToPos(one.y, "y", true), x = u.valToPos(one.x, "x", true);
        if (one.flags & RUNNING || x < left - 5 || x > left + width + 5) continue;
        context.globalAlpha = one.flags & CANCELLED ? 0.45 : 0.82; context.lineWidth = 1.5 * ratio;
        context.strokeStyle = context.fillStyle = colour(bad ? "--bad" : role.colour);
        mark(context, bad ? "cross" : one.flags & CANCELLED ? "ring" : role.shape, x, Math.min(Math.max(y, top + 3), top + height - 3), size);
        shapes.push({ x: x / ratio, y: y / ratio, point: one });
      }
      if (view.picked !== null && points[view.picked]) {
        const one = points[view.picked]; context.globalAlpha = 1; context.strokeStyle = colour("--ink"); context.lineWidth = 2 * ratio;
        context.beginPath(); context.arc(u.valToPos(one.x, "x", true), u.valToPos(one.y, "y", true), 7 * ratio, 0, 2 * Math.PI); context.stroke();
      }
      context.restore();
    };
    const said = (one) => [one.change ? null : h("strong", {}, one.point ? `${metric.text(one.point.y)}, ${went(one.point.flags)}` : `${seconds(one.values.median[one.bin])} median of ${count(one.values.runs[one.bin], "run")}`),
      one.point ? one.point.plan : one.role ? one.role.title : null, one.change ? h("strong", {}, upper(one.change.title)) : null, one.change ? one.change.reason : null,
      one.bin !== undefined && one.values.bad[one.bin] ? `${count(one.values.bad[one.bin], "run")} failed` : null, when(one.change ? one.change.at : one.point ? at[one.point.place] : at[one.bin])];
    const nearest = (x, y) => {
      let best = null, least = 18 ** 2;
      for (const one of shapes) { if (one.change) continue; const distance = (one.x - x) ** 2 + (one.y - y) ** 2; if (distance < least) { least = distance; best = one; } }
      if (!best) for (const one of shapes) if (one.change && Math.abs(one.x - x) < 5) best = one;
      return best;
    };
    const day = (u, ticks, place, space, step) => ticks.map((at, number) => { const date = new Date(at * 1000), clock = `${pad(date.getHours())}:${pad(date.getMinutes())}`, name = `${date.getDate()} ${MONTHS[date.getMonth()]}`; return step >= 86400 ? name : number === 0 || (date.getHours() === 0 && date.getMinutes() === 0) ? `${name}\n${clock}` : clock; });
    const splits = byRuns ? { values: (u, ticks) => ticks.map((value) => { const time = at[Math.round(value)]; return known(time) && value === Math.round(value) ? when(time).slice(5) : ""; }), space: 110 } : { space: narrow ? 70 : 90, values: day };
    const options = {
      width: Math.max(box.clientWidth, 240), height: narrow ? 260 : 330, padding: [lane + 4, 12, 0, 0], legend: { show: false },
      cursor: { x: true, y: false, drag: { x: true, y: false }, points: { show: false } },
      scales: { x: { time: !byRuns, range: (u, a, b) => (view.zoom ? view.zoom : a === b ? [a - 1, b + 1] : [a - (b - a) * 0.012, b + (b - a) * 0.012]) }, y: { distr: metric.log ? 3 : 1, range: () => [low, high] } },
      axes: [axis(splits), axis({ size: narrow ? 58 : 70, values: (u, ticks) => ticks.map((value) => (value === null ? "" : metric.text(value))), ...(metric.log ? { splits: logTicks, filter: (u, ticks) => ticks } : {}) })],
      series: [{}, { stroke: "transparent", points: { show: false } }],
      hooks: { draw: [draw], setSelect: [(u) => { if (u.select.width > 8) { view.zoom = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]; zoomed(view); } }] },
    };
    const chart = new uPlot(options, data, box);
    const over = chart.over, area = () => over.getBoundingClientRect(), near = (event) => { const box = area(), left = chart.bbox.left / devicePixelRatio, top = chart.bbox.top / devicePixelRatio; return nearest(event.clientX - box.left + left, event.clientY - box.top + top); };
    over.addEventListener("mousemove", (event) => { const one = near(event); if (one) showTip(said(one), event.clientX, event.clientY); else hideTip(); over.style.cursor = one && one.point ? "pointer" : ""; });
    over.addEventListener("mouseleave", hideTip);
    over.addEventListener("click", (event) => { const one = near(event); if (one && one.point && !chart.select.width) location.hash = `#/run/${encodeURIComponent(runs.points.id[one.point.place])}`; });
    over.addEventListener("dblclick", () => { view.zoom = null; zoomed(view); });
    box.onkeydown = (event) => {
      if (event.key === "Escape" && view.zoom) { view.zoom = null; zoomed(view); return; }
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
      if (step && points.length) {
        event.preventDefault(); view.picked = Math.min(Math.max((view.picked === null ? points.length : view.picked) + step, 0), points.length - 1);
        const one = points[view.picked]; chart.redraw(); document.getElementById("picked").textContent = `Run ${one.place + 1} of ${at.length}: ${metric.text(one.y)}, ${went(one.flags)}, ${one.plan}, ${when(at[one.place])}. Enter opens it.`;
      } else if (event.key === "Enter" && view.picked !== null && points[view.picked]) location.hash = `#/run/${encodeURIComponent(runs.points.id[points[view.picked].place])}`;
    };
    return chart;
  };
  const legendMark = (role) => { const icon = { circle: s("circle", { cx: 6, cy: 6, r: 4, fill: "currentColor" }), ring: s("circle", { cx: 6, cy: 6, r: 3.6, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }), diamond: s("path", { d: "M6 1l5 5-5 5-5-5z", fill: "currentColor" }), cross: s("path", { d: "M2 2l8 8M10 2l-8 8", stroke: "currentColor", "stroke-width": 1.8 }) }[role.shape]; const made = s("svg", { width: 12, height: 12, "aria-hidden": "true" }, icon); made.style.color = `var(${role.colour})`; return made; };
  const zoomed = async (view) => {
    if (config.live && view.team.runs.total > 0 && (view.team.whole || view.team.runs).bins && view.spacing === "time") {
      const filter = view.zoom ? { since: view.zoom[0], until: view.zoom[1], plan: view.plan } : { plan: view.plan };
      try { view.team.whole = view.team.whole || view.team.runs; view.team.runs = await source.runs(view.workflow, view.name, filter); } catch (error) { note(error.message, true); }
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
  const evidenceChart = (path, box) => {
    const line = (label, values, stroke, dash) => ({ label, stroke, width: 2, dash, points: { show: false }, spanGaps: true });
    const told = path.boundary.filter(known), top = Math.max(...path.statistic.filter(known), ...told, 1), low = Math.min(0, ...path.statistic.filter(known));
    const chart = new uPlot({
      width: Math.max(box.clientWidth, 220), height: 220, padding: [10, 12, 0, 0], legend: { show: false }, cursor: { y: false, points: { show: true, size: 7 } },
      scales: { x: { time: false }, y: { range: [low - 0.08 * (top - low), top + 0.1 * (top - low)] } },
      axes: [axis({ space: 60, values: (u, ticks) => ticks.map((value) => (value === Math.round(value) ? grouped(value) : "")), label: "runs of the test", labelSize: 22, labelFont: "12px system-ui, sans-serif" }), axis({ size: 46, values: (u, ticks) => ticks.map(rounded) })],
      series: [{}, line("evidence", 0, colour("--accent")), line("boundary", 0, colour("--good"), [6, 4])],
      hooks: { setCursor: [(u) => { const place = u.cursor.idx; if (place === null || place === undefined || u.cursor.left < 0) return hideTip(); const box = u.over.getBoundingClientRect(); showTip([h("strong", {}, `After ${count(path.runs[place], "run")}`), `evidence ${rounded(path.statistic[place])}`, known(path.boundary[place]) ? `boundary ${rounded(path.boundary[place])}` : "too few runs for a proof", known(path.effect[place]) ? `${path.metric.replace("_", " ")} ${change(path.effect[place])}` : null], box.left + u.cursor.left, box.top + 20); }] },
    }, [path.runs, path.statistic, path.boundary], box);
    chart.over.addEventListener("mouseleave", hideTip);
    return chart;
  };

  /* --- a team */
  const metricText = (name) => ({ duration: seconds, p95: seconds, mean: seconds, cost: usd, score, tool_calls: rounded }[name] || percent);
  const absolute = (name) => ["success", "score", "member_success", "loss"].includes(name);
  const guardrails = (list) => h("div", {}, list.map((one) => {
    const text = metricText(one.unit), span = Math.max(2 * (one.margin || 0.1), 1.15 * Math.abs(one.change || 0)) || 0.1, place = (value) => `${50 + (50 * Math.max(-span, Math.min(span, value))) / span}%`;
    const kind = { ok: "good", harmed: "bad", confirmed: "bad", alarm: "asks" }[one.status] || "idle", title = { ok: "fine", harmed: "harmed", confirmed: "worse", alarm: "alarm", unclear: "not proven yet", open: "not proven yet", "no data": "no data" }[one.status] || one.status;
    const bar = known(one.change) ? h("i", { css: { left: one.change < 0 ? place(one.change) : "50%", width: `${(50 * Math.min(Math.abs(one.change), span)) / span}%`, background: `var(--${one.change > one.margin ? "bad" : one.change > 0 ? "asks" : "good"})` } }) : null;
    const moved = known(one.change) ? (absolute(one.unit) ? (one.unit === "score" ? signed(score(one.change)) : points(one.change)) : change(one.change)) : "unknown";
    return h("div", { cls: "guard" }, h("span", {}, upper(one.title)), h("div", { cls: "bar", "aria-hidden": "true" }, bar, h("u", { css: { left: "50%" } }), known(one.margin) ? h("b", { css: { left: place(one.margin) } }) : null), h("span", { cls: `pill ${kind}` }, title),
      h("span", { cls: "said" }, `${text(one.before)} → ${text(one.after)}; harm ${moved.trim()}, up to ${absolute(one.unit) ? (one.unit === "score" ? rounded(one.margin) : hundredths(one.margin) + " points") : percent(one.margin)} is tolerated`));
  }), h("p", { cls: "dim small", css: { marginTop: ".5rem" } }, "To the right is worse; the red line is the margin."));
  const flowDrawing = (flow) => {
    const members = flow.members, level = new Map(members.map((name) => [name, 0]));
    for (let round = 0; round < members.length; round++) for (const one of flow.edges) if (level.has(one.source) && level.has(one.target) && members.indexOf(one.source) < members.indexOf(one.target)) level.set(one.target, Math.max(level.get(one.target), level.get(one.source) + 1));
    const columns = []; for (const name of members) (columns[level.get(name)] ||= []).push(name);
    const skips = flow.edges.some((one) => level.has(one.source) && level.has(one.target) && level.get(one.target) - level.get(one.source) > 1), above = skips ? 34 : 0;
    const wide = 132, tall = 34, gapX = 62, gapY = 16, height = Math.max(...columns.map((one) => one.length)) * (tall + gapY) + 14 + above, width = columns.length * (wide + gapX) - gapX + 4;
    const spot = new Map(); columns.forEach((names, x) => names.forEach((name, y) => spot.set(name, { x: 2 + x * (wide + gapX), y: above + (height - above) / 2 - (names.length * (tall + gapY) - gapY) / 2 + y * (tall + gapY) })));
    const cut = (name) => (name.length > 17 ? name.slice(0, 16) + "…" : name);
    const edges = flow.edges.filter((one) => spot.has(one.source) && spot.has(one.target) && one.source !== one.target).map((one) => {
      const a = spot.get(one.source), b = spot.get(one.target), far = level.get(one.target) - level.get(one.source), middle = a.x + wide / 2, end = b.x + wide / 2;
      const title = s("title", {}, `${one.target} uses the work of ${one.source} (${one.through.join(", ")})`), line = (d) => s("path", { cls: one.sure ? "" : "maybe", d }), head = (x, y, angle) => s("path", { cls: "head", d: "M0 0l-7-4v8z", transform: `translate(${x} ${y}) rotate(${angle})` });
      if (far === 1) { const y = a.y + tall / 2, to = b.y + tall / 2, from = a.x + wide; return s("g", {}, title, line(`M${from} ${y}C${from + gapX / 2} ${y} ${b.x - 7 - gapX / 2} ${to} ${b.x - 7} ${to}`), head(b.x - 1, to, 0)); }
      if (far > 1) return s("g", {}, title, line(`M${middle} ${a.y}C${middle} ${a.y - 44} ${end} ${b.y - 48} ${end} ${b.y - 7}`), head(end, b.y - 1, 90));
      const down = b.y >= a.y; return s("g", {}, title, line(`M${middle} ${a.y + (down ? tall : 0)}L${end} ${b.y + (down ? -7 : tall + 7)}`), head(end, b.y + (down ? -1 : tall + 1), down ? 90 : -90));
    });
    const nodes = members.map((name) => { const { x, y } = spot.get(name); return s("g", {}, s("title", {}, name), s("rect", { x, y, width: wide, height: tall, rx: 8 }), Object.assign(s("text", { x: x + wide / 2, y: y + tall / 2 + 4.5, "text-anchor": "middle" }), { textContent: cut(name) })); });
    return s("svg", { cls: "flow", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Data flow: ${flow.graph}` }, ...edges, ...nodes);
  };
  const forest = (experiments) => {
    const list = experiments.filter((one) => one.verdict && known(one.verdict.effect)).slice(0, 12);
    if (!list.length) return h("p", { cls: "dim" }, "No test has told an effect yet.");
    const ends = list.flatMap((one) => [one.verdict.effect, ...one.verdict.interval]).filter(known).map(Math.abs), most = Math.min(2, Math.max(0.2, ...ends)), place = (value) => 50 + 50 * Math.max(-1, Math.min(1, value / most));
    return h("div", { cls: "forest" }, list.map((one) => {
      const { effect, interval, metric } = one.verdict, low = known(interval[0]) ? interval[0] : -most, high = known(interval[1]) ? interval[1] : most, less = metric !== "score" && metric !== "success";
      const tone = high < 0 ? (less ? "good" : "bad") : low > 0 ? (less ? "bad" : "good") : "dim";
      return h("div", { cls: "line" }, h("span", {}, one.knobs.map((knob) => `${knob.knob}: ${knob.before} → ${knob.after}`).join("; ") || one.description, " ", h("span", { cls: "dim small" }, `(${one.title})`)),
        h("span", { cls: "num" }, `${metric.replace("_", " ")} ${change(effect)}`),
        h("div", { cls: `scale ${tone}`, role: "img", "aria-label": `Interval ${change(low)} to ${change(high)}` }, h("i", { css: { left: `${place(low)}%`, width: `${place(high) - place(low)}%` } }), h("b", { css: { left: `${place(effect)}%` } })));
    }), h("p", { cls: "dim small" }, `The middle is no change; the ends are ${change(-most)} and ${change(most)}. Bars are intervals.`));
  };
  const gantt = (run) => {
    const ends = run.members.map((one) => (one.begin || 0) + (one.seconds || 0)), whole = Math.max(run.seconds || 0, ...ends, 1e-6);
    const bar = (one) => {
      const total = one.seconds || 0, model = Math.min(one.model_seconds || 0, total), tool = Math.min(one.tool_seconds || 0, total - model), part = (value) => `${total ? (100 * value) / total : 0}%`;
      return h("div", { cls: `bar ${one.success ? "" : "bad"}`, css: { left: `${(100 * (one.begin || 0)) / whole}%`, width: `${(100 * total) / whole}%` } }, h("i", { cls: "c-model", css: { width: part(model) } }), h("i", { cls: "c-tool", css: { width: part(tool) } }));
    };
    return h("div", { cls: "gantt" }, run.members.map((one) => h("div", { cls: "lane", title: `${one.id}: begins after ${seconds(one.begin)}, takes ${seconds(one.seconds)}` },
      h("div", { cls: "who" }, one.id, one.role && one.role !== one.id ? h("span", { cls: "dim small" }, ` ${one.role}`) : null), h("div", { cls: "track" }, bar(one)), h("div", { cls: "num" }, seconds(one.seconds), one.success ? null : h("div", { cls: "bad small" }, one.finished ? "failed" : "cut off")))),
      h("div", { cls: "lane axis-row", "aria-hidden": "true" }, h("span", {}), h("div", { cls: "axis" }, [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", {}, share ? seconds(share * whole) : "0"))), h("span", {})),
      h("div", { cls: "legend" }, [["c-model", "waits for its model"], ["c-tool", "runs tools"], ["c-rest", "other work"]].map(([cls, text]) => { const box = h("i", { cls, css: { width: "12px", height: "12px", borderRadius: "3px", display: "inline-block" } }); return h("span", {}, box, text); }), h("span", {}, "shares of a bar, not their order")),
      run.measured ? null : h("p", { cls: "dim small" }, "The begins follow from the formation: this run was recorded before they were measured."));
  };
  const plansTable = (plans) => h("table", { cls: "fold", role: "table" }, h("caption", { cls: "quiet" }, "Plans that ran"), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Plan", "Runs", "Success", "Median", "P95", "Cost", "Score", "Last run"].map((head, place) => h("th", { role: "columnheader", scope: "col", cls: place ? "num" : null }, head)))),
    h("tbody", { role: "rowgroup" }, plans.map((one) => h("tr", { role: "row" }, h("td", { role: "cell", cls: "wide" }, one.plan), ...[["Runs", grouped(one.runs)], ["Success", percent(one.success)], ["Median", seconds(one.median)], ["P95", seconds(one.p95)], ["Cost", usd(one.usd)], ["Score", score(one.score)], ["Last run", ago(one.last_at)]].map(([head, text]) => h("td", { role: "cell", cls: "num", "data-head": head }, text))))));
  const runsTable = (view) => {
    const points = view.team.runs.points;
    if (!points) return h("p", { cls: "dim" }, `${count(view.team.runs.total, "run")} are drawn in groups. Drag over the chart to come to single runs.`);
    const places = points.id.map((_, place) => place).filter((place) => view.roles.has(points.role[place]) && (!view.plan || view.team.runs.plans[points.plan[place]] === view.plan) && (!view.zoom || view.spacing === "runs" ? !view.zoom || (place >= view.zoom[0] && place <= view.zoom[1]) : points.at[place] >= view.zoom[0] && points.at[place] <= view.zoom[1])).reverse().slice(0, view.listed);
    return h("div", { id: "runs" }, h("table", { cls: "fold", role: "table" }, h("caption", { cls: "quiet" }, "Runs"), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Run", "Plan", "Went", "Duration", "Cost", "Score"].map((head, place) => h("th", { role: "columnheader", scope: "col", cls: place > 2 ? "num" : null }, head)))),
      h("tbody", { role: "rowgroup" }, places.map((place) => h("tr", { role: "row" }, h("td", { role: "cell", "data-head": "Run" }, h("a", { href: `#/run/${encodeURIComponent(points.id[place])}` }, when(points.at[place]))), h("td", { role: "cell", cls: "wide", "data-head": "Plan" }, view.team.runs.plans[points.plan[place]], h("span", { cls: "dim small" }, points.role[place] === 1 || points.role[place] === 2 ? ` · ${ROLES[points.role[place]].title}` : "")),
        h("td", { role: "cell", "data-head": "Went", cls: points.flags[place] & (FAILED | TIMED_OUT | LOST) ? "bad" : "" }, went(points.flags[place])), h("td", { role: "cell", cls: "num", "data-head": "Duration" }, seconds(points.seconds[place])), h("td", { role: "cell", cls: "num", "data-head": "Cost" }, usd(points.usd[place])), h("td", { role: "cell", cls: "num", "data-head": "Score" }, score(points.score[place])))))),
      places.length === view.listed ? h("p", { css: { marginTop: ".6rem" } }, h("button", { cls: "button", type: "button", onclick: () => { view.listed += 50; refillRuns(view); } }, "Show more")) : null);
  };
  const refillRuns = (view) => { const old = document.getElementById("runs"); if (old) old.replaceWith(runsTable(view)); };
  const outcomeTiles = (row) => {
    const outcome = row.outcome;
    if (!outcome) return null;
    const figures = outcome.figures.filter((one) => known(one.was) && known(one.now));
    if (!figures.length) return outcome.not_measured_since ? card("Was → now", h("p", { cls: "dim" }, `${upper(outcome.basis_told)}.`)) : null;
    return h("section", { cls: "card", "aria-label": "What the plan brought" }, h("div", { cls: "tiles" }, figures.map((one) => {
      const about = FIGURES[one.name];
      return h("div", { cls: "tile" }, h("div", { cls: "label" }, about.title, h("span", { cls: "small" }, ` (${about.note})`)), h("div", { cls: "big" }, h("span", { cls: "was" }, about.text(one.was)), h("span", { cls: "arrow" }, "→"), h("span", { cls: "nowrap" }, about.text(one.now))),
        h("div", { cls: "small" }, known(one.change) ? [h("strong", { cls: deltaClass(one) }, about.delta(one.change)), known(one.low) && known(one.high) ? h("span", { cls: "dim" }, ` (${about.delta(one.low)} to ${about.delta(one.high)}${one.sure ? `, ${one.sure}` : ""})`) : null] : h("span", { cls: "dim" }, "too few runs for an effect")));
    })), h("p", { cls: "dim small", css: { marginTop: ".8rem" } }, `${upper(outcome.basis_told)}. Both plans' runs are of the same time; in brackets are 95 % intervals.`));
  };
  const teamActions = (row) => (config.actions ? h("div", { cls: "row" },
    row.paused ? h("button", { cls: "button", type: "button", onclick: () => perform(row, "resume", "Resume the tuning?", "An open test goes on where it was.", "Resume") }, "Resume") : h("button", { cls: "button", type: "button", onclick: () => perform(row, "pause", "Pause the tuning?", "The team keeps its plan, and its runs take part in no test.", "Pause") }, "Pause"),
    row.state.name ? h("button", { cls: "button danger", type: "button", onclick: () => perform(row, "rollback", "Roll back?", "An open test ends; without one, the plan before comes back.", "Roll back") }, "Roll back") : null) : null);
  const tests = (view) => {
    const list = view.team.experiments.filter((one) => one.verdict);
    if (!list.length) return [card("Tests", h("p", { cls: "dim" }, view.team.row.mode === "observe" ? "In mode observe nothing is tested." : "No test yet."))];
    const chosen = list.find((one) => one.id === view.experiment) || list.find((one) => one.id === view.team.open) || list.find((one) => one.id === view.team.live) || list[0];
    view.experiment = chosen.id;
    const pick = list.length > 1 ? chooser("Test", "test", list.map((one) => [one.id, `${when(one.created_at).slice(0, 10)} ${one.description} (${one.title})`]), chosen.id, (value) => { view.experiment = value; render(true); }) : null;
    const said = chosen.verdict, box = h("div", { cls: "chart", id: "evidence" });
    if (!chosen.watch && !(said.runs.control || said.runs.treatment)) return [h("section", { cls: "card" }, h("div", { cls: "head" }, h("h2", {}, "Test"), pick), h("p", {}, `${chosen.description} No run has taken part yet.`),
      h("p", { cls: "dim small" }, `It takes at most ${grouped(chosen.max_runs)} runs in each arm. Guardrails: ${said.guardrails.map((one) => `${one.title} up to ${absolute(one.unit) ? (one.unit === "score" ? rounded(one.margin) : hundredths(one.margin) + " points") : percent(one.margin)} worse`).join(", ")}.`))];
    const watch = chosen.watch && chosen.id === view.team.live ? chosen.watch : null;
    return [h("div", { cls: "pair" },
      h("section", { cls: "card" }, h("div", { cls: "head" }, h("h2", {}, "Evidence over runs"), pick), h("p", { css: { marginBottom: ".5rem" } }, said.reason), box,
        h("div", { cls: "legend" }, h("span", {}, s("svg", { width: 20, height: 8, "aria-hidden": "true" }, s("path", { d: "M0 4h20", stroke: "currentColor", "stroke-width": 2 })), "evidence for an improvement"), h("span", {}, s("svg", { width: 20, height: 8, "aria-hidden": "true" }, s("path", { d: "M0 4h20", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "5 3" })), "where it is proven")),
        h("p", { cls: "dim small", css: { marginTop: ".5rem" } }, `${grouped(said.runs.control || 0)} + ${grouped(said.runs.treatment || 0)} runs of the plan before and the new one, at most ${grouped(chosen.max_runs)} in each arm.`, known(said.chance_better) && said.status === "running" ? ` ${percent(said.chance_better)} likely to be better so far.` : "")),
      h("section", { cls: "card" }, h("h2", {}, watch ? "The live plan is watched" : "Guardrails"), watch ? h("p", { css: { marginBottom: ".5rem" } }, watch.reason) : null, (watch && watch.guardrails.length ? watch : said).guardrails.length ? guardrails((watch && watch.guardrails.length ? watch : said).guardrails) : h("p", { cls: "dim" }, "No figures yet.")))];
  };
  const teamPage = (view) => {
    const { row, definition, flow, changes, experiments, plans, runs } = view.team;
    const names = runs.plans || [...new Set(plans.map((one) => one.plan))], hasCost = runs.points && runs.points.usd.some(known), hasScore = runs.points && runs.points.score.some(known);
    const pressed = (list, value, set) => h("div", { cls: "group", role: "group" }, list.map(([key, text]) => h("button", { cls: "button", type: "button", "aria-pressed": String(key === value), onclick: () => set(key) }, text)));
    const spans = [["all", "All"], ["30", "30 days"], ["7", "7 days"], ["1", "24 h"]], last = row.last_at || 0;
    const roles = ROLES.map((role, place) => ({ role, place })).filter(({ role, place }) => (runs.points ? runs.points.role.includes(place) : role.name in runs.bins.roles));
    const story = h("section", { cls: "card" }, h("div", { cls: "head" }, h("h2", {}, "Story"), h("div", { cls: "row" },
      hasCost || hasScore ? pressed([["seconds", "Duration"], ...(hasCost ? [["usd", "Cost"]] : []), ...(hasScore ? [["score", "Score"]] : [])], view.metric, (key) => { view.metric = key; render(true); }) : null,
      pressed([["time", "By time"], ["runs", "Run by run"]], view.spacing, (key) => { view.spacing = key; view.zoom = null; render(true); }))),
      h("div", { cls: "row", css: { marginBottom: ".5rem" } }, view.spacing === "time" ? pressed(spans, view.span, (key) => { view.span = key; view.zoom = key === "all" ? null : [last - 86400 * Number(key), last + 60]; render(true); zoomed(view); }) : null,
        names.length > 1 ? chooser("Plan", "plan", [["", "All plans"], ...names.map((name) => [name, name])], view.plan, (value) => { view.plan = value; render(true); if (runs.bins) zoomed(view); }) : null,
        h("button", { cls: "button", type: "button", id: "unzoom", hidden: !view.zoom, onclick: () => { view.zoom = null; view.span = "all"; render(true); zoomed(view); } }, "Whole story")),
      h("div", { cls: "chart", id: "story", tabindex: 0, role: "group", "aria-label": `${METRICS[view.metric].title} of ${count(runs.total, "run")} over time. Arrow keys go from run to run, Enter opens one.` }),
      h("p", { cls: "quiet", id: "picked", role: "status" }),
      h("div", { cls: "legend" }, roles.map(({ role, place }) => h("label", { css: { display: "inline-flex", alignItems: "center", gap: ".35rem", cursor: "pointer" } }, h("input", { type: "checkbox", checked: view.roles.has(place), onchange: (event) => { if (event.target.checked) view.roles.add(place); else view.roles.delete(place); drawStory(view); refillRuns(view); } }), legendMark(role), role.title)),
        h("span", {}, legendMark({ shape: "cross", colour: "--bad" }), "failed")),
      runs.bins ? h("p", { cls: "dim small" }, `${count(runs.total, "run")}, drawn in groups: median, and the middle 80 %.`) : null);
    const declared = definition ? `${definition.formation}, ${count(definition.members.length, "member")}${definition.tool_budget === null ? "" : `, tool budget ${grouped(definition.tool_budget)}`}${definition.timeout === null ? "" : `, timeout ${seconds(definition.timeout)}`}` : "unknown";
    return [
      h("div", { cls: "title" }, h("div", {}, h("p", { cls: "crumb dim" }, h("a", { href: "#/" }, "Teams"), ` / ${row.workflow}`), h("div", { cls: "row" }, h("h1", {}, row.team), statePill(row)),
        h("p", { cls: "dim" }, `Live plan: ${row.plan}. Configured: ${declared}. Mode ${row.mode}.`), row.mode_told ? h("p", { cls: "asks small" }, `${upper(row.mode_told).replaceAll("`", "")}.`) : null), teamActions(row)),
      ...row.awaits.map((one) => decision(row, one)),
      row.next.length ? h("p", {}, h("strong", {}, "Next: "), row.next.map((text) => text.replaceAll("`", "")).join(" ")) : null,
      outcomeTiles(row), runs.total ? story : null, ...tests(view),
      h("div", { cls: "pair" },
        card("Data flow", flow ? [flow.edges.some((one) => one.source !== one.target) ? flowDrawing(flow) : h("div", { cls: "alone" }, flow.members.map((name) => h("span", {}, name))), h("p", {}, h("strong", {}, upper(flow.verdict) + ". "), flow.because), flow.missing ? h("p", { cls: "dim small" }, `Missing: ${flow.missing}`) : null,
          flow.open.map((one) => h("p", { cls: "dim small" }, `${one.member} is open: ${one.why}.`)), flow.follows.map((said) => h("p", { cls: "dim small" }, said)), h("p", { cls: "dim small" }, `Looked at: ${flow.looked_at}.${flow.edges.some((one) => !one.sure) ? " Dashed: may be." : ""}`)] : h("p", { cls: "dim" }, "Not known yet.")),
        h("div", { cls: "column" }, card("What changing a knob did", forest(experiments)), view.team.quality.length ? card("Quality", view.team.quality.map((said) => h("p", {}, said))) : null)),
      h("section", { cls: "card", id: "members" }, h("h2", {}, "Members in the last run"), h("p", { cls: "dim" }, "…")),
      plans.length ? card("Plans that ran", h("p", { cls: "dim small" }, "All runs of each plan, of different times: was → now above compares runs of the same time."), plansTable(plans)) : null,
      h("section", { cls: "card" }, h("details", { open: view.listOpen, ontoggle: (event) => { view.listOpen = event.target.open; } }, h("summary", {}, "Runs, newest first"), runsTable(view))),
      card("History", changes.length ? h("ul", { cls: "story" }, changes.map((one) => h("li", {}, h("time", { datetime: new Date(one.at * 1000).toISOString() }, when(one.at)), h("div", {}, h("span", { css: { fontWeight: 550 } }, upper(one.title)), known(one.improvement) ? h("span", { cls: "good" }, ` ${percent(one.improvement / 100)} better`) : null, h("span", { cls: "dim small" }, ` ${one.who}`), h("p", { cls: "small" }, one.reason), one.after ? h("p", { cls: "dim small" }, `${one.before} → ${one.after}`) : null)))) : h("p", { cls: "dim" }, "No changes yet.")),
    ];
  };
  const fillTeam = async (view) => {
    drawStory(view);
    const box = document.getElementById("evidence");
    if (box && view.experiment) source.evidence(view.experiment).then((path) => {
      if (!box.isConnected) return;
      if (path.runs.length < 2) box.replaceChildren(h("p", { cls: "dim" }, "It has too few runs to draw."));
      else { box.setAttribute("role", "img"); box.setAttribute("aria-label", `Evidence ${rounded(path.statistic.at(-1))} after ${count(path.runs.at(-1), "run")}; boundary ${rounded(path.boundary.at(-1))}.`); box.replaceChildren(); evidenceChart(path, box); }
    }).catch((error) => box.replaceChildren(h("p", { cls: "dim" }, error.message)));
    const members = document.getElementById("members"), points = view.team.runs.points, ended = points ? points.id.filter((_, place) => !(points.flags[place] & RUNNING)) : [];
    const shown = view.team.last_run || ended.at(-1);
    if (!shown) { members.hidden = true; return; }
    source.run(shown).then((run) => members.replaceChildren(h("div", { cls: "head" }, h("h2", {}, "Members in the last run"), h("a", { href: `#/run/${encodeURIComponent(run.id)}`, cls: "small" }, `${when(run.at)}, ${seconds(run.seconds)}`)), gantt(run))).catch(() => { members.hidden = true; });
  };

  /* --- a run */
  const runPage = (run) => {
    const facts = [["Started", when(run.at)], ["Duration", seconds(run.seconds)], ["Went", run.status === "finished" ? (run.cancelled ? "was cancelled" : run.timed_out ? "timed out" : run.success ? "succeeded" : `failed${run.error_class ? `: ${run.error_class}` : ""}`) : run.status], ["Formation", run.formation], ["Plan asked for", run.asked],
      ["Took part in", run.experiment ? `${run.phase === "watch" ? "the watch" : "a test"}, ${run.arm === "control" ? "plan before" : "new plan"}` : "no test"], ["Cost", usd(run.usd)], ["Score", score(run.score)], ["Model calls", grouped(run.llm_calls)], ["Tool calls", grouped(run.tool_calls)], ["Tokens in / out", `${grouped(run.input_tokens)} / ${grouped(run.output_tokens)}`], ["Mode", run.mode]];
    const heads = ["Member", "Took", "Model", "Tools", "Model calls", "Tool calls", "Tokens in / out"];
    return [
      h("div", { cls: "title" }, h("div", {}, h("p", { cls: "crumb dim" }, h("a", { href: "#/" }, "Teams"), " / ", h("a", { href: teamLink(run.workflow, run.team) }, run.team)), h("h1", {}, "Run ", h("span", { cls: "mono" }, run.id.slice(0, 12))),
        h("p", { cls: "dim" }, `${run.workflow}, ${when(run.at)}`)), h("span", { cls: `pill ${run.success ? "good" : run.cancelled ? "" : "bad"}` }, facts[2][1])),
      card("Members", run.members.length ? gantt(run) : h("p", { cls: "dim" }, "No member was recorded.")),
      card("Figures", h("dl", { cls: "facts" }, facts.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))))),
      run.members.length ? card("What each member did", h("table", { cls: "fold", role: "table" }, h("caption", { cls: "quiet" }, "Members"), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((head, place) => h("th", { role: "columnheader", scope: "col", cls: place ? "num" : null }, head)))), h("tbody", { role: "rowgroup" }, run.members.map((one) => h("tr", { role: "row" },
        h("td", { role: "cell", cls: "wide" }, one.id, one.role ? h("span", { cls: "dim small" }, ` ${one.role}`) : null, one.success ? null : h("span", { cls: "bad small" }, ` ${one.error_class || "failed"}`), one.models.length ? h("div", { cls: "dim small" }, one.models.join(", ")) : null),
        ...[["Took", seconds(one.seconds)], ["Model", seconds(one.model_seconds)], ["Tools", seconds(one.tool_seconds)], ["Model calls", grouped(one.llm_calls)], ["Tool calls", grouped(one.tool_calls) + (one.refused ? ` (${grouped(one.refused)} refused)` : "")], ["Tokens in / out", `${grouped(one.input_tokens)} / ${grouped(one.output_tokens)}`]].map(([head, text]) => h("td", { role: "cell", cls: "num", "data-head": head }, text))))))) : null,
      run.scores.length ? card("Scores", h("dl", { cls: "facts" }, run.scores.map((one) => h("div", {}, h("dt", {}, `${one.name} (${one.source})`), h("dd", {}, one.value === null ? "no opinion" : score(one.value)))))) : null,
      card("In traces", run.trace_id ? [h("p", { cls: "dim small" }, "Look for this trace where your spans go; the search above finds the run by it."), command(run.trace_id)] : h("p", { cls: "dim" }, "No trace was recorded: no tracer provider was set."), h("p", { cls: "dim small", css: { marginTop: ".6rem" } }, "Run id: ", h("span", { cls: "mono" }, run.id))),
    ];
  };

  /* --- routes */
  const parts = () => location.hash.replace(/^#\/?/, "").split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  const put = (nodes) => { if (state.chart) { state.chart.destroy(); state.chart = null; } hideTip(); main.replaceChildren(...nodes.flat().filter(Boolean)); };
  let turn = 0;
  const render = async (stay) => {
    const mine = ++turn, [page, first, second] = parts(), scroll = scrollY, focused = document.activeElement && document.activeElement.id;
    try {
      if (page === "team" && second) {
        const same = state.view && state.view.workflow === first && state.view.name === second;
        const view = same ? state.view : { workflow: first, name: second, metric: "seconds", spacing: "time", span: "all", zoom: null, plan: "", roles: new Set([0, 1, 2, 3]), picked: null, listed: 20, listOpen: false };
        if (!same || !stay || view.stale) { view.team = await source.team(first, second); view.stale = false; }
        if (mine !== turn) return;
        state.view = view; document.title = `${second} · Autotune`; put(teamPage(view)); fillTeam(view);
      } else if (page === "run" && first) {
        const run = await source.run(first);
        if (mine !== turn) return;
        document.title = `Run ${run.id.slice(0, 12)} · Autotune`; put(runPage(run));
      } else { document.title = config.title; put(overview()); }
    } catch (error) { if (mine === turn) put([h("h1", {}, "Not here"), h("p", { cls: "dim" }, error.message), h("p", {}, h("a", { href: "#/" }, "All teams"))]); }
    if (stay) { scrollTo(0, scroll); const again = focused && document.getElementById(focused); if (again) again.focus({ preventScroll: true }); }
    document.documentElement.dataset.ready = String(turn);
  };
  const take = (data) => {
    for (const row of data.teams) state.rows.set(keyOf(row.workflow, row.team), row);
    const { teams, ...head } = data; state.head = head; state.version = data.version;
    document.getElementById("where").textContent = head.project + (head.environment === "default" ? "" : ` · ${head.environment}`);
    return teams;
  };
  const update = async () => {
    const changed = take(await source.overview(state.version)), [page, first, second] = parts();
    if (page === "team" && changed.some((row) => row.workflow === first && row.team === second) && state.view) { state.view.stale = true; if (!state.view.zoom) await render(true); }
    if (page === "" && changed.length) { state.savings = await source.savings().catch(() => state.savings); await render(true); }
  };
  const listen = () => {
    let busy = false, again = false;
    const events = new EventSource("events");
    const look = async () => { if (busy) { again = true; return; } busy = true; try { await update(); note("Live"); } catch (error) { note(error.message, true); } busy = false; if (again) { again = false; look(); } };
    events.addEventListener("changed", (event) => { if (Number(event.data) !== state.version) look(); else note("Live"); });
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
    else if (overviewRows().length && parts()[0] === "") { const row = overviewRows()[0]; location.hash = teamLink(row.workflow, row.team); }
    else location.hash = `#/run/${encodeURIComponent(text)}`;
  });
  document.getElementById("find-text").addEventListener("input", (event) => { state.search = event.target.value; state.shown = 100; if (parts()[0] === "") refill(); });
  const theme = document.getElementById("theme"), dark = () => document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const paintTheme = () => theme.replaceChildren(s("svg", { viewBox: "0 0 20 20", width: 16, height: 16, "aria-hidden": "true" }, dark() ? s("path", { d: "M10 3v2m0 10v2M3 10h2m10 0h2M5 5l1.4 1.4m7.2 7.2L15 15M5 15l1.4-1.4m7.2-7.2L15 5M10 7a3 3 0 100 6 3 3 0 000-6z", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round" }) : s("path", { d: "M16 12.5A7 7 0 017.5 4 7 7 0 1016 12.5z", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linejoin": "round" })));
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; paintTheme(); render(true); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { paintTheme(); render(true); });
  addEventListener("hashchange", async () => { await render(false); scrollTo(0, 0); main.focus({ preventScroll: true }); });
  let width = innerWidth, resizing;
  addEventListener("resize", () => { if (innerWidth === width) return; width = innerWidth; clearTimeout(resizing); resizing = setTimeout(() => render(true), 120); });

  (async () => {
    paintTheme();
    if (config.first && config.first.teams.length) { take(config.first); state.version = 0; if (parts()[0] === "") await render(false); }
    try { take(await source.overview(0)); } catch (error) { note(error.message, true); put([h("p", { cls: "loading" }, error.message)]); return; }
    document.getElementById("foot").textContent = config.live ? "Read from the project's store on this machine. Neither prompts nor outputs are in it." : `Written ${when(state.head.at)}. Neither prompts nor outputs are in it; nothing is loaded from elsewhere.`;
    await render(Boolean(config.first));
    state.savings = await source.savings().catch(() => null);
    if (parts()[0] === "") await render(true);
    if (config.live) listen(); else { pulse.textContent = `As of ${when(state.head.at)}`; }
  })();
})();
