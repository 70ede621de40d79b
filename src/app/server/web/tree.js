// tree.js - the messages of a conversation as a tree: an answer that was asked for again and a
// question that was changed are branches, and nothing is ever replaced.
//
// A message, as it is stored:
//   id, conversation, parent    parent: the id of the message before it, null for the first
//   at, v                       when it began (ms); how often it was written
//   role: "user"                content, files: [{ name, text }]
//   role: "assistant"           content, reasoning, calls: [{ id, name, arguments }], finish, error,
//                               thinkMs, thinking (as it was asked for),
//                               stats: { prompt, cached, generated, firstMs, speed }
//   role: "tool"                callId, content

import { newId } from "./store.js";

export function newMessage(conversation, parent, fields) {
    return { id: newId(), conversation: conversation.id, parent, at: Date.now(), v: 0, ...fields };
}

export const newAnswer = (conversation, parent, thinking) => newMessage(conversation, parent, {
    role: "assistant", content: "", reasoning: "", calls: [], finish: "", error: "", thinkMs: 0, thinking, stats: {},
});

const byTime = (a, b) => a.at - b.at || (a.id < b.id ? -1 : 1);

// The messages from the first to the one with the id `leaf`. A message whose parent is gone
// begins the path; a circle, which only a damaged file can hold, is cut.
export function pathTo(messages, leaf) {
    const path = [], seen = new Set();

    for (let m = messages.get(leaf); m && !seen.has(m.id); m = messages.get(m.parent)) {
        seen.add(m.id);
        path.push(m);
    }
    return path.reverse();
}

// The versions of a message, oldest first: what else follows its parent in the same role.
export function versionsOf(messages, message) {
    return [...messages.values()].filter((m) => m.parent === message.parent && m.role === message.role).sort(byTime);
}

// The end of the newest branch that goes through a message; of all of them for null.
export function newestEnd(messages, id) {
    const newest = new Map(), seen = new Set();

    for (const m of [...messages.values()].sort(byTime)) newest.set(m.parent, m.id);
    while (newest.has(id) && !seen.has(id)) {
        seen.add(id);
        id = newest.get(id);
    }
    return id;
}

// Texts of tools by the id of their call.
export function resultsIn(path) {
    return new Map(path.filter((m) => m.role === "tool").map((m) => [m.callId, m.content]));
}

// An answer that nobody writes any more and that did not end.
export const isPiece = (m) => m.role === "assistant" && !m.finish && !m.error;
// Whether the server can go on with an answer's words.
export const canGoOn = (m) => m.calls.length === 0 && Boolean(m.content || m.reasoning) &&
    (Boolean(m.error) || ["", "stopped", "length"].includes(m.finish));
