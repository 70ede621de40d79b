// dashboard.js - the numbers of /v1/ds4/stats, asked for once a second, plotted while the page
// is open. A member that the server does not send leaves its card saying so.

import { el, fillIcons, count, bytes, seconds } from "./dom.js";
import { quantile, readHistograms, since, total } from "./histograms.js";
import { getJson, getText } from "./stream.js";
import { loadSettings, saveSettings } from "./store.js";
import { askKey } from "./settings.js";
import { Plot } from "./plot.js";

const byId = (id) => document.getElementById(id);
const PERIOD = 1000, KEEP = 3700;       // ms between questions; samples kept

const settings = loadSettings();
const samples = [];

const short = (n) => n >= 1e9 ? `${(n / 1e9).toFixed(1)}G` : n >= 1e6 ? `${(n / 1e6).toFixed(1)}M`
    : n >= 1e4 ? `${Math.round(n / 1e3)}k` : n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n.toFixed(1);
const percent = (share) => `${Math.round(share * 100)}%`;
const many = (n, one, more) => `${count(n ?? 0)} ${n === 1 ? one : more}`;
const number = (value) => typeof value === "number" && Number.isFinite(value) ? value : null;

// ---- cards -------------------------------------------------------------------------------------

const member = (group, name) => (sample) => number(sample.stats[group]?.[name]);

function peak(of) {
    return (sample) => {
        const most = Math.max(...samples.map((s) => of(s) ?? 0));
        return most > 0 ? `highest ${short(most)}` : "";
    };
}

function guessed(drafts) {
    return drafts?.tokens ? `${percent(drafts.accepted / drafts.tokens)} of guesses came true` : "";
}

const CARDS = [
    { title: "Decoding", unit: "tokens/s", now: member("speed", "decode_tps"), show: short,
      more: (sample) => [peak(member("speed", "decode_tps"))(sample), guessed(sample.stats.drafts)]
          .filter(Boolean).join(", "),
      plot: { series: [{ colour: "--plot-1", of: member("speed", "decode_tps"), fill: true }], format: short, least: 4 } },
    { title: "Reading prompts", unit: "tokens/s", now: member("speed", "prefill_tps"), show: short,
      more: peak(member("speed", "prefill_tps")),
      plot: { series: [{ colour: "--plot-2", of: member("speed", "prefill_tps"), fill: true }], format: short, least: 10 } },
    { title: "Cache hits", unit: "of prompt tokens", now: (sample) => sample.hits, show: percent,
      more: (sample) => sample.stats.tokens?.prompt
          ? `${percent(sample.stats.tokens.cached / sample.stats.tokens.prompt)} since the start` : "",
      plot: { series: [{ colour: "--plot-3", of: (sample) => sample.hits, fill: true }], format: percent, top: 1 } },
    { title: "Sessions at work", unit: "", now: (sample) => sum(sample, "decode", "prefill"), show: short,
      unitOf: (sample) => number(sample.stats.sessions?.max) === null ? "" : `of ${sample.stats.sessions.max}`,
      keys: [["--plot-1", "decoding"], ["--plot-2", "reading"], ["--ink-3", "waiting"]],
      plot: { series: [{ colour: "--ink-3", of: member("sessions", "queued") },
                       { colour: "--plot-2", of: member("sessions", "prefill") },
                       { colour: "--plot-1", of: member("sessions", "decode"), fill: true }],
              format: short, least: 2, step: true } },
    { title: "KV memory", unit: "", now: member("memory", "kv_bytes"), show: bytes,
      unitOf: (sample) => of(sample.stats.memory?.kv_max_bytes),
      more: (sample) => {
          const m = sample.stats.memory;
          return m?.process_bytes ? `the server holds ${bytes(m.process_bytes)}` +
              (m.machine_bytes ? ` of this machine's ${bytes(m.machine_bytes)}` : "") : "";
      },
      plot: { series: [{ colour: "--plot-1", of: member("memory", "kv_bytes"), fill: true }], format: axisBytes,
              least: 1e6, limit: member("memory", "kv_max_bytes") } },
    { title: "Conversations on disk", unit: "", none: "no folder in use", now: member("disk", "bytes"), show: bytes,
      hint: ["Start the server with ", el("code", null, "--kv-disk-dir FOLDER"), " and conversations go on after a restart."],
      unitOf: (sample) => of(sample.stats.disk?.max_bytes),
      more: (sample) => sample.stats.disk ? [many(sample.stats.disk.entries, "entry", "entries"),
          many(sample.stats.disk.hits, "hit", "hits"), many(sample.stats.disk.misses, "miss", "misses")].join(", ") : "",
      plot: { series: [{ colour: "--plot-3", of: member("disk", "bytes"), fill: true }], format: axisBytes,
              least: 1e6, limit: member("disk", "max_bytes") } },
];

