// distill.mjs - makes a recording that can be kept of what record.mjs wrote: the structure of
// every request, none of the prose that the client's authors wrote. See README.md.
//
//   node distill.mjs CLIENT VERSION RAW SCRIPT >RECORDING

import { readFileSync } from "node:fs";

const [client, version, rawFile, scriptFile] = process.argv.slice(2);
const lines = (file) => readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const script = lines(scriptFile);
const exchanges = lines(rawFile);

// ---- ids ------------------------------------------------------------------------------------

// What the server gave names to: "{{id A.N}}" is the Nth of answer A.
const issued = new Map();

function collectIds(answer, index) {
    let n = 0;
    for (const [, id] of answer.matchAll(/"(?:id|call_id|signature)":"([^"]{8,})"/g)) {
        if (!issued.has(id)) issued.set(id, `{{id ${index}.${n++}}}`);
    }
}

// What the client gave names to, told by its looks: other names of the same length.
const made = new Map();
const LOOKS = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{16,}\b|(?<=\b[a-z]+_)[0-9A-Za-z]{12,}\b/g;

function rename(id) {
    if (!made.has(id)) {
        const digits = String(made.size + 1).padStart(id.replaceAll("-", "").length, "0");
        let i = 0;
        made.set(id, id.replace(/[^-]/g, () => digits[i++]));
    }
    return made.get(id);
}

function withoutIds(text) {
    for (const [id, name] of issued) text = text.replaceAll(id, name);
    return text.split(/(\{\{id [0-9.]+\}\})/).map((part, i) => (i % 2 ? part : part.replace(LOOKS, rename))).join("");
}

// ---- prose ----------------------------------------------------------------------------------

// Ours, and what the answers depend on.
const OURS = ["read notes.txt and tell where the key is", "the last note: the spare key is under the kettle",
              "second question", "third question", "Generate a title",
              ...script.flatMap(({ say }) => say.split(/<\/think>|\n/)).filter((text) => text.length > 4)];
const fillers = new Map();

// "{{N:LENGTH}}" is text of that length, another for each N.
function filler(text) {
    if (text.length < 3) return text.replace(/[^\s]/g, ".");
    if (!fillers.has(text)) fillers.set(text, `{{${fillers.size + 1}:${text.length}}}`);
    return fillers.get(text);
}

// White space around a line stays, and tags that it begins or ends with.
function line(text, tags) {
    if (text.startsWith("x-anthropic-billing-header:")) {
        return text.replace(/(cc_version=[0-9.]+\.)[^;]*/, "$1{{turn}}").replace(/cch=[^;]*/, "cch={{turn}}");
    }
    const ours = OURS.find((one) => text.includes(one));
    if (ours) {
        const at = text.indexOf(ours);
        return line(text.slice(0, at), tags) + ours + line(text.slice(at + ours.length), tags);
    }
    const tag = `(?:</?(?:${tags})>)?`;
    const [, before, middle, after] = new RegExp(`^(\\s*${tag}\\s*)(.*?)(\\s*${tag}\\s*)$`, "su").exec(text);
    return before + (middle ? filler(middle) : "") + after;
}

function prose(text) {
    const tags = [...text.matchAll(/<([a-z][\w-]*)>/g)].map((tag) => tag[1]).filter((name) => text.includes(`</${name}>`));
    return text.split("\n").map((one) => line(one, tags.join("|") || "-")).join("\n");
}

// Strings that are part of the form of a request, by their key; texts are all others.
const FORM = new Set(["type", "role", "name", "model", "id", "call_id", "tool_call_id", "tool_use_id", "signature", "status",
    "effort", "reasoning_effort", "tool_choice", "keep", "format", "object", "namespace", "required", "enum", "include",
    "pattern", "$schema", "phase", "arguments", "prompt_cache_key", "summary", "verbosity", "ttl"]);

function distill(value, key) {
    if (typeof value === "string") {
        if (/^\{.*\}$/s.test(value) && key !== "arguments") {
            try {
                return JSON.stringify(distill(JSON.parse(value), key));
            } catch {
                // not JSON
            }
        }
        if (FORM.has(key) || /^(true|false|null|[0-9.]*)$/.test(value)) return withoutIds(value);
        return withoutIds(value) === value || /\s/.test(value) ? prose(value) : withoutIds(value);
    }
    if (Array.isArray(value)) return value.map((item) => distill(item, key));
    if (value === null || typeof value !== "object") return typeof value === "number" && value > 1e9 ? 1700000000 : value;
    if (value.type === "tool_use") return JSON.parse(withoutIds(JSON.stringify(value)));
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, distill(item, name)]));
}

// ---- headers --------------------------------------------------------------------------------

