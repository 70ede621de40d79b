// chat.js - the chat page: conversations, and answers as they stream in.
//
// A conversation: { id, title, named, created, updated, messages }. A message is
//   { role: "user", content }
//   { role: "assistant", content, reasoning, calls: [{ id, name, arguments }], finish, error,
//     thinkMs, stats: { prompt, cached, generated, firstMs, speed } }
//   { role: "tool", callId, content }
// Answers run on when another conversation is opened; each conversation has at most one.

import { el, fillIcons, say, count } from "./dom.js";
import { openStore, loadSettings, saveSettings, newId } from "./store.js";
import { getJson, complete } from "./stream.js";
import { userView, AnswerView, helloView } from "./view.js";
import { Sidebar } from "./sidebar.js";
import { settingsDialog, parseTools, askKey, askYes, toast } from "./settings.js";

const byId = (id) => document.getElementById(id);
const text = byId("text"), log = byId("log"), messages = byId("messages"), app = byId("app");
const phone = matchMedia("(max-width: 760px)");

const settings = loadSettings();
const runs = new Map();                 // by conversation id: { controller, message, started, chunks }
let   store, conversations = [], current = null;
let   views = new Map();                // by message, of the conversation that is shown
let   model = { id: "default", name: "", context: 0 };

// ---- the server's model ---------------------------------------------------------------------

async function loadModel() {
    for (;;) {
        try {
            const list = await getJson("v1/models", settings.key);
            const first = list.data?.[0] || {};
            model = { id: first.id || "default", name: first.name || first.id || "",
                      context: first.context_length || 0 };
            byId("model").textContent = byId("model").title = model.name;
            if (current && !current.messages.length) showMessages();
            showMeter();
            return;
        } catch (error) {
            if (error.status !== 401 || !await renewKey()) return;
        }
    }
}

async function renewKey() {
    const key = await askKey();
    if (key === null) return false;
    settings.key = key;
    saveSettings(settings);
    return true;
}

// ---- conversations -----------------------------------------------------------------------------

const fresh = () => ({ id: newId(), title: "New chat", named: false, created: Date.now(),
                       updated: Date.now(), messages: [] });

function keep(conversation) {
    if (!conversation.messages.length) return;
    if (!conversations.includes(conversation)) conversations.push(conversation);
    store.put(structuredClone(conversation)).catch(() => toast("This conversation could not be stored."));
}

function touch(conversation) {
    conversation.updated = Date.now();
    keep(conversation);
    showList();
}

function showList() {
    conversations.sort((a, b) => b.updated - a.updated);
    sidebar.show(conversations, current.id, runs);
}

function openConversation(conversation) {
    current = conversation;
    history.replaceState(null, "", conversation.messages.length ? `#${conversation.id}` : location.pathname);
    app.classList.remove("side-open");
    showList();
    showMessages();
    showRunning();
    toEnd();
    if (!phone.matches) text.focus();
}

async function removeConversation(id) {
    const conversation = conversations.find((c) => c.id === id);

    stopRun(conversation);
    runs.delete(id);
    conversations = conversations.filter((c) => c.id !== id);
    await store.remove(id);
    if (current.id === id) openConversation(fresh());
    else showList();
    toast("Deleted.", () => {
        conversations.push(conversation);
        keep(conversation);
        openConversation(conversation);
    });
}

async function removeAll() {
    if (!await askYes("Delete all conversations? There is no way back.", "Delete all")) return;
    for (const run of runs.values()) run.controller.abort();
    runs.clear();
    conversations = [];
    await store.clear();
    byId("settings").close();
    openConversation(fresh());
}

function titleOf(content) {
    const line = content.trim().split("\n")[0].replace(/\s+/g, " ");
    return line.length > 64 ? `${line.slice(0, 62).trimEnd()}…` : line;
}

const sidebar = new Sidebar(byId("list"), byId("search"), {
    open: (id) => openConversation(conversations.find((c) => c.id === id)),
    rename(id, title) {
        const conversation = conversations.find((c) => c.id === id);
        conversation.title = title;
        conversation.named = true;
        keep(conversation);
        showList();
        showTitle();
    },
    remove: removeConversation,
});

// ---- what is shown -------------------------------------------------------------------------------

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
let following = true, lastTop = 0;

function toEnd() {
    following = true;
    log.scrollTop = log.scrollHeight;
    byId("jump").hidden = true;
}

// Only who scrolls up leaves the end: the text may have grown between a scroll and its event.
log.addEventListener("scroll", () => {
    if (log.scrollTop < lastTop - 1) following = atEnd();
    else following ||= atEnd();
    lastTop = log.scrollTop;
    byId("jump").hidden = following;
}, { passive: true });
// What unfolds or arrives late moves the end too.
new ResizeObserver(() => {
    if (following) log.scrollTop = log.scrollHeight;
    else byId("jump").hidden = atEnd();
}).observe(messages);