function axisBytes(n) {
    return n ? bytes(n).replace(/\.0 /, " ").replace(" ", "\u202f") : "0";
}

function of(most) {
    return most ? `of ${bytes(most)}` : "";
}

function sum(sample, ...names) {
    const values = names.map((name) => number(sample.stats.sessions?.[name]));
    return values.includes(null) ? null : values.reduce((a, b) => a + b);
}

function makeCard(card) {
    card.value = el("b", null, "–");
    card.unitNode = el("span", null, card.unit);
    card.moreNode = el("p.more");
    for (const [colour, name] of card.keys || []) {
        const line = el("i");
        line.style.setProperty("--c", `var(${colour})`);
        card.moreNode.append(el("span.key", null, line, name));
    }
    card.canvas = el("canvas", { role: "img", "aria-label": card.title });
    card.drawn = new Plot(card.canvas, card.plot);
    card.hintNode = el("p.hint", { hidden: true }, el("span", null, ...card.hint || []));
    return el("section.card", { "aria-label": card.title }, el("h2", null, card.title),
              el("p.now", null, card.value, card.unitNode), card.moreNode, card.canvas, card.hintNode);
}

// As much of the wanted time as there are samples for, in steps, so that a page just opened
// is no empty field.
function shownRange(wanted, now) {
    const age = samples.length ? now - samples[0].time : 0;
    return [30, 60, 120, 300, 600, 1800, 3600].find((range) => range >= age || range >= wanted);
}

function showCards() {
    const sample = samples.at(-1), now = Date.now() / 1000;
    const range = shownRange(Number(byId("range").value), now);

    for (const card of CARDS) {
        if (sample) {
            const value = card.now(sample);
            card.value.textContent = value === null ? "–" : card.show(value);
            card.unitNode.textContent = value === null ? card.none || "no data"
                : card.unitOf ? card.unitOf(sample) : card.unit;
            if (card.more) card.moreNode.textContent = card.more(sample);
            card.hintNode.hidden = !card.hint || value !== null;
            card.canvas.hidden = !card.hintNode.hidden;
            card.canvas.setAttribute("aria-label", `${card.title}: ${card.value.textContent} ${card.unitNode.textContent}`);
        }
        card.drawn.show(samples, range, now);
    }
}

// ---- the rest -------------------------------------------------------------------------------------

function duration(s) {
    const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
    for (let i = 0; i < parts.length; i++) {
        const [size, name] = parts[i];
        if (s < size) continue;
        const rest = parts[i + 1] ? Math.floor(s % size / parts[i + 1][0]) : 0;
        return `${Math.floor(s / size)} ${name}${rest ? ` ${rest} ${parts[i + 1][1]}` : ""}`;
    }
    return `${Math.floor(s)} s`;
}

function showFacts(stats) {
    const model = stats.model || {}, facts = [];

    byId("name").textContent = model.name || model.id || "Dashboard";
    if (model.file_bytes) facts.push(bytes(model.file_bytes));
    if (model.context) facts.push(`${count(model.context)} tokens of context`);
    if (model.backend) facts.push(model.backend === "cpu" && model.threads
        ? `CPU, ${model.threads} thread${model.threads === 1 ? "" : "s"}` : model.backend.toUpperCase());
    if (number(stats.uptime_s) !== null) facts.push(`up for ${duration(stats.uptime_s)}`);
    if (stats.version) facts.push(`ds4 ${stats.version}`);
    byId("facts").textContent = facts.join(" · ");
}

const STATES = { idle: "idle", decode: "decoding", prefill: "reading" };

function slotRow(slot) {
    const share = slot.context ? Math.min(1, slot.pos / slot.context) : 0, fill = el("i");

    fill.style.width = `${share * 100}%`;
    const state = slot.state === "prefill" && slot.prompt
        ? `reading, ${percent(Math.min(1, slot.pos / slot.prompt))}` : STATES[slot.state] || slot.state;
    return el(`tr.${slot.state === "prefill" ? "prefill-row" : "row"}`, null,
        el("td", null, String(slot.id)),
        el("td", null, el(`span.state.${slot.state in STATES ? slot.state : "idle"}`, null, el("i"), state)),
        el("td", null, el("div.fill", null, el("div", { "aria-hidden": "true" }, fill),
                          el("span", null, `${count(slot.pos)} of ${count(slot.context)}`))),
        el("td.number", null, count(slot.prompt ?? 0)), el("td.number", null, count(slot.cached ?? 0)),
        el("td.number", null, count(slot.generated ?? 0)));
}

