// chat.mjs - the chat page against the scripted server.

import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

const ANSWER = ".message.assistant";

async function send(page, text) {
    await page.fill("#text", text);
    await page.keyboard.press("Enter");
}

const idle = (page) => page.waitForSelector("#send:not([hidden])");

async function open(options = {}, mockOptions = {}) {
    const mock = await new Mock(mockOptions).listen();
    const browser = await openBrowser(options);
    await browser.page.goto(mock.url);
    await browser.page.waitForFunction(() => document.getElementById("model").textContent ||
                                             document.querySelector("dialog[open]"));
    return { ...browser, mock, async shut() { await browser.close(); await mock.close(); } };
}

async function streaming() {
    const { page, mock, errors, shot, shut } = await open({ colorScheme: "light" }, { delay: 6 });

    await shot("chat-empty");
    is("the model is named", await page.textContent("#model"), "DeepSeek V4 Flash");
    await send(page, "How does a hash table grow?");
    await page.waitForSelector(".thinking.running");
    await shot("chat-thinking");
    ok("thinking is folded", !await page.$eval(".thinking", (node) => node.open));
    await page.waitForSelector(`${ANSWER} .answer table`);
    ok("the answer shows before it is complete", await page.isVisible("#stop"));
    await shot("chat-streaming");
    await idle(page);
    ok("markdown: a table, a list in a list, a quote, tasks, a heading", await page.$eval(".answer", (a) =>
        a.querySelectorAll("td").length === 9 && a.querySelectorAll("ol ul li").length === 2 &&
        a.querySelector("blockquote") && a.querySelectorAll("input[type=checkbox]").length === 2 &&
        a.querySelector("h4")?.textContent === "Why it stays fast"));
    ok("code has colours", await page.$$eval(".answer pre .hl-key", (l) => l.length) > 5);
    is("code is whole", await page.$eval(".answer pre code", (c) => c.textContent.split("\n").length), 15);
    ok("a link leads out with its guards", await page.$eval(".answer a", (a) =>
        a.rel.includes("noopener") && a.target === "_blank"));
    ok("the numbers are there", /tokens · [\d.]+ tokens\/s · first after/.test(await page.textContent(".numbers")),
       await page.textContent(".numbers"));
    ok("the meter shows the context", /of 32,768 tokens/.test(await page.getAttribute("#meter", "aria-label")));
    is("the title is the question", await page.textContent("#title"), "How does a hash table grow?");
    await page.click(".thinking summary");
    ok("thinking unfolds", await page.isVisible(".reasoning"));
    await shot("chat-answer-end");
    await page.$eval("#log", (log) => { log.scrollTop = 0; });
    await page.waitForTimeout(100);
    await shot("chat-answer");
    ok("there is a way back to the end", await page.isVisible("#jump"));

    await page.click("#theme");
    is("dark on demand", await page.$eval("html", (h) => h.dataset.theme), "dark");
    await shot("chat-dark");
    await page.reload();
    await page.waitForSelector(".answer table");
    is("a reload keeps the conversation", await page.$$eval(".message", (l) => l.length), 2);
    is("and the look", await page.$eval("html", (h) => h.dataset.theme), "dark");
    is("thinking was asked for", mock.requests[0].thinking.type, "enabled");
    is("nothing complained", errors.join("; "), "");
    await shut();
}

async function stopAndRetry() {
    const { page, mock, shut, shot } = await open({}, { delay: 8 });

    await page.selectOption("#thinking", "off");
    await send(page, "a long text");
    await page.waitForSelector(".answer p:nth-child(3)");
    await page.click("#stop");
    await idle(page);
    await page.waitForTimeout(200);
    is("stop ends the request", mock.cancelled, 1);
    const kept = await page.$$eval(".answer p", (l) => l.length);
    ok("what came stays", kept >= 3, kept);
    is("and is marked", await page.textContent(".note"), "Stopped.");
    await page.click("[aria-label='Answer again']");
    await page.waitForSelector(".answer p:nth-child(2)");
    is("retry replaces the answer", await page.$$eval(ANSWER, (l) => l.length), 1);
    is("and sends the question alone", mock.requests[1].messages.length, 1);
    await page.keyboard.press("Escape");
    await idle(page);
    await page.waitForTimeout(200);
    is("Escape stops too", mock.cancelled, 2);
    is("without thinking none was asked for", mock.requests[1].thinking.type, "disabled");

    await page.hover(".message.user");
    await page.click("[aria-label='Change and ask again']");
    await shot("chat-edit");
    await page.fill(".editor textarea", "echo *changed*");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answer em")?.textContent === "changed");
    await idle(page);
    is("a changed question replaces what followed", await page.$$eval(".message", (l) => l.length), 2);
    await send(page, `echo ${"second\n".repeat(60)}`);
    await idle(page);
    ok("the page stays at the end", await page.$eval("#log", (l) => l.scrollHeight - l.scrollTop - l.clientHeight) < 2);
    const height = () => page.$$eval(".bubble", (l) => l[1].clientHeight);
    ok("a long message is folded", await height() < 300, await height());
    await shot("folded");
    await page.click("text=Show all");
    ok("and unfolds", await height() > 1000, await height());
    is("the history goes along", mock.requests.at(-1).messages.map((m) => m.role).join(" "), "user assistant user");
    await shut();
}