function showTitle() {
    const title = current.messages.length ? current.title : "";
    byId("title").textContent = title;
    byId("export").hidden = !title;
    document.title = title ? `${title} · ds4` : "ds4";
}

function resultsOf(conversation) {
    return new Map(conversation.messages.filter((m) => m.role === "tool").map((m) => [m.callId, m.content]));
}

// The nodes of all messages; those that are there already are used again.
function showMessages() {
    const nodes = [], last = current.messages.at(-1), old = views;

    views = new Map();
    for (const m of current.messages) {
        if (m.role === "user") {
            const node = old.get(m) || userView(m, { onEdit });
            views.set(m, node);
            nodes.push(node);
        } else if (m.role === "assistant") {
            const view = old.get(m) || new AnswerView(m, { onRetry, onResults });
            views.set(m, view);
            view.update(runs.get(current.id)?.message === m, resultsOf(current), m === last);
            nodes.push(view.node);
        }
    }
    if (!nodes.length) nodes.push(helloView(model.name, (idea) => send(idea)));
    messages.replaceChildren(...nodes);
    showTitle();
    showMeter();
}

function showRunning() {
    const run = runs.get(current.id);
    byId("stop").hidden = !run;
    byId("send").hidden = Boolean(run);
    byId("send").disabled = !text.value.trim();
    showSpeed();
}

function showSpeed() {
    const run = runs.get(current.id);
    let   line = "";

    if (run?.firstAt && run.chunks > 1) {
        const speed = (run.chunks - 1) * 1000 / (performance.now() - run.firstAt);
        line = `${count(run.chunks)} tokens · ${speed < 10 ? speed.toFixed(1) : Math.round(speed)}/s`;
    } else if (run) {
        line = `${Math.round((performance.now() - run.started) / 1000)} s`;
    }
    byId("status").textContent = line;
}

function showMeter() {
    const stats = current.messages.findLast((m) => m.stats?.prompt)?.stats;
    const run = runs.get(current.id);
    const used = (stats ? stats.prompt + stats.generated : 0) + (run ? run.chunks : 0);
    const share = model.context ? Math.min(1, used / model.context) : 0;
    const meter = byId("meter");

    meter.hidden = !used || !model.context;
    meter.classList.toggle("full", share > 0.9);
    meter.querySelector(".used").style.strokeDasharray = `${share * 100} 100`;
    byId("meter-text").textContent = share < 0.01 ? "<1%" : `${Math.round(share * 100)}%`;
    meter.title = `${count(used)} of ${count(model.context)} tokens of context`;
    meter.setAttribute("aria-label", meter.title);
}

// ---- an answer --------------------------------------------------------------------------------

function apiMessages(conversation) {
    const out = [];

    if (settings.system.trim()) out.push({ role: "system", content: settings.system });
    for (const m of conversation.messages) {
        if (m.role === "user") out.push({ role: "user", content: m.content });
        if (m.role === "tool") out.push({ role: "tool", tool_call_id: m.callId, content: m.content });
        if (m.role !== "assistant" || (!m.content && !m.reasoning && !m.calls.length)) continue;
        const message = { role: "assistant", content: m.content };
        if (m.reasoning) message.reasoning_content = m.reasoning;
        if (m.calls.length) {
            message.tool_calls = m.calls.map((call) => ({
                id: call.id, type: "function", function: { name: call.name, arguments: call.arguments },
            }));
        }
        out.push(message);
    }
    return out;
}

function apiRequest(conversation) {
    const body = { model: model.id, messages: apiMessages(conversation), stream: true,
                   stream_options: { include_usage: true },
                   thinking: { type: settings.thinking === "off" ? "disabled" : "enabled" } };
    if (settings.thinking === "max") body.reasoning_effort = "max";
    for (const name of ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"]) {
        if (settings[name] !== "") body[name] = Number(settings[name]);
    }
    try {
        const tools = parseTools(settings.tools);
        if (tools.length) body.tools = tools;
    } catch {
        toast("The tools of the settings are left out: they are no valid list.");
    }
    return body;
}

function addCalls(calls, deltas) {
    for (const delta of deltas) {
        const call = calls[delta.index ?? calls.length] ??= { id: "", name: "", arguments: "" };
        if (delta.id) call.id = delta.id;
        call.name += delta.function?.name || "";
        call.arguments += delta.function?.arguments || "";
    }
}