function headers(raw) {
    const kept = {};
    for (let i = 0; i < raw.length; i += 2) {
        if (/^(host|connection|content-length)$/i.test(raw[i])) continue;
        if (/^user-agent$/i.test(raw[i])) kept[raw[i]] = raw[i + 1].split(" ")[0];
        else kept[raw[i]] = raw[i + 1].startsWith("{") ? distill(raw[i + 1], raw[i]) : withoutIds(raw[i + 1]);
    }
    return kept;
}

// ---- answers --------------------------------------------------------------------------------

// The order of events, repetitions taken together; the text; the calls. As replay_test.c.
const READERS = {
    chat(event, add, answer) {
        const choice = event.choices[0];
        if (!choice) return add("usage");
        const delta = choice.delta;
        if (delta.role) add("role");
        if (delta.reasoning_content) add("reasoning");
        if (delta.content) {
            add("content");
            answer.text += delta.content;
        }
        for (const call of delta.tool_calls ?? []) {
            add(call.id ? "call" : "arguments");
            if (call.id) answer.calls.push({ name: call.function.name, arguments: "" });
            answer.calls.at(-1).arguments += call.function.arguments ?? "";
        }
        if (choice.finish_reason) add(`finish:${choice.finish_reason}`);
    },
    messages(event, add, answer) {
        if (event.type === "ping") return;
        if (event.type === "content_block_start") {
            add(`start:${event.content_block.type}`);
            if (event.content_block.type === "tool_use") answer.calls.push({ name: event.content_block.name, arguments: "" });
        } else if (event.type === "content_block_delta") {
            add(event.delta.type);
            if (event.delta.type === "text_delta") answer.text += event.delta.text;
            if (event.delta.type === "input_json_delta") answer.calls.at(-1).arguments += event.delta.partial_json;
        } else {
            add(event.type === "message_delta" ? `finish:${event.delta.stop_reason}` : event.type);
        }
    },
    responses(event, add, answer) {
        const type = event.type.replace("response.", "");
        if (type === "output_item.added" && event.item.type === "function_call") {
            answer.calls.push({ name: event.item.name, arguments: "" });
        }
        if (type === "output_text.delta") answer.text += event.delta;
        if (type === "function_call_arguments.delta") answer.calls.at(-1).arguments += event.delta;
        add(event.item ? `${type.replace("output_item.", "")}:${event.item.type}` : type);
    },
};

function readAnswer(path, text) {
    const api = path.includes("/chat/") ? "chat" : path.includes("/messages") ? "messages" : "responses";
    const answer = { api, events: "", text: "", calls: [] };
    const events = [];
    const add = (name) => events.at(-1) === name || events.push(name);
    for (const data of text.split("\n").filter((one) => one.startsWith("data: "))) {
        if (data === "data: [DONE]") add("DONE");
        else READERS[api](JSON.parse(data.slice(6)), add, answer);
    }
    answer.events = events.join(" ");
    return answer;
}

// ---- one file -------------------------------------------------------------------------------

// What is there twice stands in a table: "{{#N}}" is its Nth value.
function share(steps) {
    const seen = new Map(), table = [], place = new Map();
    const count = (value) => {
        const text = JSON.stringify(value);
        if (text.length < 60) return;
        seen.set(text, (seen.get(text) ?? 0) + 1);
        if (seen.get(text) === 1 && typeof value === "object") Object.values(value).forEach(count);
    };
    const inner = (value) => {
        if (Array.isArray(value)) return value.map(replace);
        if (value === null || typeof value !== "object") return value;
        return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replace(item)]));
    };
    const replace = (value) => {
        const text = JSON.stringify(value);
        if (!(seen.get(text) > 1)) return inner(value);
        if (!place.has(text)) {
            const kept = inner(value);
            place.set(text, `{{#${table.push(kept) - 1}}}`);
        }
        return place.get(text);
    };
    const parts = steps.filter((step) => step.body).flatMap((step) => [step.body, step.headers]);
    parts.forEach(count);
    for (const step of steps) {
        if (step.body) step.body = inner(step.body);
        if (step.headers) step.headers = replace(step.headers);
    }
    return table;
}

const steps = [];
for (const one of exchanges) {
    if (one.mark === "restart") steps.push({ restart: true });
    if (one.mark || one.headers.includes("curl/7.88.1")) continue;
    const step = { method: one.method, path: one.path, headers: headers(one.headers), status: one.status };
    if (one.body) {
        step.body = distill(JSON.parse(one.body));
        step.answer = readAnswer(one.path, one.answer);
    }
    steps.push(step);
    collectIds(one.answer, steps.length - 1);
}
const table = share(steps);
const list = (items) => `[\n${items.map((item) => JSON.stringify(item)).join(",\n")}\n]`;
process.stdout.write(`{"client":${JSON.stringify(client)},"version":${JSON.stringify(version)},\n"script":${list(script)},\n` +
                     `"table":${list(table)},\n"steps":${list(steps)}}\n`);
