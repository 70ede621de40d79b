// portable.js - conversations as files: JSON that can be read back, Markdown to be read.

import { el } from "./dom.js";
import { asText } from "./files.js";
import { newId } from "./store.js";
import { newestEnd, pathTo } from "./tree.js";

const FORMAT = "ds4-conversations";
export const MOST_BYTES = 64 * 1024 * 1024;

// ---- writing ------------------------------------------------------------------------------

export function saveFile(name, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type }));

    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
}

export const fileName = (title) => title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "conversation";

// conversations: with their messages as lists.
export const asJson = (conversations) => `${JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 1)}\n`;

function fenced(text, language = "") {
    const fence = "`".repeat(Math.max(3, ...(text.match(/`{3,}/g) || []).map((run) => run.length + 1)));
    return `${fence}${language}\n${text}\n${fence}`;
}

function answerParts(m) {
    const thoughts = m.reasoning.trim();
    return ["## Answer",
            thoughts && `<details><summary>Thoughts</summary>\n\n${thoughts}\n\n</details>`, m.content,
            ...m.calls.map((call) => fenced(`${call.name} ${call.arguments}`, "json")),
            m.error && `*${m.error}*`];
}

// The branch that is shown.
export function asMarkdown(conversation, path) {
    const parts = [`# ${conversation.title}`];

    if (conversation.system) parts.push("## System", conversation.system);
    for (const m of path) {
        if (m.role === "user") parts.push("## You", asText(m));
        else if (m.role === "tool") parts.push("## Tool result", fenced(m.content));
        else parts.push(...answerParts(m));
    }
    return `${parts.filter(Boolean).join("\n\n")}\n`;
}

// ---- reading ------------------------------------------------------------------------------

const string = (value) => typeof value === "string" ? value : "";
// Times of Date, at most; counts are smaller.
const number = (value, most = 8.64e15) => Number.isFinite(value) && Math.abs(value) <= most ? value : 0;

function callOf(call) {
    const source = call?.function || call || {};
    return { id: string(call?.id) || newId(), name: string(source.name), arguments: string(source.arguments) };
}

function filesOf(files) {
    return (Array.isArray(files) ? files : []).map((file) => ({ name: string(file?.name) || "file", text: string(file?.text) }));
}

const listOf = (value) => Array.isArray(value) ? value : [];

// What the API calls content: a text, or a list of parts of which texts count.
const contentOf = (content) => typeof content === "string" ? content
    : listOf(content).map((part) => string(part?.text)).filter(Boolean).join("\n\n");

// A message with every member of its kind and of its type; null for other roles.
function messageOf(m, conversation, parent) {
    const base = { id: string(m.id) || newId(), conversation, parent, at: number(m.at), v: number(m.v, 1e9) || 1, role: m.role,
                   content: contentOf(m.content) };

    if (m.role === "user") return { ...base, files: filesOf(m.files) };
    if (m.role === "tool") return { ...base, callId: string(m.callId ?? m.tool_call_id) };
    if (m.role !== "assistant") return null;
    return { ...base, reasoning: string(m.reasoning ?? m.reasoning_content), calls: listOf(m.calls ?? m.tool_calls).map(callOf),
             finish: m.finish === undefined ? "stop" : string(m.finish), error: string(m.error), thinkMs: number(m.thinkMs),
             thinking: string(m.thinking) || undefined,
             stats: Object.fromEntries(["prompt", "cached", "generated", "firstMs", "speed"]
                 .filter((name) => number(m.stats?.[name])).map((name) => [name, m.stats[name]])) };
}

// Messages as a chain, unless they say their parents themselves.
function messagesOf(list, conversation, now) {
    const messages = [];

    for (const m of list) {
        if (!m || typeof m !== "object") throw new Error("A message in it is no object.");
        const parent = m.parent === undefined ? messages.at(-1)?.id ?? null : string(m.parent) || null;
        const message = messageOf({ at: now + messages.length, ...m }, conversation, parent);
        if (message) messages.push(message);
    }
    return messages;
}

function conversationOf(c) {
    const now = Date.now(), id = string(c.id) || newId();
    const list = listOf(c.messages), system = list.find((m) => m?.role === "system");
    const messages = messagesOf(list, id, now), byId = new Map(messages.map((m) => [m.id, m]));
    const leaf = byId.has(c.leaf) ? c.leaf : newestEnd(byId, null);
    const first = pathTo(byId, leaf).find((m) => m.role === "user")?.content.trim().split("\n")[0].slice(0, 64);

    if (!messages.length) return null;
    return { messages, draft: null,
             conversation: { id, title: string(c.title).slice(0, 200) || first || "New chat", named: c.named === true,
                             created: number(c.created) || now, updated: number(c.updated) || now,
                             system: typeof c.system === "string" ? c.system : contentOf(system?.content) || null, leaf, draft: "" } };
}

// Names that others gave may be another conversation's here.
function withoutIds({ id, leaf, messages, ...rest }) {
    return { ...rest, messages: listOf(messages).map((m) => m && typeof m === "object" ? { ...m, id: "", parent: undefined } : m) };
}

// The conversations of a file: [{ conversation, messages, draft }], as Library.restore() takes
// them. Takes our own files, and a list of messages or a request of the chat API. Throws with a
// sentence for the user.
export function fromJson(text) {
    let data;

    try {
        data = JSON.parse(text);
    } catch {
        throw new Error("This file is no JSON.");
    }
    if (data?.format === FORMAT && data.version > 1) throw new Error("This file was written by a newer page.");
    const list = Array.isArray(data?.conversations) ? data.conversations
        : Array.isArray(data?.messages) ? [data]
        : Array.isArray(data) && data[0]?.role ? [{ messages: data }] : [];
    const ours = data?.format === FORMAT;
    const all = list.filter((c) => c && typeof c === "object").map((c) => conversationOf(ours ? c : withoutIds(c))).filter(Boolean);
    if (!all.length) throw new Error("There are no conversations in this file.");
    return all;
}
