// words.mjs - what goes along with words: files, system texts, the side they run from; what the
// page says when something else than words comes back; and the page without its libraries.

import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

async function send(page, text) {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
}

const idle = (page) => page.waitForSelector("#send:not([hidden])");
const toast = (page) => page.textContent("#toast-text");

async function open(mockOptions = {}, options = {}) {
    const mock = await new Mock(mockOptions).listen();
    const browser = await openBrowser(options);
    await browser.page.goto(mock.url);
    await browser.page.waitForFunction(() => document.getElementById("model").textContent);
    await browser.page.selectOption("#thinking", "off");
    return { ...browser, mock, async shut() { await browser.close(); await mock.close(); } };
}

// Files as a drop or a paste brings them: [name, type, content].
const bring = (page, kind, files) => page.evaluate(([how, list]) => {
    const data = new DataTransfer();
    for (const [name, type, content] of list) {
        data.items.add(new File([typeof content === "string" ? content : new Uint8Array(content)], name, { type }));
    }
    const node = document.getElementById("text");
    node.dispatchEvent(how === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}, [kind, files]);

async function attachments() {
    const { page, mock, errors, shot, shut } = await open();

    await bring(page, "drop", [["main.c", "text/x-c", "int main(void)\n{\n    return 0;\n}\n"], ["notes.md", "text/markdown", "```c\nx\n```\n"]]);
    await page.waitForSelector("#files li:nth-child(2)");
    await bring(page, "paste", [["ünï.txt", "text/plain", "three"]]);
    await page.waitForSelector("#files li:nth-child(3)");
    await page.setInputFiles("#attach-file", { name: "wide.txt", mimeType: "", buffer: Buffer.from("\ufeffwide", "utf16le") });
    await page.waitForSelector("#files li:nth-child(4)");
    ok("files come by drop, paste and choice", true);
    await page.click("[aria-label='Remove ünï.txt']");
    is("and can be taken away", await page.$$eval("#files .name", (l) => l.map((n) => n.textContent).join()), "main.c,notes.md,wide.txt");
    await shot("attached");
    await page.waitForTimeout(400);
    await page.reload();
    await page.waitForSelector("#files li:nth-child(3)");
    ok("they are part of the draft", true);
    await send(page, "What is it?");
    await idle(page);
    is("each goes fenced under its name", mock.requests[0].messages[0].content,
       "main.c:\n```\nint main(void)\n{\n    return 0;\n}\n```\n\nnotes.md:\n````\n```c\nx\n```\n````\n\nwide.txt:\n```\nwide\n```\n\nWhat is it?");
    is("the field is free again", await page.$$eval("#files li", (l) => l.length), 0);
    is("they are shown with the question", await page.$$eval("article.user .file .name", (l) => l.length), 3);
    await page.click("article.user .file summary");
    ok("and unfold", await page.isVisible("article.user .file pre"));
    await shot("attached-sent");
    await page.hover("article.user");
    await page.click("[aria-label='Change and ask again']");
    await page.fill(".editor textarea", "And now?");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".bubble")?.textContent === "And now?");
    await idle(page);
    ok("a changed question keeps them", mock.requests[1].messages[0].content.startsWith("main.c:"));

    for (const [name, type, content, why] of [
        ["a.bin", "", [0, 1, 2, 255], /a\.bin is not a text file/],
        ["latin.txt", "text/plain", [0x66, 0xFC, 0x72], /latin\.txt is not a text file/],
        ["zero.txt", "text/plain", "a\0b", /zero\.txt is not a text file/],
        ["p.png", "image/png", [0x89, 0x50], /p\.png is a picture/],
        ["none.txt", "text/plain", "", /none\.txt is empty/],
        ["big.txt", "text/plain", "x".repeat(600000), /big\.txt has 586 KiB: at most 512 KiB/]]) {
        await bring(page, "drop", [[name, type, content]]);
        await page.waitForFunction((words) => document.getElementById("toast-text").textContent.startsWith(words), name);
        ok(`refused in words: ${name}`, why.test(await toast(page)), await toast(page));
    }
    await bring(page, "drop", Array.from({ length: 17 }, (_, i) => [`f${i}.txt`, "text/plain", "x"]));
    await page.waitForFunction(() => /one too many/.test(document.getElementById("toast-text").textContent));
    is("at most sixteen", await page.$$eval("#files li", (l) => l.length), 16);
    await page.click("#new");
    await page.evaluate(() => {
        const data = new DataTransfer();
        data.setData("text/plain", "word ".repeat(20000));
        document.getElementById("text").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    });
    await page.waitForSelector("#files li");
    is("a long paste becomes a file", await page.textContent("#files .name"), "pasted.txt");
    await page.click("#send");
    await idle(page);
    is("a file alone is a question", await page.textContent("#title"), "pasted.txt");
    is("nothing complained", errors.join("; "), "");
    await shut();
}

