// keep.mjs - the page keeps every word: two tabs, a reload in the middle of an answer, drafts,
// branches, a server that is gone, a storage that is full, the database of an older page.

import { readFileSync } from "node:fs";
import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

async function send(page, text) {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
}

const idle = (page) => page.waitForSelector("#send:not([hidden])");
const ready = (page) => page.waitForFunction(() => document.getElementById("model").textContent);
const asked = (page) => page.$$eval("article.user .bubble", (l) => l.map((n) => n.textContent).join(" | "));
const answers = (page) => page.$$eval("article.assistant .answer", (l) => l.map((n) => n.textContent).join(" | "));
const note = (page) => page.textContent(".note");
// Both sides of a timer and a write of the browser's database.
const settled = (page) => page.waitForTimeout(400);

async function open(mockOptions = {}, options = {}) {
    const mock = await new Mock(mockOptions).listen();
    const browser = await openBrowser(options);
    await browser.page.goto(mock.url);
    await ready(browser.page);
    await browser.page.selectOption("#thinking", "off");
    return { ...browser, mock, async shut() { await browser.close(); await mock.close(); },
             async tab(hash = "") {
                 const page = await browser.context.newPage();
                 await page.goto(mock.url + hash);
                 await ready(page);
                 return page;
             } };
}

async function twoTabs() {
    const { page: one, tab, errors, shut } = await open();

    await send(one, "echo Hello");
    await idle(one);
    const two = await tab();
    is("a tab lists what another one began", await two.$$eval(".entry", (l) => l.length), 1);
    await two.click(".open-it");
    await two.waitForSelector(".answer");
    await send(one, "echo from tab one");
    await idle(one);
    await two.waitForFunction(() => document.querySelectorAll("article.user").length === 2);
    ok("a tab follows what is said in another one", true);
    await send(two, "echo from tab two");
    await idle(two);
    await one.reload();
    await one.waitForSelector("article.user");
    is("nothing of two tabs is lost", await asked(one), "echo Hello | echo from tab one | echo from tab two");
    is("nor the answers", await answers(one), "Hello | from tab one | from tab two");
    await one.click("#new");
    await send(one, "echo another");
    await idle(one);
    await two.waitForFunction(() => document.querySelectorAll(".entry").length === 2);
    ok("a conversation begun in one tab appears in the other", true);
    await one.hover(".entry.open");
    await one.click(".entry.open [aria-label^=Rename]");
    await one.keyboard.type("New name");
    await one.keyboard.press("Enter");
    await two.waitForSelector(".open-it[title='New name']");
    ok("so does its new name", true);
    is("nothing complained", errors.join("; "), "");
    await shut();
}

// Without a channel between them, and both asking at once: the database alone decides.
async function twoTabsAtOnce() {
    const { page: one, context, tab, shut } = await open({ delay: 15 });

    await context.addInitScript(() => { delete window.BroadcastChannel; });
    await send(one, "echo Hello");
    await idle(one);
    await one.reload();
    await one.waitForSelector(".answer");
    const two = await tab(await one.evaluate(() => location.hash));
    await two.waitForSelector(".answer");
    await one.fill("#text", "echo one");
    await two.fill("#text", "echo two");
    await Promise.all([one.press("#text", "Enter"), two.press("#text", "Enter")]);
    await Promise.all([idle(one), idle(two)]);
    await settled(one);
    await one.reload();
    await one.waitForSelector("article.user");
    let all = await asked(one);
    if (!/one.*two|two.*one/.test(all)) {
        await one.click("[aria-label='Earlier version']:not(:disabled), [aria-label='Later version']:not(:disabled)");
        all += ` | ${await asked(one)}`;
    }
    ok("two questions at once are both kept", all.includes("echo one") && all.includes("echo two"), all);
    await shut();
}

