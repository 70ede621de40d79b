// live.mjs - both pages against the real server with the bundled model.
//
// What such a small model answers is its own affair; that it arrives, that it can be stopped,
// that the numbers are right and that nothing is blocked by the page's policy is looked at.
// What is said in the step with a tool is prescribed.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

const tree = fileURLToPath(new URL("../../", import.meta.url));
const program = resolve(tree, process.env.OUT || "build", "ds4-server");
const scripted = `${program}-scripted`;
const model = resolve(tree, "models/ds4-mini.gguf");

// A step that fails must not leave its server behind.
const running = new Set();
const folder = mkdtempSync(join(tmpdir(), "ds4-live-"));
process.on("exit", () => {
    for (const server of running) server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
});

// Starts it on a free port; resolves to its address.
const serve = (...more) => start(program, ...more);
async function start(what, ...more) {
    const server = spawn(what, ["-m", model, "--port", "0", "--ctx", "65536", ...more], { stdio: ["ignore", "ignore", "pipe"] });
    const url = await new Promise((done, reject) => {
        let said = "";
        server.stderr.on("data", (text) => {
            said += text;
            const match = said.match(/http:\/\/[\d.]+:\d+/);
            if (match) done(`${match[0]}/`);
        });
        server.on("exit", () => reject(new Error(`ds4-server ended: ${said.trim().split("\n").pop()}`)));
    });
    const stop = () => new Promise((done) => {
        running.delete(server);
        server.on("exit", done);
        server.kill();
    });
    running.add(server);
    return { url, stop };
}

// What a question gives once it gives anything, within ten seconds.
async function until(question) {
    for (let i = 0; i < 100; i++) {
        const answer = await question();
        if (answer) return answer;
        await new Promise((done) => setTimeout(done, 100));
    }
    return null;
}

const idle = (page) => page.waitForSelector("#send:not([hidden])", { timeout: 60000 });

async function send(page, text) {
    await page.fill("#text", text);
    await page.keyboard.press("Enter");
}

async function chat() {
    const { url, stop } = await serve("--kv-disk-dir", join(folder, "kept"));
    const { page, errors, shot, close } = await openBrowser();

    await page.goto(url);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    await page.selectOption("#thinking", "off");
    await page.click("#settings-open");
    await page.fill("[name=temperature]", "0");
    await page.fill("[name=max_tokens]", "60");
    await page.keyboard.press("Escape");
    await send(page, "Hello! Who are you?");
    await idle(page);
    ok("an answer arrives", (await page.textContent(".answer")).trim().length > 0);
    ok("with its numbers", /tokens? · /.test(await page.textContent(".numbers")), await page.textContent(".numbers"));
    ok("and the context", /of 65,536 tokens/.test(await page.getAttribute("#meter", "aria-label")));
    await send(page, "What is 12 + 30?");
    await idle(page);
    is("two turns", await page.$$eval(".message.assistant", (l) => l.length), 2);
    await shot("live-chat");
    await page.selectOption("#thinking", "on");
    await send(page, "What is 7 + 5?");
    await idle(page);
    await shot("live-thinking");
    is("no error is shown", await page.$$eval(".note.bad", (l) => l.map((n) => n.textContent).join()), "");

    // A prompt that takes a while to read, so that there is time to stop.
    await page.click("#new");
    await send(page, "one two three four five six seven eight nine ten ".repeat(4000));
    await page.waitForFunction(() => /^[1-9]\d* s/.test(document.getElementById("status").textContent));
    await shot("live-reading");
    await page.keyboard.press("Escape");
    await idle(page);
    is("stop stops", await page.textContent(".note"), "Stopped.");
    const stats = await until(async () => {
        const now = await (await fetch(`${url}v1/ds4/stats`)).json();
        return now.requests.cancelled === 1 && now.sessions.prefill + now.sessions.decode === 0 && now;
    });
    ok("the server stops too", stats);
    is("nothing complained", errors.join("; "), "");

    await page.goto(`${url}dashboard`);
    await page.waitForFunction(() => document.querySelector(".now b").textContent !== "–");
    await page.waitForTimeout(2500);
    await shot("live-dashboard");
    ok("the dashboard counts", /Requests\d/.test(await page.textContent("#totals")), await page.textContent("#totals"));
    is("the dashboard's policy blocks nothing", errors.join("; "), "");
    await close();
    await stop();
}

const CALL = "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"list_files\">\n<｜DSML｜parameter name=\"path\" string=\"true\">docs" +
    "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

async function tool() {
    const script = [{ if: "<tool_result>", say: "</think>There are **a.md** and **b.md**." }, { if: "docs", say: CALL }];
    writeFileSync(join(folder, "script"), script.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const { url, stop } = await start(scripted, "--script", join(folder, "script"));
    const { page, errors, shot, close } = await openBrowser();
    const list = { name: "list_files", description: "List the files of a directory", parameters: {
        type: "object", properties: { path: { type: "string", description: "Directory" } }, required: ["path"] } };

    await page.goto(url);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    await page.click("#settings-open");
    await page.fill("[name=tools]", JSON.stringify([list]));
    await page.keyboard.press("Escape");
    await send(page, "Show me the content of the directory docs.");
    await idle(page);
    is("a tool is called", await page.$$eval(".call-head code", (l) => l.map((c) => c.textContent).join()), "list_files");
    is("with its arguments", await page.textContent(".call pre"), '{\n  "path": "docs"\n}');
    await page.fill(".call textarea", "a.md\nb.md");
    await page.click("text=Send the result");
    await page.waitForFunction(() => document.querySelectorAll(".message.assistant").length === 2);
    await idle(page);
    is("and its result is answered", await page.$$eval(".answer", (l) => l[1].textContent.trim()), "There are a.md and b.md.");
    await shot("live-tool");
    is("no error is shown", await page.$$eval(".note.bad", (l) => l.map((n) => n.textContent).join()), "");
    is("nothing complained", errors.join("; "), "");
    await close();
    await stop();
}

async function key() {
    const { url, stop } = await serve("--api-key", "secret");
    const { page, close } = await openBrowser();

    await page.goto(url);
    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key [name=key]", "secret");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("model").textContent);
    ok("a server with a key asks for it", true);
    await close();
    await stop();
}

async function headers() {
    const { url, stop } = await serve();
    const answer = await fetch(url), etag = answer.headers.get("etag");

    ok("the policy is sent", /default-src 'none'/.test(answer.headers.get("content-security-policy")));
    is("the type is not guessed", answer.headers.get("x-content-type-options"), "nosniff");
    is("a known page is not sent again", (await fetch(url, { headers: { "If-None-Match": etag } })).status, 304);
    is("HEAD works", (await fetch(url, { method: "HEAD" })).status, 200);
    is("every asset is there", (await Promise.all((await answer.text()).match(/assets\/[\w.]+/g).map(async (path) =>
        (await fetch(url + path)).status))).every((status) => status === 200), true);
    await stop();
}

if (existsSync(program) && existsSync(scripted) && existsSync(model)) {
    await steps([["chat", chat], ["tool", tool], ["key", key], ["headers", headers]]);
} else {
    console.log("ok 1 - the pages on the real server # SKIP it is not built");
}
end();
