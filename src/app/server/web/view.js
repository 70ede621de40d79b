// view.js - messages as nodes. What a message holds is said in chat.js.

import { el, icon, iconButton, copyButton, count, seconds } from "./dom.js";
import { highlight } from "./highlight.js";
import { renderMarkdown } from "./markdown.js";

// A message of the user, with a way to change it and ask again.
export function userView(message, { onEdit }) {
    const node = el("article.message.user", { "aria-label": "You" });

    // A pasted file must not hide the answer.
    const long = message.content.length > 1600 || message.content.split("\n").length > 24;
    let   folded = long;

    const show = () => node.replaceChildren(
        el(folded ? "div.bubble.folded" : "div.bubble", null, message.content),
        el("div.actions", null,
           long && el("button.fold", { type: "button", "aria-expanded": String(!folded), onclick: fold },
                      folded ? "Show all" : "Show less"),
           iconButton("edit", "Change and ask again", edit),
           copyButton("Copy", () => message.content)));
    const fold = () => {
        folded = !folded;
        show();
        node.querySelector(".fold").focus();
    };
    const edit = () => {
        const area = el("textarea", { rows: Math.min(12, message.content.split("\n").length + 1),
                                      value: message.content, "aria-label": "Your message" });
        const send = () => {
            const text = area.value.trim();
            if (text) onEdit(message, text);
        };
        area.addEventListener("keydown", (event) => {
            if (event.key === "Escape") {
                event.stopPropagation();
                show();
                node.querySelector("button").focus();
            } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                send();
            }
        });
        node.replaceChildren(el("div.editor", null, area, el("div.buttons", null,
            el("button.button", { type: "button", onclick: show }, "Cancel"),
            el("button.button.main", { type: "button", onclick: send }, "Ask again"))));
        area.focus();
        area.setSelectionRange(area.value.length, area.value.length);
    };
    show();
    return node;
}

function pretty(text) {
    try {
        return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        return text;
    }
}

// One tool call: its name, its arguments, and the result or a field for it.
function callView(call, result, open) {
    const state = result !== undefined ? "answered" : open ? "waits for its result" : "not answered";
    const node = el("div.call", { role: "group", "aria-label": `Call of ${call.name}` },
        el("div.call-head", null, icon("tool"), el("code", null, call.name || "…"),
           el("span.state", null, state)),
        el("pre", { tabindex: "0" }, highlight(pretty(call.arguments || ""), "json")));

    if (result !== undefined) node.append(el("pre.result", { tabindex: "0" }, result || "(empty)"));
    if (open) {
        const area = el("textarea", { rows: 2, spellcheck: "false" });
        node.append(el("label", null, `Result of ${call.name}`, area));
        node.ds4Area = area;
    }
    return node;
}

const FINISHES = {
    length: "The answer reached the limit of tokens.",
    stopped: "Stopped.",
    content_filter: "The server ended the answer.",
    loop: "The answer went round in circles and was ended.",
};

// An answer, as it grows. update() looks at the message and changes what is different.
export class AnswerView {
    constructor(message, { onRetry, onResults }) {
        this.message = message;
        this.onRetry = onRetry;
        this.onResults = onResults;
        this.word = el("span.word");
        this.glimpse = el("span.glimpse");
        this.reasoning = el("div.reasoning");
        this.thinking = el("details.thinking", { hidden: true },
            el("summary", null, icon("chevron"), this.word, this.glimpse), this.reasoning);
        this.waiting = el("div.waiting", { hidden: true }, el("i"), this.waitingText = el("span"));
        this.answer = el("div.answer");
        this.calls = el("div.calls");
        this.note = el("div");
        this.numbers = el("span.numbers");
        this.actions = el("div.actions", { hidden: true },
            copyButton("Copy the answer", () => message.content),
            iconButton("retry", "Answer again", () => onRetry(message)), this.numbers);
        this.node = el("article.message.assistant", { "aria-label": "Answer" },
            this.thinking, this.waiting, this.answer, this.calls, this.note, this.actions);
        this.shown = {};
    }