// Takes one chunk of the stream into the message.
function hear(run, chunk) {
    const m = run.message, choice = chunk.choices?.[0], delta = choice?.delta || {};
    const thought = delta.reasoning_content || delta.reasoning || "", now = performance.now();

    if (thought || delta.content || delta.tool_calls) {
        run.chunks++;
        if (!run.firstAt) {
            run.firstAt = now;
            m.stats.firstMs = now - run.started;
        }
        run.lastAt = now;
    }
    if (thought) m.reasoning += thought;
    if (delta.content) m.content += delta.content;
    if (delta.tool_calls) addCalls(m.calls, delta.tool_calls);
    if (m.reasoning && !m.thinkMs && (delta.content || delta.tool_calls)) m.thinkMs = now - run.firstAt;
    if (choice?.finish_reason) m.finish = choice.finish_reason;
    if (chunk.usage) {
        m.stats.prompt = chunk.usage.prompt_tokens;
        m.stats.cached = chunk.usage.prompt_tokens_details?.cached_tokens || 0;
        m.stats.generated = chunk.usage.completion_tokens;
    }
    refresh(run);
}

// At most once in a frame; never while the page is hidden, where there are no frames.
function refresh(run) {
    if (run.waiting) return;
    run.waiting = true;
    requestAnimationFrame(() => {
        run.waiting = false;
        if (runs.get(run.conversation.id) !== run) return;
        if (performance.now() - run.keptAt > 2000) {
            run.keptAt = performance.now();
            keep(run.conversation);
        }
        if (current !== run.conversation) return;
        views.get(run.message)?.update(true);
        showSpeed();
        showMeter();
    });
}

// Once a second while an answer runs: the clock, and how much of a long prompt is read. The
// server says that for each of its sessions, so it is ours only if it is the only one.
async function tick(run) {
    if (current !== run.conversation) return;
    showSpeed();
    if (run.firstAt || run.asking || performance.now() - run.started < 1500) return;
    run.asking = true;
    try {
        const { slots } = await getJson("v1/ds4/stats", settings.key);
        const reading = slots.filter((slot) => slot.state === "prefill");
        if (reading.length === 1 && !run.firstAt && runs.get(run.conversation.id) === run) {
            views.get(run.message)?.showWaiting(true, { done: reading[0].pos, of: reading[0].prompt });
        }
        run.asking = false;
    } catch { /* it stays at the clock */ }
}

function finish(run) {
    const m = run.message;

    m.stats.generated ||= run.chunks;
    // Shorter than that, it is the network's speed.
    if (run.chunks > 1 && run.lastAt - run.firstAt > 200) {
        m.stats.speed = (m.stats.generated - 1) * 1000 / (run.lastAt - run.firstAt);
    }
    if (m.reasoning && !m.thinkMs && run.firstAt) m.thinkMs = run.lastAt - run.firstAt;
    m.calls = m.calls.filter(Boolean);
    clearInterval(run.clock);
    if (runs.get(run.conversation.id) === run) runs.delete(run.conversation.id);
    if (!conversations.includes(run.conversation)) return;      // it was deleted meanwhile
    touch(run.conversation);
    if (current !== run.conversation) return;
    showMessages();
    showRunning();
    say(m.error || (m.calls.length ? "A tool is called" : "The answer is complete"));
}

async function answer(conversation) {
    const message = { role: "assistant", content: "", reasoning: "", calls: [], finish: "", error: "",
                      thinkMs: 0, stats: {} };
    const run = { conversation, message, controller: new AbortController(), started: performance.now(),
                  chunks: 0, firstAt: 0, lastAt: 0, keptAt: performance.now() };

    const body = apiRequest(conversation);
    conversation.messages.push(message);
    runs.set(conversation.id, run);
    run.clock = setInterval(() => tick(run), 700);
    touch(conversation);
    if (current === conversation) {
        showMessages();
        showRunning();
        toEnd();
    }
    for (let asked = false;;) {
        try {
            await complete(body, { key: settings.key, signal: run.controller.signal,
                                   heard: (chunk) => hear(run, chunk) });
        } catch (error) {
            if (error.name === "AbortError") message.finish = "stopped";
            else if (error.status === 401 && !asked && await renewKey()) {
                asked = true;
                continue;
            } else {
                message.error = error.message;
                if (error.retryAfter) message.error += ` It asks to wait ${error.retryAfter} s.`;
            }
        }
        break;
    }
    finish(run);
}

// Calls that nobody answered get an empty answer, since the model expects one for each.
function closeCalls(conversation) {
    const last = conversation.messages.findLast((m) => m.role === "assistant");
    const results = resultsOf(conversation);

    for (const call of last?.calls || []) {
        if (results.has(call.id)) continue;
        conversation.messages.push({ role: "tool", callId: call.id, content: "(no result: the user went on)" });
    }
}

function send(content) {
    if (runs.has(current.id)) return;
    closeCalls(current);
    current.messages.push({ role: "user", content });
    if (!current.named && current.messages.length === 1) current.title = titleOf(content);
    history.replaceState(null, "", `#${current.id}`);
    answer(current);
}

