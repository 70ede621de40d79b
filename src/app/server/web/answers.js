// answers.js - the answers that this tab asks for: what a request says, what its stream adds to
// a message, how it ends. Answers run on when another conversation is opened; a conversation
// has at most one.

import { asText } from "./files.js";
import { parseTools } from "./settings.js";
import { complete, getJson } from "./stream.js";
import { isPiece, newAnswer, newMessage, pathTo, resultsIn } from "./tree.js";

const KEEP_MS = 1000;           // how much of a running answer a crash may cost

// ---- what a request says ------------------------------------------------------------------

function apiMessage(m) {
    if (m.role === "user") return { role: "user", content: asText(m) };
    if (m.role === "tool") return { role: "tool", tool_call_id: m.callId, content: m.content };
    if (!m.content && !m.reasoning && !m.calls.length) return null;
    const message = { role: "assistant", content: m.content };
    if (m.reasoning) message.reasoning_content = m.reasoning;
    if (m.calls.length) {
        message.tool_calls = m.calls.map((call) => ({
            id: call.id, type: "function", function: { name: call.name, arguments: call.arguments },
        }));
    }
    return message;
}

function apiMessages(conversation, path, settings) {
    const system = conversation.system ?? settings.system;
    const messages = path.map(apiMessage).filter(Boolean);

    if (system.trim()) messages.unshift({ role: "system", content: system });
    return messages;
}

// Throws with a sentence when the tools of the settings are no list.
function apiRequest(messages, thinking, settings, modelId) {
    const body = { model: modelId, messages, stream: true, stream_options: { include_usage: true },
                   thinking: { type: thinking === "off" ? "disabled" : "enabled" } };

    if (thinking === "max") body.reasoning_effort = "max";
    for (const name of ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"]) {
        if (settings[name] !== "") body[name] = Number(settings[name]);
    }
    const tools = parseTools(settings.tools);
    if (tools.length) body.tools = tools;
    return body;
}

// ---- what a stream adds -------------------------------------------------------------------

function addCalls(calls, deltas) {
    for (const delta of deltas) {
        const call = calls[delta.index ?? calls.length] ??= { id: "", name: "", arguments: "" };
        if (delta.id) call.id = delta.id;
        call.name += delta.function?.name || "";
        call.arguments += delta.function?.arguments || "";
    }
}

// An answer that repeated itself has the reason "length", and the server says more beside it.
function finishOf(choice) {
    return choice.finish_reason === "length" && choice.stop_reason === "loop" ? "loop" : choice.finish_reason;
}

function addUsage(run, usage) {
    const { stats } = run.message;

    if (!run.before.prompt) {
        stats.prompt = usage.prompt_tokens;
        stats.cached = usage.prompt_tokens_details?.cached_tokens || 0;
    }
    stats.generated = (run.before.generated || 0) + usage.completion_tokens;
    run.generated = usage.completion_tokens;
}

// ---- answers in progress ------------------------------------------------------------------

export class Answers {
    // on: { began(run), grew(run), ended(run), renewKey(), modelId(), wrongTools(error) }
    constructor(library, settings, on) {
        this.library = library;
        this.settings = settings;
        this.on = on;
        this.runs = new Map();                  // by conversation id
    }

    of(conversation) {
        return this.runs.get(conversation.id);
    }

    isWriting(message) {
        return [...this.runs.values()].some((run) => run.message === message);
    }

    // For other tabs.
    writing() {
        return [...this.runs.values()].map((run) => ({ message: run.message.id, conversation: run.conversation.id }));
    }

    stop(conversation) {
        this.of(conversation)?.controller.abort();
    }

    // Stops an answer and waits until it is kept.
    async settle(conversation) {
        this.stop(conversation);
        await this.of(conversation)?.over;
    }

    // Keeps what there is, when the page goes.
    keepAll() {
        for (const run of this.runs.values()) {
            this.library.keep(run.conversation, {}, [run.message], { ended: [run.message.id] });
        }
    }

    // Asks for an answer; `message` is a new one, with what it answers as its parent.
    async answer(conversation, message) {
        await this.run({ conversation, message, adopted: false, instead: null });
    }

    // Asks again. The earlier answer stays as a branch. A piece stays on the screen until the
    // first word of the new answer; an answer without any word is taken for the new one.
    async again(conversation, old) {
        await this.settle(conversation);
        if (!old.content && !old.reasoning && !old.calls.length) {
            Object.assign(old, { error: "", finish: "", thinkMs: 0, stats: {}, thinking: this.settings.thinking });
            await this.run({ conversation, message: old, adopted: true, instead: null });
            return;
        }
        const message = newAnswer(conversation, old.parent, this.settings.thinking);
        const instead = old.error || isPiece(old) ? old : null;
        await this.run({ conversation, message, adopted: false, instead });
    }

    // Goes on with the words that are there.
    async goOn(conversation, message) {
        Object.assign(message, { error: "", finish: "" });
        await this.run({ conversation, message, adopted: true, instead: null, goesOn: true });
    }

    requestOf({ conversation, message, goesOn }) {
        const path = pathTo(conversation.messages, goesOn ? message.id : message.parent);
        const messages = apiMessages(conversation, path, this.settings);
        const thinking = goesOn ? message.thinking ?? this.settings.thinking : message.thinking;

        if (goesOn) messages.at(-1).prefix = true;
        try {
            return apiRequest(messages, thinking, this.settings, this.on.modelId());
        } catch (error) {
            this.on.wrongTools(error);
            return apiRequest(messages, thinking, { ...this.settings, tools: "" }, this.on.modelId());
        }
    }