// At once, with a channel: one comes first, the other waits for its answer.
async function oneAfterTheOther() {
    const { page: one, tab, shut } = await open({ delay: 60 });

    await send(one, "echo Hello");
    await idle(one);
    const two = await tab(await one.evaluate(() => location.hash));
    await two.waitForSelector(".answer");
    await one.fill("#text", `echo one ${"more ".repeat(80)}`);
    await two.fill("#text", `echo two ${"more ".repeat(80)}`);
    await Promise.all([one.press("#text", "Enter"), two.press("#text", "Enter")]);
    const left = (page) => page.waitForFunction(() => document.getElementById("text").value.startsWith("echo")).then(() => page);
    const second = await Promise.any([left(one), left(two)]), first = second === one ? two : one;
    is("who comes second keeps the text in the field", await first.inputValue("#text"), "");
    await idle(first);
    await idle(second);
    await second.press("#text", "Enter");
    await first.waitForFunction(() => document.querySelectorAll("article.user").length === 3);
    await idle(second);
    await first.reload();
    await first.waitForSelector("article.user");
    ok("and both are asked, one after the other", /one.*two|two.*one/.test(await asked(first)), await asked(first));
    await shut();
}

async function elsewhere() {
    const { page: one, tab, mock, shut } = await open({ delay: 25 });

    await send(one, "a long text");
    await one.waitForSelector(".answer p:nth-child(2)");
    const two = await tab(await one.evaluate(() => location.hash));
    await two.waitForSelector(".streaming .answer p:nth-child(2)");
    is("an answer of another tab is no piece", await two.$$eval(".note", (l) => l.length), 0);
    const before = (await answers(two)).length;
    await two.waitForFunction((n) => document.querySelector(".answer").textContent.length > n, before);
    ok("it grows in both", true);
    await two.click("#stop");
    await idle(two);
    await idle(one);
    is("it can be stopped from the other", await note(one), "Stopped.");
    is("and the server stops", mock.cancelled, 1);
    await two.waitForSelector(".note");
    is("both say so", await note(two), "Stopped.");
    await one.hover(".entry.open");
    await one.click(".entry.open [aria-label^=Delete]");
    await two.waitForSelector(".hello");
    ok("what is deleted in one tab is gone in the other", true);
    await one.click("#toast-button");
    await two.waitForSelector(".entry");
    ok("and comes back in both", true);
    await shut();
}

async function reload() {
    const { page, mock, errors, shot, shut } = await open({ delay: 8 });

    await send(page, "a long text");
    await page.waitForSelector(".answer p:nth-child(12)");
    await page.waitForTimeout(1200);
    await page.reload();
    await page.waitForSelector(".note");
    is("an answer cut by a reload is marked", await note(page), "Interrupted.");
    const piece = await answers(page);
    ok("what came is there", piece.includes("Paragraph 12"), piece.slice(-80));
    await shot("interrupted");
    await page.click("text=Go on");
    await page.waitForFunction(() => document.querySelector(".answer").textContent.endsWith("and this goes on."));
    await idle(page);
    is("it can go on", await answers(page), `${piece} and this goes on.`);
    is("with its words as the beginning", mock.requests.at(-1).messages.at(-1).prefix, true);
    is("as one answer", await page.$$eval("article.assistant", (l) => l.length), 1);
    is("that ends well", await page.$$eval(".note", (l) => l.length), 0);
    await page.reload();
    await page.waitForSelector(".answer");
    is("and is kept so", await answers(page), `${piece} and this goes on.`);
    is("nothing complained", errors.join("; "), "");
    await shut();
}

async function drafts() {
    const { page, shut } = await open();

    await send(page, "echo one");
    await idle(page);
    await page.fill("#text", "not sent yet");
    await settled(page);
    await page.reload();
    await page.waitForFunction(() => document.getElementById("text").value === "not sent yet");
    ok("a draft survives a reload", true);
    await page.click("#new");
    is("a new chat has none", await page.inputValue("#text"), "");
    await page.fill("#text", "שלום, a new thought");
    await settled(page);
    ok("the list shows it", (await page.textContent(".list")).includes("a new thought"));
    await page.click("text=echo one");
    await page.waitForFunction(() => document.getElementById("text").value === "not sent yet");
    ok("each conversation has its own", true);
    await page.click(".open-it[title*=thought]");
    await page.waitForFunction(() => document.getElementById("text").value.includes("a new thought"));
    await page.reload();
    await page.waitForFunction(() => document.getElementById("text").value.includes("a new thought"));
    ok("also one that was not begun", true);
    await page.fill("#text", "");
    await settled(page);
    is("an empty one goes", await page.$$eval(".entry", (l) => l.length), 1);
    await shut();
}

