/* The page of victor-autotune: teams, a team's story, and a run. Live it asks its server; offline all is in the file.
   Everything is made as nodes with text, never as markup, so that no name can become code. Its scripts share one scope
   and are loaded in the order of `shell.SCRIPTS`: nodes, numbers and data come first. */
"use strict";

const config = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main"),
  tip = document.getElementById("tip"),
  pulse = document.getElementById("pulse");
const DASH = "–",
  MINUS = "−";
const state = {
  rows: new Map(),
  version: 0,
  head: {},
  savings: null,
  search: "",
  show: "all",
  order: "last",
  shown: 100,
  view: null,
  chart: null,
  route: "",
};

/* --- nodes */
const h = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "css") Object.assign(node.style, value);
    else node.setAttribute(name === "cls" ? "class" : name, value === true ? "" : value);
  }
  node.append(
    ...children
      .flat(3)
      .filter((one) => one !== null && one !== undefined && one !== false)
      .map((one) => (one instanceof Node ? one : tag === "code" ? String(one) : glued(String(one)))),
  );
  return node;
};
// A number and its unit stay on one line.
const glued = (text) => text.replace(/(\d) (?=(?:%|s|min|h|USD|points?)(?![\p{L}\d]))/gu, "$1\u00a0");
const SVG = "http://www.w3.org/2000/svg";
const s = (tag, attributes, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {}))
    node.setAttribute(name === "cls" ? "class" : name, value);
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
/* Nothing is certain. */
const likely = (chance) => (chance > 0.99 ? ">99 %" : chance < 0.01 ? "<1 %" : percent(chance));
const change = (share) => (known(share) ? signed(hundredths(share)) + " %" : "unknown");
const points = (share) => (known(share) ? signed(hundredths(share)) + " points" : "unknown");
const seconds = (value) => {
  if (!known(value)) return DASH;
  if (Math.abs(value) < 99.95) return minus(Math.abs(value) < 9.995 ? value.toFixed(2) : value.toFixed(1)) + " s";
  const sign = value < 0 ? MINUS : "",
    whole = Math.round(Math.abs(value)),
    minutes = Math.floor(whole / 60),
    hours = Math.floor(minutes / 60);
  const two = (number) => String(number).padStart(2, "0");
  return sign + (hours ? `${grouped(hours)} h ${two(minutes % 60)} min` : `${minutes} min ${two(whole % 60)} s`);
};
const usd = (value) =>
  known(value) ? minus(Math.abs(value) >= 0.99995 ? value.toFixed(2) : value.toFixed(4)) + " USD" : DASH;
const grouped = (value) => minus(Math.round(value).toLocaleString("en-US"));
const rounded = (value) =>
  known(value)
    ? minus(
        Math.abs(value) >= 1000 || value === Math.round(value)
          ? value.toFixed(0)
          : String(Number(value.toPrecision(3))),
      )
    : DASH;
const score = (value) => (known(value) ? minus(value.toFixed(2)) : DASH);
const count = (amount, noun) => `${grouped(amount)} ${noun}${amount === 1 ? "" : "s"}`;
const pad = (number) => String(number).padStart(2, "0");
const when = (at) => {
  if (!known(at)) return DASH;
  const date = new Date(at * 1000);
  const day = [date.getFullYear(), pad(date.getMonth() + 1), pad(date.getDate())].join("-");
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
};
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const ago = (at) => {
  if (!known(at)) return DASH;
  const passed = Math.max(0, (config.live ? Date.now() / 1000 : state.head.at) - at);
  if (passed < 90) return "just now";
  for (const [length, name] of [
    [86400 * 2, "day"],
    [3600 * 1.5, "hour"],
    [90, "minute"],
  ])
    if (passed >= length)
      return count(Math.floor(passed / { day: 86400, hour: 3600, minute: 60 }[name]), name) + " ago";
  return "just now";
};
const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const FIGURES = {
  duration: { title: "Duration", text: seconds, delta: change, less: true, note: "median" },
  cost: { title: "Cost of a run", text: usd, delta: change, less: true, note: "median" },
  tokens: { title: "Tokens of a run", text: grouped, delta: change, less: true, note: "median" },
  score: {
    title: "Score",
    text: score,
    delta: (value) => (known(value) ? signed(score(value)) : "unknown"),
    less: false,
    note: "mean",
  },
  success: { title: "Success", text: percent, delta: points, less: false, note: "share of runs" },
};

/* --- where data come from */
const keyOf = (workflow, team) => JSON.stringify([workflow, team]);
const query = (values) =>
  new URLSearchParams(
    Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== ""),
  ).toString();
const ask = async (path) => {
  const answer = await fetch("api/" + path, { headers: { Accept: "application/json" } });
  const data = await answer.json().catch(() => ({ error: "The server gave no answer." }));
  if (!answer.ok) throw new Error(data.error || "The server gave no answer.");
  return data;
};
const missing = (what) => {
  throw new Error(what);
};
const source = config.live
  ? {
      overview: (since) => ask("overview?" + query({ since })),
      savings: () => ask("savings"),
      team: (workflow, team, filter) => ask("team?" + query({ workflow, team, ...filter })),
      runs: (workflow, team, filter) => ask("runs?" + query({ workflow, team, ...filter })),
      evidence: (id) => ask("evidence?" + query({ id })),
      run: (id) => ask("run?" + query({ id })),
    }
  : {
      overview: async () => config.overview,
      savings: async () => config.savings,
      team: async (workflow, team) =>
        config.teams[keyOf(workflow, team)] || missing(`This file holds no details of team ${team}.`),
      runs: async (workflow, team) => config.teams[keyOf(workflow, team)].runs,
      evidence: async (id) => config.evidence[id] || missing("This file holds no evidence over time of this test."),
      run: async (id) =>
        config.runs[id] ||
        Object.values(config.runs).find((one) => one.trace_id === id || (id.length >= 6 && one.id.startsWith(id))) ||
        missing("This file holds no details of this run; the dashboard does."),
    };
const act = async (body) => {
  const answer = await fetch("api/act", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Autotune-Token": config.csrf },
    body: JSON.stringify(body),
  });
  const data = await answer.json().catch(() => ({ error: "The server gave no answer." }));
  if (!answer.ok) throw new Error(data.error);
  return data;
};