function showSlots(slots) {
    byId("slots").replaceChildren(...(slots?.length ? slots.map(slotRow)
        : [el("tr", null, el("td.none", { colspan: "6" }, "no data"))]));
}

function showTotals(stats) {
    const list = [
        ["Requests", stats.requests?.total], ["Failed", stats.requests?.failed],
        ["Cancelled", stats.requests?.cancelled], ["Turned away", stats.requests?.rejected],
        ["Prompt tokens", stats.tokens?.prompt], ["of them read", stats.tokens?.prefilled],
        ["Generated tokens", stats.tokens?.generated], ["Waiting now", stats.sessions?.queued],
    ];
    byId("totals").replaceChildren(...list.filter(([, value]) => number(value) !== null).map(([name, value]) =>
        el("div", null, el("dt", null, name), el("dd", null, count(value)))));
}

// ---- times ----------------------------------------------------------------------------------------

const WAITS = [
    ["Request to first token", "ds4_time_to_first_token_seconds"], ["Token to token", "ds4_between_tokens_seconds"],
    ["In line", "ds4_queue_seconds"], ["Reading a prompt", "ds4_prompt_seconds"], ["Whole request", "ds4_request_seconds"],
];
const WAITS_EVERY = 5000;               // ms; the text of /metrics is longer than the numbers
const readings = [];                    // { time, histograms }, oldest first

function showWaits() {
    const now = readings.at(-1), from = now.time - Number(byId("range").value);
    const before = readings.findLast((reading) => reading.time <= from) || readings[0];
    const time = (histogram, share) => {
        const s = quantile(histogram, share);
        return s === null ? "–" : seconds(s * 1000);
    };
    const rows = WAITS.filter(([, name]) => now.histograms[name]).map(([words, name]) => {
        // With one reading only, or nothing in between: since the start.
        const recent = since(now.histograms[name], before === now ? null : before.histograms[name]);
        const shown = total(recent) ? recent : now.histograms[name];
        return el("tr", null, el("td", null, words), el("td.number", null, time(shown, 0.5)), el("td.number", null, time(shown, 0.95)),
                  el("td.number", null, `${count(total(shown))}${shown === recent && before !== now ? "" : " since the start"}`));
    });
    byId("waits").replaceChildren(...rows.length ? rows : [el("tr", null, el("td.none", { colspan: "4" }, "no data"))]);
}

async function askWaits() {
    const time = Date.now() / 1000;

    if (readings.length && (time - readings.at(-1).time) * 1000 < WAITS_EVERY) return;
    let   text = "";
    try {
        text = await getText("metrics", settings.key);
    } catch (error) {
        if (error.status === 0) throw error;
    }
    readings.push({ time, histograms: readHistograms(text) });
    if (readings.length > KEEP) readings.shift();
    showWaits();
}

// The share of prompt tokens found in the last half minute that had any.
function hitRate(stats, time) {
    const now = stats.tokens;
    if (number(now?.prompt) === null || number(now?.cached) === null) return null;
    const before = samples.find((sample) => sample.time >= time - 30)?.stats.tokens;
    const prompt = before ? now.prompt - before.prompt : 0;
    if (prompt > 0) return Math.max(0, Math.min(1, (now.cached - before.cached) / prompt));
    return samples.at(-1)?.hits ?? (now.prompt > 0 ? now.cached / now.prompt : null);
}

// ---- asking -----------------------------------------------------------------------------------------

function showBanner(text) {
    byId("banner").textContent = text;
    byId("banner").hidden = !text;
}

async function ask() {
    try {
        const stats = await getJson("v1/ds4/stats", settings.key), time = Date.now() / 1000;
        samples.push({ time, stats: { ...stats, slots: null }, hits: hitRate(stats, time) });
        if (samples.length > KEEP) samples.shift();
        showBanner("");
        showFacts(stats);
        showSlots(stats.slots);
        showTotals(stats);
        await askWaits();
    } catch (error) {
        if (error.status === 401) {
            const key = await askKey(Boolean(settings.key));
            if (key !== null) {
                settings.key = key;
                saveSettings(settings);
                return;
            }
        }
        showBanner(`${error.message} Trying again.`);
    }
}

async function run() {
    for (;;) {
        const begun = performance.now();
        await ask();
        showCards();
        await new Promise((resolve) => setTimeout(resolve, Math.max(100, PERIOD - (performance.now() - begun))));
    }
}

fillIcons();
byId("cards").append(...CARDS.map(makeCard));
byId("theme").addEventListener("click", () => window.ds4Theme.toggle());
byId("range").addEventListener("change", showCards);
run();