async function branches() {
    const { page, mock, shot, shut } = await open();

    await send(page, "echo first");
    await idle(page);
    await send(page, "echo second");
    await idle(page);
    mock.requests.length = 0;
    await page.click("article.assistant.last [aria-label='Answer again']");
    await page.waitForFunction(() => document.querySelector(".last .at")?.textContent === "2 / 2");
    await idle(page);
    is("the question alone is asked again", mock.requests[0].messages.map((m) => m.content).join(), "echo first,first,echo second");
    await shot("versions");
    await page.click(".last [aria-label='Earlier version']");
    is("the earlier answer is there", await page.textContent(".last .at"), "1 / 2");
    await page.hover("article.user");
    await page.click("article.user [aria-label='Change and ask again']");
    await page.fill(".editor textarea", "echo changed");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll("article.user").length === 1);
    await idle(page);
    is("a changed question begins anew", await asked(page), "echo changed");
    await page.click("article.user [aria-label='Earlier version']");
    is("what followed the first one is there", await asked(page), "echo first | echo second");
    await page.reload();
    await page.waitForSelector("article.user");
    is("the branch that was shown last is shown", await asked(page), "echo first | echo second");
    is("with all versions", await page.textContent("article.user .at"), "1 / 2");
    await shut();
}

async function serverGone() {
    const { page, mock, shot, shut } = await open({ delay: 8 });
    const port = new URL(mock.url).port;

    await send(page, "cut");
    await page.waitForSelector(".note.bad");
    const piece = await answers(page);
    await mock.close();
    await page.click("text=Try again");
    await page.waitForFunction(() => /cannot be reached/.test(document.querySelector(".note.bad")?.textContent));
    is("a piece stays when nobody answers", await answers(page), piece);
    await shot("gone");
    await page.click("text=Go on");
    await page.waitForFunction(() => /cannot be reached/.test(document.querySelector(".note.bad")?.textContent));
    is("also when it shall go on", await answers(page), piece);
    await mock.listen(port);
    mock.whole = true;
    await page.goto("about:blank");
    await page.goto(mock.url);
    await page.click(".open-it");
    await page.waitForSelector(".note.bad");
    is("and after a reload", await answers(page), piece);
    await page.click("text=Try again");
    await page.waitForSelector(".answer table");
    await idle(page);
    is("the piece is a version beside the whole answer", await page.textContent(".last .at"), "2 / 2");
    await shut();
}

async function wrongKey() {
    const { page, mock, shot, shut } = await open();

    mock.key = "secret";
    await send(page, "echo keep me");
    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key [name=key]", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /wrong or missing/.test(document.querySelector(".note.bad")?.textContent));
    ok("a wrong key is told", true);
    await page.click("text=Try again");
    await page.waitForSelector("#ask-key-wrong:not([hidden])");
    ok("the next dialog says that it was wrong", true);
    await shot("key-wrong");
    await page.click("#ask-key-cancel");
    await page.waitForSelector(".note.bad");
    is("who has none keeps the question", await asked(page), "echo keep me");
    await page.click("text=Try again");
    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key [name=key]", "secret");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent === "keep me");
    ok("and gets the answer with the right one", true);
    await shut();
}

// The browser keeps its word about quotas to itself, so its refusal is played.
async function storageFull() {
    const { page, shot, shut } = await open();

    await send(page, "echo before");
    await idle(page);
    await page.evaluate(() => {
        const { put } = IDBObjectStore.prototype;
        window.makeRoom = () => { IDBObjectStore.prototype.put = put; };
        IDBObjectStore.prototype.put = function (row) {
            if (this.name === "messages") throw new DOMException("full", "QuotaExceededError");
            return put.call(this, row);
        };
    });
    await send(page, "echo in between");
    await page.waitForSelector("#alarm:not([hidden])");
    ok("a full storage is told", /storage is full/.test(await page.textContent("#alarm")));
    await idle(page);
    await shot("full");
    is("and the page goes on", await answers(page), "before | in between");
    await page.evaluate(() => window.makeRoom());
    await send(page, "echo after");
    await idle(page);
    await page.waitForSelector("#alarm", { state: "hidden" });
    await settled(page);
    await page.reload();
    await page.waitForSelector("article.user");
    is("what could not be stored is stored later", await asked(page), "echo before | echo in between | echo after");
    is("with its answer", await answers(page), "before | in between | after");
    await shut();
}

