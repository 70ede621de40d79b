// mock.mjs - a server that answers as ds4-server does, from a script: for tests of the pages.
//
//   node mock.mjs [PORT]
//
// The last user message says what comes: "long", "tool", "hostile", "fail", "busy", "cut",
// "length", "loop", "empty", "slow", anything else gets the sample answer; a last message of the
// assistant with "prefix" is gone on with. KEY=... in the environment asks for that key.

import { createServer } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDERS = ["../../src/app/server/web/", "../../build/web/files/"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
const HEADER = fileURLToPath(new URL("../../src/app/server/web_assets.h", import.meta.url));
const TYPES = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8",
                js: "text/javascript; charset=utf-8", svg: "image/svg+xml", woff2: "font/woff2" };

// The policy as the program has it, so that the tests see what it forbids.
function policy() {
    const text = readFileSync(HEADER, "utf8").match(/#define DS4_WEB_CSP ((?:[^\n]*\\\n)*[^\n]*)/)[1];
    return [...text.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join("");
}

function assets() {
    const table = new Map();
    for (const folder of FOLDERS) {
        for (const name of readdirSync(folder)) {
            const type = TYPES[name.split(".").pop()];
            const path = name === "chat.html" ? "/" : name.endsWith(".html") ? `/${name.slice(0, -5)}` : `/assets/${name}`;
            if (type) table.set(path, { type, bytes: readFileSync(folder + name) });
        }
    }
    return table;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const SAMPLE = readFileSync(new URL("./sample.md", import.meta.url), "utf8");
const THOUGHT = "The user wants to know how it works.\nFirst the idea, then a table, then code that can be run. " +
    "I should keep it short and give one example in C, since that shows the memory.\n\nLet me also mention the cost.";
const HOSTILE = [
    "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=2</script>",
    "[click](javascript:window.hacked=3) [data](data:text/html,x) ![pic](https://example.invalid/x.png)",
    "```html\n</code></pre><script>window.hacked=4</script>\n```",
    "| a<b> | <svg onload=window.hacked=5> |\n|---|---|\n| `<i>` | **<b>** |",
    "</article><style>body{display:none}</style>", "> ".repeat(60) + "deep", "*".repeat(300) + "[".repeat(300),
].join("\n\n");

export class Mock {
    constructor({ key = "", delay = 4, plain = false } = {}) {
        this.key = key;
        this.delay = delay;             // ms between tokens
        this.requests = [];             // bodies of the chat requests
        this.cancelled = 0;
        this.asked = 0;                 // for /metrics
        this.whole = false;             // "cut" is cut no more
        this.broken = false;            // the page's program cannot be had
        this.plain = plain;             // the page's libraries are empty modules
        this.started = Date.now();
        this.tokens = { prompt: 41200, cached: 30100, prefilled: 11100, generated: 5230 };
    }

    async listen(port = 0) {
        this.table = assets();
        this.csp = policy();
        this.server = createServer((request, response) => this.serve(request, response));
        await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
        this.url = `http://127.0.0.1:${this.server.address().port}/`;
        return this;
    }

    close() {
        this.server.closeAllConnections();
        return new Promise((resolve) => this.server.close(resolve));
    }

    async serve(request, response) {
        const path = request.url.split("?")[0];
        const asset = this.table.get(path);

        if (asset && this.broken && path === "/assets/chat.js") {
            this.json(response, 403, { error: { message: "no" } });
        } else if (asset) {
            const bytes = this.plain && /\/(markdown-it|footnote|temml)\.js$/.test(path) ? "export default null;\n" : asset.bytes;
            response.writeHead(200, { "Content-Type": asset.type, "Content-Security-Policy": this.csp,
                                      "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache" });
            response.end(bytes);
        } else if (this.key && request.headers.authorization !== `Bearer ${this.key}`) {
            this.json(response, 401, { error: { message: "wrong or missing API key", type: "authentication_error" } });
        } else if (path === "/v1/models") {
            this.json(response, 200, { object: "list", data: [{ id: "deepseek-v4-flash", name: "DeepSeek V4 Flash",
                                                                context_length: 32768 }] });
        } else if (path === "/v1/ds4/stats") {
            this.json(response, 200, this.stats());
        } else if (path === "/metrics") {
            response.writeHead(200, { "Content-Type": "text/plain" });
            response.end(this.metrics());
        } else if (path === "/v1/chat/completions") {
            let body = "";
            for await (const part of request) body += part;
            await this.chat(JSON.parse(body), request, response);
        } else {
            this.json(response, 404, { error: { message: `no such path: ${path}` } });
        }
    }

    json(response, status, body, headers = {}) {
        response.writeHead(status, { "Content-Type": "application/json", ...headers });
        response.end(JSON.stringify(body));
    }

    async chat(body, request, response) {
        const asked = body.messages.findLast((m) => m.role === "user")?.content || "";
        const answered = body.messages.at(-1).role === "tool";

        this.requests.push(body);
        if (asked.includes("busy")) {
            this.json(response, 429, { error: { message: "The queue is full." } }, { "Retry-After": "7" });
            return;
        }
        if (asked.includes("fail")) {
            this.json(response, 400, { error: { message: "This model's maximum context length is 32768 tokens." } });
            return;
        }
        response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        const live = { open: true, n: 0, cut: asked.includes("cut") && !this.whole };
        response.on("close", () => {
            if (!response.writableEnded) this.cancelled++;
            live.open = false;
        });
        const send = (delta, finish = null, more = {}) => response.write(`data: ${JSON.stringify({
            id: "chatcmpl-1", object: "chat.completion.chunk", model: body.model,
            choices: [{ index: 0, delta, finish_reason: finish, ...more }] })}\n\n`);
        send({ role: "assistant" });
        response.write(": keep-alive\n\n");
        await sleep(asked.includes("slow") ? 4000 : 60);
        const finish = await this.say(asked, answered, body, send, live);
        if (!live.open) return;
        if (live.cut) {
            response.destroy();
            return;
        }
        send({}, finish, asked.includes("loop") ? { stop_reason: "loop" } : {});
        const prompt = JSON.stringify(body.messages).length >> 2;
        response.write(`data: ${JSON.stringify({ choices: [], usage: {
            prompt_tokens: prompt, completion_tokens: live.n, total_tokens: prompt + live.n,
            prompt_tokens_details: { cached_tokens: prompt >> 1 } } })}\n\n`);
        response.end("data: [DONE]\n\n");
    }

    async stream(field, text, send, live) {
        for (const piece of text.match(/\s*[^\s]{1,7}|\s+$/g) || []) {
            if (!live.open || (live.cut && live.n > 12)) return;
            send({ [field]: piece });
            live.n++;
            this.tokens.generated++;
            await sleep(this.delay);
        }
    }

    async say(asked, answered, body, send, live) {
        const goesOn = body.messages.at(-1).prefix === true;

        if (body.thinking?.type !== "disabled" && !(goesOn && body.messages.at(-1).content)) await this.stream("reasoning_content", THOUGHT, send, live);
        if (asked.includes("tool") && !answered && body.tools) {
            await this.stream("content", "Let me look that up.", send, live);
            const name = body.tools[0].function.name;
            send({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name, arguments: "" } }] });
            for (const piece of ["{", "\"place\":", " \"Bergen\"", ", \"days\": 3", "}"]) {
                send({ tool_calls: [{ index: 0, function: { arguments: piece } }] });
                live.n++;
                await sleep(this.delay);
            }
            return "tool_calls";
        }
        let text = SAMPLE;
        if (goesOn) text = " and this goes on.";
        else        if (answered) text = `The tool says: **${body.messages.at(-1).content}**.`;
        else if (asked.includes("hostile")) text = HOSTILE;
        else if (asked.includes("empty")) text = "";
        else if (asked.includes("echo")) text = asked.slice(asked.indexOf("echo") + 5);
        else if (asked.includes("long")) text = Array.from({ length: 400 }, (_, i) => `Paragraph ${i + 1} of a long text.`).join("\n\n");
        await this.stream("content", text, send, live);
        return /length|loop/.test(asked) && !goesOn ? "length" : "stop";
    }

    // 100 requests whose first token came within 0.1 s for 40, 0.5 s for 90, 2 s for all; then ten
    // more with every question, all within 0.1 s.
    metrics() {
        const more = 10 * this.asked++, line = (le, n) => `ds4_time_to_first_token_seconds_bucket{le="${le}"} ${n}`;
        return [`# TYPE ds4_time_to_first_token_seconds histogram`, line("0.1", 40 + more), line("0.5", 90 + more), line("2", 100 + more),
                line("+Inf", 100 + more), `ds4_time_to_first_token_seconds_count ${100 + more}`, ""].join("\n");
    }

    // Numbers that move as those of a busy server do.
    stats() {
        const t = (Date.now() - this.started) / 1000;
        const wave = (low, high, period, shift = 0) => low + (high - low) * (0.5 + 0.5 * Math.sin(t / period + shift));
        this.tokens.prefilled += Math.round(wave(0, 90, 3));
        this.tokens.prompt += Math.round(wave(0, 260, 3));
        this.tokens.cached += Math.round(wave(0, 170, 3));
        this.tokens.generated += Math.round(wave(4, 22, 5));
        const pos = 9000 + Math.round(t * 11) % 4000;
        return {
            version: "0.1.0", uptime_s: 93780 + t,
            model: { id: "deepseek-v4-flash", name: "DeepSeek V4 Flash", context: 32768, file_bytes: 86720000000,
                     backend: "cpu", threads: 16 },
            sessions: { max: 4, held: 3, prefill: 1, decode: Math.round(wave(1, 2, 7)), queued: Math.round(wave(0, 1, 9)) },
            tokens: this.tokens, requests: { total: 814, failed: 2, cancelled: 31, rejected: 4 },
            speed: { prefill_tps: wave(20, 88, 4), decode_tps: wave(7.5, 13.8, 6) },
            memory: { kv_bytes: wave(64e6, 98e6, 20), kv_max_bytes: 460e6, process_bytes: 90.1e9, machine_bytes: 137e9 },
            disk: { bytes: 2.31e9, max_bytes: 8e9, entries: 64, hits: 122, misses: 17 },
            slots: [
                { id: 0, state: "decode", pos, context: 32768, prompt: 8800, generated: pos - 8800, cached: 8100 },
                { id: 1, state: "prefill", pos: 2048 + Math.round(t * 60) % 9000, context: 32768, prompt: 12400, generated: 0, cached: 1024 },
                { id: 2, state: "idle", pos: 30100, context: 32768, prompt: 29000, generated: 1100, cached: 28000 },
                { id: 3, state: "idle", pos: 0, context: 32768, prompt: 0, generated: 0, cached: 0 },
            ],
        };
    }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const mock = await new Mock({ key: process.env.KEY || "", delay: 20 }).listen(Number(process.argv[2]) || 8123);
    console.log(mock.url);
}