    showThinking(running) {
        const m = this.message, alive = running && !m.content && !m.calls.length;

        this.thinking.hidden = !m.reasoning;
        if (!m.reasoning) return;
        this.thinking.classList.toggle("running", alive);
        this.word.textContent = alive ? "Thinking" : m.thinkMs ? `Thought for ${seconds(m.thinkMs)}` : "Thoughts";
        this.glimpse.textContent = alive ? m.reasoning.slice(-400).trimEnd().split("\n").pop().slice(-90) : "";
        if (this.shown.reasoning !== m.reasoning.length) this.reasoning.textContent = m.reasoning.trim();
        this.shown.reasoning = m.reasoning.length;
    }

    // `results`: the texts by call id, from the messages after this one.
    showCalls(running, results, last) {
        const m = this.message, open = !running && last && m.finish === "tool_calls";
        const key = JSON.stringify([m.calls, open, [...results]]);

        if (key === this.shown.calls) return;
        this.shown.calls = key;
        const nodes = m.calls.map((call) =>
            callView(call, results.get(call.id), open && !results.has(call.id)));
        this.calls.replaceChildren(...nodes);
        if (!open || !m.calls.length) return;
        this.calls.append(el("div.buttons", null, el("button.button.main", {
            type: "button",
            onclick: () => this.onResults(m, nodes.map((node) => node.ds4Area?.value ?? "")),
        }, m.calls.length > 1 ? "Send the results" : "Send the result")));
    }

    showNote(running) {
        const m = this.message;
        const text = m.error || (!running && FINISHES[m.finish]) || "";

        if (text === this.shown.note) return;
        this.shown.note = text;
        this.note.className = text ? (m.error ? "note bad" : "note") : "";
        this.note.setAttribute("role", m.error ? "alert" : "note");
        this.note.replaceChildren(text);
        if (m.error) {
            this.note.append(el("button.button", { type: "button", onclick: () => this.onRetry(m) },
                                icon("retry"), "Try again"));
        }
    }

    showNumbers() {
        const s = this.message.stats, parts = [];

        if (s?.generated) parts.push(s.generated === 1 ? "1 token" : `${count(s.generated)} tokens`);
        if (s?.speed) parts.push(`${s.speed < 10 ? s.speed.toFixed(1) : Math.round(s.speed)} tokens/s`);
        if (s?.firstMs) parts.push(`first after ${seconds(s.firstMs)}`);
        this.numbers.textContent = parts.join(" · ");
        this.numbers.title = s?.prompt
            ? `Prompt: ${count(s.prompt)} tokens, ${count(s.cached || 0)} of them from the cache` : "";
    }

    // `reading`: { done, of } tokens of the prompt, where that is known.
    showWaiting(waits, reading) {
        this.waiting.hidden = !waits;
        this.waitingText.textContent = !waits ? "" : reading
            ? `Reading, ${count(reading.done)} of ${count(reading.of)} tokens` : "Reading";
    }

    update(running, results = new Map(), last = true) {
        const m = this.message;
        const waits = running && !m.content && !m.reasoning && !m.calls.length;

        this.node.classList.toggle("streaming", running);
        this.node.classList.toggle("last", last);
        this.node.setAttribute("aria-busy", String(running));
        this.showWaiting(waits, null);
        this.showThinking(running);
        if (this.shown.content !== m.content) renderMarkdown(this.answer, m.content);
        this.shown.content = m.content;
        this.showCalls(running, results, last);
        this.showNote(running);
        this.actions.hidden = running;
        if (!running) this.showNumbers();
    }
}

const IDEAS = [
    ["Explain an idea", "how a hash table grows without losing speed", "Explain how a hash table grows without losing speed, with a small example in C."],
    ["Write a program", "that finds duplicate files in a folder", "Write a short Python program that finds duplicate files in a folder by their contents."],
    ["Compare", "the sorting algorithms one meets in practice", "Compare quicksort, mergesort and timsort in a table: speed, memory, stability, where they are used."],
    ["Think it through", "a puzzle with two doors and two guards", "Two doors, two guards: one always lies, one always tells the truth. What single question finds the way out, and why?"],
];

export function helloView(modelName, onIdea) {
    return el("section.hello", null,
        el("div", null, el("img", { src: "assets/icon.svg", alt: "" })),
        el("h2", null, "What shall we work on?"),
        el("p", null, modelName ? `${modelName}, on this machine.` : "A model on this machine."),
        el("div.ideas", null, IDEAS.map(([title, text, prompt]) =>
            el("button.idea", { type: "button", onclick: () => onIdea(prompt) },
               el("b", null, title), el("span", null, text)))));
}