async function tools() {
    const { page, mock, errors, shut, shot } = await open();
    const weather = { name: "weather", parameters: { type: "object", properties: { place: { type: "string" } } } };

    await page.click("#settings-open");
    await page.fill("[name=tools]", "[{}");
    ok("wrong tools are explained", /no JSON/.test(await page.textContent("#tools-wrong")));
    await page.fill("[name=tools]", JSON.stringify([weather]));
    await page.fill("[name=system]", "You know the weather.");
    await page.fill("[name=temperature]", "0.5");
    await page.fill("[name=top_p]", "7");
    await shot("settings");
    await page.keyboard.press("Escape");
    is("the tool is counted", await page.textContent("#tools-count"), "1 tool");
    await send(page, "Use the tool for Bergen");
    await page.waitForSelector(".call textarea");
    is("the call shows its arguments", await page.textContent(".call pre"), '{\n  "place": "Bergen",\n  "days": 3\n}');
    await shot("tool-call");
    await page.fill(".call textarea", "rain");
    await page.click("text=Send the result");
    await page.waitForSelector(".answer strong");
    await idle(page);
    is("the result reaches the model", await page.textContent(".answer strong"), "rain");
    await shot("tool-result");
    const [first, second] = mock.requests;
    is("the system text goes first", first.messages[0].content, "You know the weather.");
    is("sampling is sent", first.temperature, 0.5);
    is("a number out of range is not", first.top_p, undefined);
    is("tools get their wrapping", first.tools[0].type, "function");
    is("the call is sent back", second.messages.find((m) => m.tool_calls)?.tool_calls[0].function.arguments,
       '{"place": "Bergen", "days": 3}');
    is("with its reasoning", typeof second.messages.find((m) => m.tool_calls)?.reasoning_content, "string");
    is("and its result", second.messages.at(-1).tool_call_id, "call_1");
    is("nothing complained", errors.join("; "), "");
    await shut();
}

async function hostile() {
    const { page, errors, shut, shot } = await open();

    await page.selectOption("#thinking", "off");
    await send(page, "hostile <b>bold</b>");
    await idle(page);
    is("nothing ran", await page.evaluate(() => window.hacked), undefined);
    is("markup is text", await page.$eval(".answer p", (p) => p.textContent.slice(0, 10)), "<img src=x");
    is("no element of the model's own", await page.$$eval(
        ".answer script, .answer img, .answer style, .answer td svg, .answer td i, .answer td b", (l) => l.length), 0);
    is("links of unknown kinds are none", await page.$$eval(".answer a", (l) => l.map((a) => a.protocol).join()), "https:");
    is("the user's markup is text", await page.textContent(".bubble"), "hostile <b>bold</b>");
    is("nothing complained", errors.join("; "), "");
    await shot("hostile");
    await shut();
}

async function failures() {
    const { page, mock, shut, shot } = await open();

    await page.selectOption("#thinking", "off");
    await send(page, "fail");
    await page.waitForSelector(".note.bad");
    ok("an error is shown", /maximum context length/.test(await page.textContent(".note.bad")));
    await page.click("#new");
    await send(page, "busy");
    await page.waitForSelector(".note.bad");
    ok("a full queue says how long to wait", /wait 7 s/.test(await page.textContent(".note.bad")));
    await page.click("#new");
    await send(page, "cut");
    await page.waitForSelector(".note.bad");
    ok("a lost connection is noticed", /connection/.test(await page.textContent(".note.bad")));
    ok("and what came is kept", (await page.textContent(".answer")).length > 20);
    await shot("error");
    await page.click("#new");
    await send(page, "slow echo x");
    await page.waitForFunction(() => /Reading, [\d,]+ of 12,400 tokens/.test(document.querySelector(".waiting").textContent));
    ok("how much of the prompt is read is shown", true);
    await idle(page);
    await page.click("#new");
    await send(page, "length echo x");
    await page.waitForSelector(".note");
    ok("the limit of tokens is named", /limit/.test(await page.textContent(".note")));
    await page.click("#new");
    await mock.close();
    await send(page, "anyone there?");
    await page.waitForSelector(".note.bad");
    ok("a server that is gone is named", /cannot be reached/.test(await page.textContent(".note.bad")));
    await shut();
}

