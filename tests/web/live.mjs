// live.mjs - both pages against the real server with the bundled model.
//
// What such a small model answers is its own affair; that it arrives, that it can be stopped,
// that the numbers are right and that nothing is blocked by the page's policy is looked at.
// What is said in the step with a tool is prescribed.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

// Two tabs of one browser against one server, as people have them.
async function tabs() {
    const { url, stop } = await serve();
    const { page, context, errors, close } = await openBrowser();
    const two = await context.newPage();

    for (const one of [page, two]) {
        await one.goto(url);
        await one.waitForFunction(() => document.getElementById("model").textContent);
    }
    await page.selectOption("#thinking", "off");
    await send(page, "Hello");
    await idle(page);
    await two.click(".open-it");
    await two.waitForSelector(".answer");
    await send(page, "from tab one");
    await send(two, "from tab two").catch(() => {});
    await idle(page);
    await idle(two);
    if (!(await two.textContent("#messages")).includes("from tab two")) await two.press("#text", "Enter");
    await idle(two);
    await page.reload();
    await page.waitForSelector("article.user");
    is("two tabs lose nothing", await page.$$eval("article.user .bubble", (l) => l.map((n) => n.textContent).join()),
       "Hello,from tab one,from tab two");
    is("nothing complained", errors.join("; "), "");
    await close();
    await stop();
}

async function interrupted() {
    const words = Array.from({ length: 3000 }, (_, i) => `word${i}`).join(" ");
    writeFileSync(join(folder, "script"), `${JSON.stringify({ say: `</think>${words}` })}\n`);
    const { url, stop } = await start(scripted, "--script", join(folder, "script"));
    const { page, errors, shot, close } = await openBrowser();

    await page.goto(url);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    await send(page, "Count the words.");
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent.length > 600);
    await page.waitForTimeout(1200);
    await page.reload();
    await page.waitForSelector(".note");
    is("an answer cut by a reload is marked", await page.textContent(".note"), "Interrupted.");
    const piece = await page.textContent(".answer");
    await shot("live-interrupted");
    await page.click("text=Go on");
    await page.waitForFunction((n) => document.querySelector(".answer").textContent.length > n, piece.length);
    await page.click("#stop");
    await idle(page);
    ok("the server goes on behind its words", (await page.textContent(".answer")).startsWith(piece));
    is("no error is shown", await page.$$eval(".note.bad", (l) => l.length), 0);
    is("nothing complained", errors.join("; "), "");
    await close();
    await stop();
}

async function loop() {
    writeFileSync(join(folder, "script"), `${JSON.stringify({ say: `</think>${"and again ".repeat(600)}` })}\n`);
    const { url, stop } = await start(scripted, "--script", join(folder, "script"));
    const { page, close } = await openBrowser();

    await page.goto(url);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    await send(page, "Go round.");
    await page.waitForSelector(".note", { timeout: 60000 });
    is("a loop is told as a loop", await page.textContent(".note"), "The answer went round in circles and was ended.");
    await close();
    await stop();
}

// Markdown as models write it, and the page behind nginx as most people set it up.
async function proxy() {
    const nginx = ["/usr/sbin/nginx", "/opt/homebrew/bin/nginx", "/usr/local/bin/nginx"].find((path) => existsSync(path));
    if (!nginx) return ok("nginx is here", false);
    const source = readFileSync(new URL("./answer.md", import.meta.url), "utf8");
    const script = [{ if: "right to left", say: "</think>מה שלומך היום? זהו משפט עם English.\n\n- רשימה\n\n> ציטוט" }, { say: `</think>${source}` }];
    writeFileSync(join(folder, "script"), script.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const { url, stop } = await start(scripted, "--script", join(folder, "script"));
    const port = 20000 + process.pid % 20000;
    writeFileSync(join(folder, "nginx.conf"), `daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log; events {}
        http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f;
               uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
               server { listen 127.0.0.1:${port}; location / { proxy_pass ${url.slice(0, -1)}; } } }`);
    // One process, so that nothing of it outlives a test that is killed.
    const front = spawn(nginx, ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: "ignore" });
    running.add(front);
    await until(() => fetch(`http://127.0.0.1:${port}/health`).catch(() => null));

    for (const [name, options] of [["light", { colorScheme: "light", viewport: { width: 1280, height: 1100 } }], ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 1100 } }],
                                   ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
                                   ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }]]) {
        const { page, errors, shot, close } = await openBrowser(options);
        await page.goto(`http://127.0.0.1:${port}/`);
        await page.waitForFunction(() => document.getElementById("model").textContent);
        await send(page, "Show me.");
        await page.waitForSelector("article.assistant .answer math");
        await idle(page);
        is(`behind nginx (${name}): formulas, breaks, notes, details`, await page.$eval(".answer", (a) =>
            [a.querySelectorAll("math").length, a.querySelectorAll("td br").length, a.querySelectorAll("sub").length,
             a.querySelectorAll(".footnotes li").length, a.querySelectorAll("details").length, a.querySelectorAll("h3.h1").length,
             a.querySelectorAll("pre").length].join()), "3,1,1,1,1,1,1");
        ok(`with a font for mathematics (${name})`, await page.evaluate(() => document.fonts.ready.then((fonts) =>
            [...fonts].some((font) => /STIX/.test(font.family) && font.status === "loaded"))));
        is(`nothing is wider than the screen (${name})`, await page.evaluate(() => document.documentElement.scrollWidth), options.viewport.width);
        is(`nothing complained (${name})`, errors.join("; "), "");
        await page.$eval("#log", (log) => { log.scrollTop = 0; });
        await page.waitForTimeout(100);
        await shot(`models-write-${name}`);
        await send(page, "right to left");
        await idle(page);
        await page.waitForFunction(() => document.querySelectorAll("article.assistant blockquote").length === 1);
        await shot(`right-to-left-${name}`);
        await close();
    }
    running.delete(front);
    await new Promise((done) => {
        front.on("exit", done);
        front.kill();
    });
    await stop();
    return undefined;
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
    await steps([["chat", chat], ["tool", tool], ["tabs", tabs], ["interrupted", interrupted], ["loop", loop], ["proxy", proxy],
                 ["key", key], ["headers", headers]]);
} else {
    console.log("ok 1 - the pages on the real server # SKIP it is not built");
}
end();