async function systemText() {
    const { page, mock, shot, shut } = await open();

    await page.click("#settings-open");
    await page.fill("#settings [name=system]", "You are kind.");
    await page.keyboard.press("Escape");
    await page.click("#about-open");
    is("the dialog shows what holds otherwise", await page.getAttribute("#conversation [name=system]", "placeholder"), "You are kind.");
    await page.fill("#conversation [name=system]", "You are brief.");
    await shot("system-text");
    await page.keyboard.press("Escape");
    await send(page, "echo one");
    await idle(page);
    is("a conversation has its own system text", mock.requests[0].messages[0].content, "You are brief.");
    await page.reload();
    await page.waitForSelector(".answer");
    ok("that is kept, and seen", await page.$eval("#about-open", (b) => b.classList.contains("on")));
    await page.click("#new");
    await send(page, "echo two");
    await idle(page);
    is("another one has that of the settings", mock.requests[1].messages[0].content, "You are kind.");
    await page.click("text=echo one");
    await page.waitForFunction(() => document.getElementById("title").textContent === "echo one");
    await page.click("#about-open");
    await page.fill("#conversation [name=system]", "");
    await page.keyboard.press("Escape");
    await send(page, "echo three");
    await idle(page);
    is("an empty one is that of the settings", mock.requests[2].messages[0].content, "You are kind.");
    await shut();
}

const HEBREW = "מה שלומך היום? זהו משפט בעברית עם English בתוכו, ומספרים 123.\n\n- רשימה ראשונה\n\n> ציטוט קצר";

async function rightToLeft() {
    const { page, shot, shut } = await open();
    const side = (selector) => page.$eval(selector, (node) => getComputedStyle(node).direction);

    await page.fill("#text", HEBREW);
    is("the field", await side("#text"), "rtl");
    await send(page, `echo ${HEBREW}`);
    await idle(page);
    await send(page, HEBREW);
    await idle(page);
    await page.hover(".entry.open");
    await page.click(".entry.open [aria-label^=Rename]");
    await page.keyboard.type("שיחה חדשה");
    await page.keyboard.press("Enter");
    is("the title", await side("#title"), "rtl");
    is("the entry of the list", await side(".entry.open .open-it"), "rtl");
    is("the question", await page.$$eval(".bubble", (l) => getComputedStyle(l[1]).direction), "rtl");
    is("the answer", await side(".answer p"), "rtl");
    is("a list", await side(".answer ul"), "rtl");
    await page.$eval("#log", (log) => { log.scrollTop = 0; });
    await shot("right-to-left");
    await shut();
}