function stopRun(conversation) {
    runs.get(conversation.id)?.controller.abort();
}

// Everything from a message on goes; the answer in progress belongs to what goes.
async function cutFrom(conversation, message) {
    stopRun(conversation);
    while (runs.has(conversation.id)) await new Promise((resolve) => setTimeout(resolve, 10));
    conversation.messages.length = conversation.messages.indexOf(message);
}

async function onEdit(message, content) {
    const conversation = current;

    await cutFrom(conversation, message);
    if (!conversation.messages.length && !conversation.named) conversation.title = titleOf(content);
    conversation.messages.push({ role: "user", content });
    answer(conversation);
}

async function onRetry(message) {
    const conversation = current;

    await cutFrom(conversation, message);
    answer(conversation);
}

function onResults(message, results) {
    message.calls.forEach((call, i) =>
        current.messages.push({ role: "tool", callId: call.id, content: results[i] }));
    answer(current);
}

// ---- saving as a file -----------------------------------------------------------------------

function asMarkdown(conversation) {
    const parts = [`# ${conversation.title}`];

    for (const m of conversation.messages) {
        if (m.role === "user") parts.push(`## You\n\n${m.content}`);
        if (m.role === "tool") parts.push(`## Tool result\n\n\`\`\`\n${m.content}\n\`\`\``);
        if (m.role !== "assistant") continue;
        const calls = m.calls.map((call) => `\`\`\`json\n${call.name} ${call.arguments}\n\`\`\``);
        parts.push([`## Answer`, m.content, ...calls].filter(Boolean).join("\n\n"));
    }
    return `${parts.join("\n\n")}\n`;
}

function exportCurrent() {
    const address = URL.createObjectURL(new Blob([asMarkdown(current)], { type: "text/markdown" }));
    const name = current.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "conversation";
    const link = el("a", { href: address, download: `${name}.md` });

    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// ---- the field and the keys --------------------------------------------------------------------

function fit() {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight}px`;
    byId("send").disabled = !text.value.trim();
}

function showOptions() {
    let n = 0;
    try {
        n = parseTools(settings.tools).length;
    } catch { /* said in the settings */ }
    byId("thinking").value = settings.thinking;
    byId("thinking").closest(".pill").classList.toggle("on", settings.thinking !== "off");
    byId("tools-on").hidden = n === 0;
    byId("tools-count").textContent = n === 1 ? "1 tool" : `${n} tools`;
}

function wireField() {
    byId("composer").addEventListener("submit", (event) => {
        event.preventDefault();
        const content = text.value.trim();
        if (!content || runs.has(current.id)) return;
        text.value = "";
        fit();
        send(content);
    });
    text.addEventListener("input", fit);
    text.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        byId("composer").requestSubmit();
    });
    byId("stop").addEventListener("click", () => {
        stopRun(current);
        text.focus();
    });
    byId("thinking").addEventListener("change", (event) => {
        settings.thinking = event.target.value;
        saveSettings(settings);
        showOptions();
    });
}

function wirePage() {
    const dialog = settingsDialog(settings, { changed: showOptions, deleteAll: removeAll });
    const newChat = () => openConversation(fresh());
    const toggleSide = () => app.classList.toggle(phone.matches ? "side-open" : "folded");

    byId("new").addEventListener("click", newChat);
    byId("new-small").addEventListener("click", newChat);
    byId("settings-open").addEventListener("click", () => dialog.open());
    byId("theme").addEventListener("click", () => window.ds4Theme.toggle());
    byId("side-open").addEventListener("click", toggleSide);
    byId("side-close").addEventListener("click", toggleSide);
    byId("veil").addEventListener("click", toggleSide);
    byId("jump").addEventListener("click", toEnd);
    byId("export").addEventListener("click", exportCurrent);
    document.addEventListener("keydown", (event) => {
        const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
        if (document.querySelector("dialog[open]")) return;
        if (event.key === "Escape" && app.classList.contains("side-open")) app.classList.remove("side-open");
        else if (event.key === "Escape") stopRun(current);
        else if (event.altKey && event.code === "KeyN") newChat();
        else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) text.focus();
        else return;
        event.preventDefault();
    });
    addEventListener("pagehide", () => { for (const run of runs.values()) keep(run.conversation); });
}

// ---- beginning -------------------------------------------------------------------------------

async function begin() {
    fillIcons();
    store = await openStore();
    if (!store.lasting) byId("kept").textContent = "not kept: this browser does not allow it";
    conversations = (await store.list()).filter((c) => Array.isArray(c.messages));
    wireField();
    wirePage();
    showOptions();
    openConversation(conversations.find((c) => c.id === location.hash.slice(1)) || fresh());
    fit();
    loadModel();
}

begin();