// A conversation as the page of version 1 kept it.
async function older() {
    const mock = await new Mock().listen();
    const { page, close } = await openBrowser();

    await page.goto(`${mock.url}assets/icon.svg`);
    await page.evaluate(() => new Promise((resolve, reject) => {
        const request = indexedDB.open("ds4", 1);
        request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
        request.onerror = reject;
        request.onsuccess = () => {
            const database = request.result, transaction = database.transaction("conversations", "readwrite");
            transaction.objectStore("conversations").put({ id: "old", title: "From before", named: true, created: 1, updated: 2,
                messages: [{ role: "user", content: "a question" },
                           { role: "assistant", content: "an answer", reasoning: "a thought", calls: [], finish: "stop", error: "",
                             thinkMs: 5, stats: {} },
                           { role: "user", content: "and one more" },
                           { role: "assistant", content: "a pie", reasoning: "", calls: [], finish: "", error: "", thinkMs: 0, stats: {} }] });
            transaction.oncomplete = () => {
                database.close();
                resolve();
            };
        };
    }));
    await page.goto(`${mock.url}#old`);
    await page.waitForSelector(".note");
    is("an older page's conversation is there", await asked(page), "a question | and one more");
    is("with its answers", await answers(page), "an answer | a pie");
    is("the last one marked as a piece", await note(page), "Interrupted.");
    await close();
    await mock.close();
}

async function portable() {
    const { page, shut } = await open();
    const saved = async (action) => {
        const [download] = await Promise.all([page.waitForEvent("download"), action()]);
        return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
    };

    await page.selectOption("#thinking", "on");
    await send(page, "echo **bold**");
    await idle(page);
    await page.click("article.assistant [aria-label='Answer again']");
    await page.waitForFunction(() => document.querySelector(".at")?.textContent === "2 / 2");
    await idle(page);
    const markdown = await saved(() => page.click("#export"));
    is("Markdown has a name", markdown.name, "echo-bold.md");
    ok("and the words", /## You\n\necho \*\*bold\*\*\n\n## Answer\n\n<details>.*The user wants.*<\/details>\n\n\*\*bold\*\*/s.test(markdown.text), markdown.text);
    await page.click("#about-open");
    const one = await saved(() => page.click("#save-json"));
    is("JSON has a name", one.name, "echo-bold.json");
    await page.keyboard.press("Escape");
    await page.click("#settings-open");
    const all = await saved(() => page.click("#save-all"));
    is("JSON has all versions", JSON.parse(all.text).conversations[0].messages.length, 3);
    await page.click("#delete-all");
    await page.click("#ask-yes");
    await page.waitForSelector(".list .none");
    const load = async (name, text) => {
        if (!await page.$("#settings[open]")) await page.click("#settings-open");
        await page.setInputFiles("#load-file", { name, mimeType: "application/json", buffer: Buffer.from(text) });
    };
    await load("all.json", all.text);
    await page.waitForSelector(".answer strong");
    is("what was saved can be read", await page.textContent(".at"), "2 / 2");
    await load("all.json", all.text);
    await page.waitForSelector("#settings:not([open])", { state: "attached" });
    is("twice is once", await page.$$eval(".entry", (l) => l.length), 1);
    await load("chat.json", JSON.stringify({ messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" },
                                                        { role: "assistant", content: "Hello." }] }));
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent === "Hello.");
    ok("messages of the API are read too", await page.$eval("#about-open", (b) => b.classList.contains("on")));
    for (const [text, why] of [["{", "no JSON"], ["{}", "no conversations"], ["[1]", "no conversations"],
                               ['{"conversations":[{"messages":[1]}]}', "no object"], ['{"conversations":[null, 3, {"messages": {}}]}', "no conversations"]]) {
        await load("bad.json", text);
        await page.waitForFunction((words) => document.getElementById("toast-text").textContent.includes(words), why);
        ok(`a file with ${text} is refused: ${why}`, true);
    }
    await shut();
}

await steps([["two tabs", twoTabs], ["two tabs at once", twoTabsAtOnce], ["one after the other", oneAfterTheOther], ["elsewhere", elsewhere], ["reload", reload],
             ["drafts", drafts], ["branches", branches], ["server gone", serverGone], ["wrong key", wrongKey],
             ["storage full", storageFull], ["older", older], ["portable", portable]]);
end();