async function endings() {
    const { page, shut, shot } = await open();

    await send(page, "loop echo again and again");
    await page.waitForSelector(".note");
    is("a loop is called a loop", await page.textContent(".note"), "The answer went round in circles and was ended.");
    await page.click("#new");
    await send(page, "length echo x");
    await page.waitForSelector(".note");
    is("the limit of tokens is named", await page.textContent(".note"), "The answer reached the limit of tokens.");
    await page.click("text=Go on");
    await page.waitForFunction(() => document.querySelector(".answer").textContent === "x and this goes on.");
    await idle(page);
    is("and the answer goes on beyond it", await page.$$eval(".note", (l) => l.length), 0);
    await page.click("#new");
    await page.selectOption("#thinking", "on");
    await send(page, "empty");
    await page.waitForSelector(".note");
    is("an empty answer is called so", await page.textContent(".note"), "The answer is empty.");
    await shot("empty-answer");
    await page.click("#keys-open");
    ok("the keys are listed", /Shift Enter.*a new line.*Alt N.*a new chat/s.test(await page.textContent("#keys")));
    await shot("keys");
    await page.keyboard.press("Escape");
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("?");
    ok("with a key too", await page.isVisible("#keys"));
    await page.keyboard.press("Escape");
    await page.keyboard.press("Alt+ArrowDown");
    await page.waitForFunction(() => /length/.test(document.getElementById("title").textContent));
    await page.keyboard.press("Alt+ArrowUp");
    await page.waitForFunction(() => /empty/.test(document.getElementById("title").textContent));
    await page.keyboard.press("Control+k");
    await page.keyboard.type("round");
    await page.waitForFunction(() => document.querySelectorAll(".entry").length === 0);
    await page.fill("#search", "again and again");
    await page.waitForFunction(() => document.querySelectorAll(".entry").length === 1);
    ok("search reads messages", true);
    await shut();
}

// Six hundred conversations: the list stays short, the page quick.
async function many() {
    const { page, shut } = await open();
    const file = JSON.stringify({ format: "ds4-conversations", version: 1, conversations: Array.from({ length: 600 }, (_, i) => ({
        id: `c${i}`, title: `Number ${i}`, updated: 1e12 + i, messages: [{ role: "user", content: `question ${i}` }, { role: "assistant", content: "an answer" }] })) });

    await page.click("#settings-open");
    await page.setInputFiles("#load-file", { name: "many.json", mimeType: "application/json", buffer: Buffer.from(file) });
    await page.waitForFunction(() => /600 conversations/.test(document.getElementById("toast-text").textContent), null, { timeout: 60000 });
    const begun = Date.now();
    await page.reload();
    await page.waitForSelector(".entry");
    ok("600 conversations open in a moment (under 3 s)", Date.now() - begun < 3000, Date.now() - begun);
    is("sixty are listed", await page.$$eval(".entry", (l) => l.length), 60);
    await page.click("text=Show 540 more");
    is("the others on demand", await page.$$eval(".entry", (l) => l.length), 600);
    await page.fill("#search", "question 77");
    await page.waitForFunction(() => document.querySelectorAll(".entry").length === 1);
    is("and found", await page.textContent(".entry"), "Number 77");
    await shut();
}

async function notStarted() {
    const mock = await new Mock().listen();
    mock.broken = true;
    const { page, shot, close } = await openBrowser();

    await page.goto(mock.url);
    await page.waitForTimeout(3000);
    ok("a page whose program did not load says so", await page.isVisible("#not-started"));
    await shot("not-started");
    mock.broken = false;
    await page.reload();
    await page.waitForSelector(".hello");
    is("and only such a one", await page.$$eval("#not-started", (l) => l.length), 0);
    await page.goto(`${mock.url}licences`);
    ok("the licences are shown", /markdown-it 15.*Permission is hereby granted.*temml 0/s.test(await page.textContent("body")));
    await shot("licences");
    await close();
    await mock.close();
}

// A build without npm: every library is an empty module.
async function plain() {
    const { page, mock, errors, shot, shut } = await open({ plain: true });

    await send(page, "echo Two **words** and $x$.\n```c\nint x = 1;\n```\nAfter <b>it</b>.");
    await idle(page);
    is("without its libraries a text is a text", await page.$$eval(".answer > .plain", (l) => l.map((p) => p.textContent).join("|")),
       "Two **words** and $x$.|After <b>it</b>.");
    ok("and code is code", await page.$$eval(".answer pre .hl-type", (l) => l.length) === 1);
    ok("the settings say how to get them", /make page/.test(await page.$eval("#plain-note", (n) => n.hidden ? "" : n.textContent)));
    await page.goto(`${mock.url}licences`);
    await shot("plain");
    is("nothing complained", errors.join("; "), "");
    await shut();
}

await steps([["attachments", attachments], ["system text", systemText], ["right to left", rightToLeft], ["endings", endings],
             ["many", many], ["not started", notStarted], ["plain", plain]]);
end();