    async run(fields) {
        const run = { ...fields, controller: new AbortController(), started: performance.now(), chunks: 0,
                      firstAt: 0, lastAt: 0, keptAt: performance.now(), generated: 0,
                      before: { ...fields.message.stats } };
        const body = this.requestOf(run);

        this.runs.set(run.conversation.id, run);
        run.over = this.ask(run, body);
        run.clock = setInterval(() => this.tick(run), 700);
        if (run.adopted || !run.instead) this.adopt(run);
        this.on.began(run);
        await run.over;
    }

    // From here on the message is part of what is shown.
    adopt(run) {
        run.adopted = true;
        run.instead = null;
        run.kept = this.library.keep(run.conversation, { leaf: run.message.id, updated: Date.now() }, [run.message]);
    }

    async ask(run, body) {
        const m = run.message;

        for (let asked = false;;) {
            try {
                await complete(body, { key: this.settings.key, signal: run.controller.signal,
                                       heard: (chunk) => this.hear(run, chunk) });
            } catch (error) {
                if (error.name === "AbortError") m.finish = "stopped";
                else if (error.status === 401 && !asked && await this.on.renewKey()) {
                    asked = true;
                    continue;
                } else {
                    m.error = error.message;
                    if (error.retryAfter) m.error += ` It asks to wait ${error.retryAfter} s.`;
                }
            }
            break;
        }
        this.finish(run);
    }

    hear(run, chunk) {
        const m = run.message, choice = chunk.choices?.[0], delta = choice?.delta || {};
        const thought = delta.reasoning_content || delta.reasoning || "", now = performance.now();

        if (thought || delta.content || delta.tool_calls) {
            run.chunks++;
            if (!run.firstAt) {
                run.firstAt = now;
                m.stats.firstMs ??= now - run.started;
                if (!run.adopted) {
                    this.adopt(run);
                    this.on.began(run);
                }
            }
            run.lastAt = now;
        }
        if (thought) m.reasoning += thought;
        if (delta.content) m.content += delta.content;
        if (delta.tool_calls) addCalls(m.calls, delta.tool_calls);
        if (m.reasoning && !m.thinkMs && (delta.content || delta.tool_calls)) m.thinkMs = now - run.firstAt;
        if (choice?.finish_reason) m.finish = finishOf(choice);
        if (chunk.usage) addUsage(run, chunk.usage);
        if (run.adopted && now - run.keptAt > KEEP_MS) {
            run.keptAt = now;
            this.library.keep(run.conversation, {}, [m]);
        }
        this.on.grew(run);
    }

    // Once a second while an answer waits: how much of a long prompt is read. The server says
    // that for each of its sessions, so it is ours only if it is the only one.
    async tick(run) {
        this.on.grew(run);
        if (run.firstAt || run.asking || performance.now() - run.started < 1500) return;
        run.asking = true;
        try {
            const { slots } = await getJson("v1/ds4/stats", this.settings.key);
            const reading = slots.filter((slot) => slot.state === "prefill");
            run.reading = reading.length === 1 ? { done: reading[0].pos, of: reading[0].prompt } : null;
            run.asking = false;
        } catch { /* it stays at the clock */ }
    }

    finish(run) {
        const m = run.message, { conversation } = run;

        clearInterval(run.clock);
        if (this.runs.get(conversation.id) === run) this.runs.delete(conversation.id);
        if (run.adopted) {
            m.stats.generated ||= (run.before.generated || 0) + run.chunks;
            // Shorter than that, it is the network's speed.
            if (run.chunks > 1 && run.lastAt - run.firstAt > 200) {
                m.stats.speed = ((run.generated || run.chunks) - 1) * 1000 / (run.lastAt - run.firstAt);
            }
            if (m.reasoning && !m.thinkMs && run.firstAt) m.thinkMs = run.lastAt - run.firstAt;
            m.calls = m.calls.filter(Boolean);
        } else if (run.instead && m.error) {
            run.instead.error = m.error;                // nothing came: the piece stays what is shown
        }
        const written = run.adopted ? m : run.instead;
        // It may have been deleted meanwhile.
        if (conversation.stored) {
            this.library.keep(conversation, { updated: Date.now() }, written ? [written] : [], { ended: [m.id] });
        }
        this.on.ended(run);
    }
}

// Calls that nobody answered get an empty answer, since the model expects one for each. The
// new messages; the last of them, or `leaf`, is what a question follows.
export function closeCalls(conversation) {
    const path = pathTo(conversation.messages, conversation.leaf), results = resultsIn(path);
    const last = path.findLast((m) => m.role === "assistant");
    const texts = (last?.calls || []).filter((call) => !results.has(call.id))
        .map((call) => [call.id, "(no result: the user went on)"]);

    return resultMessages(conversation, conversation.leaf, texts);
}

// Results of tools, each after the one before it. texts: [[call id, text]].
export function resultMessages(conversation, parent, texts) {
    return texts.map(([callId, content]) => {
        const message = newMessage(conversation, parent, { role: "tool", callId, content });
        parent = message.id;
        return message;
    });
}
