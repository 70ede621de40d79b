// view.js - messages as nodes. What a message holds is said in tree.js.

import { el, icon, iconButton, copyButton, bytes, count, seconds } from "./dom.js";
import { asText } from "./files.js";
import { highlight } from "./highlight.js";
import { renderMarkdown } from "./markdown.js";
import { canGoOn, isPiece } from "./tree.js";

// "2 / 3" with a step to both sides, where a message has several versions. versions: { list,
// at }; nothing for a single one.
function switcher({ list, at }, onVersion) {
    const step = (name, label, to) => {
        const button = iconButton(name, label, () => onVersion(list[to]));
        button.disabled = to < 0 || to >= list.length;
        return button;
    };
    return list.length > 1 && el("span.versions", { role: "group", "aria-label": "Versions" },
        step("left", "Earlier version", at - 1), el("span.at", null, `${at + 1} / ${list.length}`),
        step("chevron", "Later version", at + 1));
}

// ---- questions ----------------------------------------------------------------------------

function fileView({ name, text }) {
    return el("details.file", null,
        el("summary", null, icon("file"), el("bdi.name", null, name), el("span.size", null, bytes(text.length))),
        el("pre", { tabindex: "0", dir: "auto" }, text));
}

// A question, with a way to change it and ask again.
export class QuestionView {
    // on: { edit(message, text), version(message) }
    constructor(message, on) {
        this.message = message;
        this.on = on;
        this.versions = { list: [message], at: 0 };
        // A pasted file must not hide the answer.
        this.long = message.content.length > 1600 || message.content.split("\n").length > 24;
        this.folded = this.long;
        this.node = el("article.message.user", { "aria-label": "You" });
        this.show();
    }

    update(versions) {
        const same = versions.at === this.versions.at && versions.list.length === this.versions.list.length;
        this.versions = versions;
        if (!same && !this.node.querySelector(".editor")) this.show();
    }

    show() {
        const { message, folded } = this;

        this.node.replaceChildren(...[
            el("h2.out-of-sight", null, "You"),
            message.files?.length > 0 && el("div.files", null, message.files.map(fileView)),
            message.content && el(folded ? "div.bubble.folded" : "div.bubble", { dir: "auto" }, message.content),
            el("div.actions", null,
               this.long && el("button.fold", { type: "button", "aria-expanded": String(!folded), onclick: () => this.fold() },
                               folded ? "Show all" : "Show less"),
               iconButton("edit", "Change and ask again", () => this.edit()),
               copyButton("Copy", () => asText(message)),
               switcher(this.versions, this.on.version))].filter(Boolean));
    }

    fold() {
        this.folded = !this.folded;
        this.show();
        this.node.querySelector(".fold").focus();
    }

    edit() {
        const { message } = this;
        const area = el("textarea", { rows: Math.min(12, message.content.split("\n").length + 1), dir: "auto",
                                      value: message.content, "aria-label": "Your message" });
        const cancel = () => {
            this.show();
            this.node.querySelector("[aria-label='Change and ask again']").focus();
        };
        const send = () => {
            const text = area.value.trim();
            if (text || message.files?.length) this.on.edit(message, text);
        };
        area.addEventListener("keydown", (event) => {
            if (event.key === "Escape") {
                event.stopPropagation();
                cancel();
            } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                send();
            }
        });
        this.node.replaceChildren(el("div.editor", null, area, el("div.buttons", null,
            el("button.button", { type: "button", onclick: cancel }, "Cancel"),
            el("button.button.main", { type: "button", onclick: send }, "Ask again"))));
        area.focus();
        area.setSelectionRange(area.value.length, area.value.length);
    }
}

// ---- calls of tools -----------------------------------------------------------------------

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

// ---- answers ------------------------------------------------------------------------------

const FINISHES = {
    length: "The answer reached the limit of tokens.",
    stopped: "Stopped.",
    content_filter: "The server ended the answer.",
    loop: "The answer went round in circles and was ended.",
};

// How an answer ended, where that needs a word: { text, bad, again } with the word for asking
// again, where that is offered here; null for one that is simply complete.
function endingOf(m) {
    if (m.error) return { text: m.error, bad: true, again: "Try again" };
    if (isPiece(m)) return { text: "Interrupted.", again: "Answer again" };
    if (FINISHES[m.finish]) return { text: FINISHES[m.finish] };
    if (!m.content.trim() && !m.calls.length) return { text: "The answer is empty.", again: "Answer again" };
    return null;
}

// An answer, as it grows. update() looks at the message and changes what is different.
export class AnswerView {
    // on: { again(message), goOn(message), results(message, texts), version(message) }
    constructor(message, on) {
        this.message = message;
        this.on = on;
        this.word = el("span.word");
        this.glimpse = el("span.glimpse", { dir: "auto" });
        this.reasoning = el("div.reasoning", { dir: "auto" });
        this.thinking = el("details.thinking", { hidden: true },
            el("summary", null, icon("chevron"), this.word, this.glimpse), this.reasoning);
        this.answer = el("div.answer");
        this.calls = el("div.calls");
        this.waiting = el("div.waiting", { hidden: true }, el("i"), this.waitingText = el("span"));
        this.ending = el("div.ending", { hidden: true });
        this.numbers = el("span.numbers");
        this.versions = el("span");
        this.actions = el("div.actions", { hidden: true },
            copyButton("Copy the answer", () => message.content),
            iconButton("retry", "Answer again", () => on.again(message)), this.versions, this.numbers);
        this.node = el("article.message.assistant", { "aria-label": "Answer" },
            el("h2.out-of-sight", null, "Answer"), this.thinking, this.answer, this.calls, this.waiting, this.ending, this.actions);
        this.shown = {};
    }