async function conversations() {
    const { page, mock, shut, shot } = await open({}, { delay: 3 });

    await page.selectOption("#thinking", "off");
    for (const name of ["echo one", "echo two", "echo three"]) {
        await page.keyboard.press("Alt+n");
        await send(page, name);
        await idle(page);
    }
    is("the list has them", await page.$$eval(".entry", (l) => l.map((e) => e.textContent).join()),
       "echo three,echo two,echo one");
    await page.fill("#search", "two");
    is("search narrows it", await page.$$eval(".entry", (l) => l.length), 1);
    await page.fill("#search", "");
    await page.click(".entry:nth-of-type(2) .open-it");
    is("one is opened", await page.textContent("#title"), "echo two");
    await page.hover(".entry.open");
    await page.click(".entry.open [aria-label^=Rename]");
    await page.keyboard.type("My name");
    await page.keyboard.press("Enter");
    is("renamed", await page.textContent("#title"), "My name");
    await shot("list");
    await page.hover(".entry.open");
    await page.click(".entry.open [aria-label^=Delete]");
    await page.waitForSelector("#toast:not([hidden])");
    is("deleted", await page.$$eval(".entry", (l) => l.length), 2);
    await page.click("#toast-button");
    is("and back", await page.textContent("#title"), "My name");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
    is("saved as a file", download.suggestedFilename(), "My-name.md");

    await page.click("#new");
    await send(page, "a long text");
    await page.waitForSelector(".answer p:nth-child(2)");
    await page.click("text=echo one");
    ok("an answer runs on elsewhere", await page.isVisible(".entry .running"));
    await page.click("text=a long text");
    await page.waitForSelector(".answer p:nth-child(9)");
    ok("and is seen on return", await page.isVisible("#stop"));
    await page.click("#settings-open");
    await page.click("#delete-all");
    await page.click("#ask-yes");
    await page.waitForSelector(".list .none");
    await page.waitForTimeout(300);
    is("all are deleted, the running one too", mock.cancelled, 1);
    await page.reload();
    await page.waitForSelector(".hello");
    is("for good", await page.$$eval(".entry", (l) => l.length), 0);
    await shut();
}

async function keys() {
    const { page, mock, shut, shot } = await open({}, { key: "secret" });

    await page.waitForSelector("#ask-key[open]");
    await shot("key");
    await page.fill("#ask-key [name=key]", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key [name=key]", "secret");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("model").textContent);
    ok("a key opens the server", true);
    mock.key = "changed";
    await page.selectOption("#thinking", "off");
    await send(page, "echo hello");
    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key [name=key]", "changed");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answer p")?.textContent === "hello");
    ok("a key asked for in the middle goes on with the request", true);
    await shut();
}

async function phone() {
    const { page, shut, shot } = await open({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true,
                                              deviceScaleFactor: 2, colorScheme: "dark" }, { delay: 2 });

    is("the system's look is taken", await page.$eval("html", (h) => h.dataset.theme), "dark");
    await shot("phone-empty");
    await send(page, "How does a hash table grow?");
    await idle(page);
    is("nothing is wider than the screen", await page.evaluate(() => document.documentElement.scrollWidth), 390);
    await shot("phone-answer-end");
    await page.$eval("#log", (log) => { log.scrollTop = 0; });
    await page.waitForTimeout(100);
    await shot("phone-answer");
    await page.tap("#side-open");
    await page.waitForTimeout(300);
    ok("the list slides in", await page.isVisible("#search"));
    await shot("phone-list");
    await page.tap("#settings-open");
    await page.waitForTimeout(300);
    await shot("phone-settings");
    await page.keyboard.press("Escape");
    await page.evaluate(() => window.ds4Theme.set("light"));
    await page.tap("#side-close");
    await page.waitForTimeout(300);
    await shot("phone-light");
    await shut();
}

async function keyboard() {
    const { page, shut, shot } = await open({}, { delay: 1 });
    const seen = new Set();

    await page.selectOption("#thinking", "off");
    await send(page, "echo hello");
    await idle(page);
    await page.evaluate(() => document.activeElement.blur());
    for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        seen.add(await page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("aria-label")));
    }
    for (const id of ["new", "search", "settings-open", "theme", "side-open", "export", "text", "thinking",
                      "Rename echo hello", "Delete echo hello", "Copy the answer", "Answer again"]) {
        ok(`Tab reaches ${id}`, seen.has(id));
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("/");
    is("/ goes to the field", await page.evaluate(() => document.activeElement.id), "text");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("x");
    is("Shift Enter is a new line", await page.inputValue("#text"), "\nx");
    await page.keyboard.press("Tab");
    await shot("focus");
    is("every button has a name", await page.$$eval("button", (l) =>
        l.filter((b) =>
        b.id !== "ask-yes" && !b.textContent.trim() && !b.getAttribute("aria-label")).length), 0);
    await shut();
}

await steps([["streaming", streaming], ["stop and retry", stopAndRetry], ["tools", tools], ["hostile", hostile],
             ["failures", failures], ["conversations", conversations], ["keys", keys], ["phone", phone],
             ["keyboard", keyboard]]);
end();