    showThinking(writing) {
        const m = this.message, alive = writing && !m.content && !m.calls.length;

        this.thinking.hidden = !m.reasoning;
        if (!m.reasoning) return;
        this.thinking.classList.toggle("running", alive);
        this.word.textContent = alive ? "Thinking" : m.thinkMs ? `Thought for ${seconds(m.thinkMs)}` : "Thoughts";
        this.glimpse.textContent = alive ? m.reasoning.slice(-400).trimEnd().split("\n").pop().slice(-90) : "";
        if (this.shown.reasoning !== m.reasoning.length) this.reasoning.textContent = m.reasoning.trim();
        this.shown.reasoning = m.reasoning.length;
    }

    // `results`: the texts by call id, from the messages after this one.
    showCalls(writing, results, last) {
        const m = this.message, open = !writing && last && m.finish === "tool_calls";
        const key = JSON.stringify([m.calls, open, [...results]]);

        if (key === this.shown.calls) return;
        this.shown.calls = key;
        const nodes = m.calls.map((call) =>
            callView(call, results.get(call.id), open && !results.has(call.id)));
        this.calls.replaceChildren(...nodes);
        if (!open || !m.calls.length) return;
        this.calls.append(el("div.buttons", null, el("button.button.main", {
            type: "button",
            onclick: () => this.on.results(m, nodes.map((node) => node.ds4Area?.value ?? "")),
        }, m.calls.length > 1 ? "Send the results" : "Send the result")));
    }

    showEnding(shown, last) {
        const m = this.message, ending = shown ? endingOf(m) : null;
        const goesOn = ending && last && canGoOn(m), again = ending && last && ending.again;
        const key = JSON.stringify([ending, goesOn, again]);

        if (key === this.shown.ending) return;
        this.shown.ending = key;
        this.ending.hidden = !ending;
        this.ending.classList.toggle("bad", Boolean(ending?.bad));
        if (!ending) return this.ending.replaceChildren();
        return this.ending.replaceChildren(
            el(ending.bad ? "div.note.bad" : "div.note", { role: ending.bad ? "alert" : "note" }, ending.text),
            el("div.ways", null,
               goesOn && el("button.button", { type: "button", onclick: () => this.on.goOn(m) }, icon("play"), "Go on"),
               again && el("button.button", { type: "button", onclick: () => this.on.again(m) }, icon("retry"), again)));
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

    showVersions(versions) {
        const key = `${versions.at}/${versions.list.length}`;

        if (key === this.shown.versions) return;
        this.shown.versions = key;
        this.versions.replaceChildren(...[switcher(versions, this.on.version)].filter(Boolean));
    }

    // `writing`: the answer grows, here or in another tab; `waits`: a request was sent and no
    // word of it is here yet, perhaps of an answer in place of this one; `last`: nothing follows.
    update({ writing = false, waits = false, reading = null, results = new Map(), last = true, versions }) {
        const m = this.message;

        this.node.classList.toggle("streaming", writing);
        this.node.classList.toggle("last", last);
        this.node.setAttribute("aria-busy", String(writing));
        this.showWaiting(waits, reading);
        this.showThinking(writing);
        if (this.shown.content !== m.content) renderMarkdown(this.answer, m.content);
        this.shown.content = m.content;
        this.showCalls(writing, results, last);
        this.showEnding(!writing && !waits, last);
        if (versions) this.showVersions(versions);
        this.actions.hidden = writing || waits;
        if (!writing) this.showNumbers();
    }
}

// ---- an empty conversation ----------------------------------------------------------------

const IDEAS = [
    ["Explain an idea", "how a hash table grows without losing speed", "Explain how a hash table grows without losing speed, with a small example in C."],
    ["Write a program", "that finds duplicate files in a folder", "Write a short Python program that finds duplicate files in a folder by their contents."],
    ["Compare", "the sorting algorithms one meets in practice", "Compare quicksort, mergesort and timsort in a table: speed, memory, stability, where they are used."],
    ["Think it through", "a puzzle with two doors and two guards", "Two doors, two guards: one always lies, one always tells the truth. What single question finds the way out, and why?"],
];

export function helloView(modelName, onIdea) {
    return el("section.hello", null,
        el("div", null, el("img", { src: "assets/icon.svg", alt: "" })),
        el("h1", null, "What shall we work on?"),
        el("p", null, modelName ? `${modelName}, on this machine.` : "A model on this machine."),
        el("div.ideas", null, IDEAS.map(([title, text, prompt]) =>
            el("button.idea", { type: "button", onclick: () => onIdea(prompt) },
               el("b", null, title), el("span", null, text)))));
}
