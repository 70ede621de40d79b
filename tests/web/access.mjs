// access.mjs - the pages for people who see little, hear the page or use keys alone: the rules of
// axe-core (contrast, names, roles, order of headings) in both looks, and the way of the focus.

import { readFileSync } from "node:fs";
import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

// What axe finds, in short: rule, how many, the first node.
async function faults(page) {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 120)} ${v.nodes[0].any[0]?.message || ""}`);
}

async function send(page, text) {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
    await page.waitForSelector("#send:not([hidden])");
}

async function chat() {
    for (const colorScheme of ["light", "dark"]) {
        const mock = await new Mock({ delay: 0 }).listen();
        const { page, close } = await openBrowser({ colorScheme });
        const look = async (what) => {
            const found = await faults(page);
            ok(`${what} (${colorScheme})`, found.length === 0, found);
        };

        await page.goto(mock.url);
        await page.waitForFunction(() => document.getElementById("model").textContent);
        await look("an empty chat has no fault");
        await send(page, "How does a hash table grow?");
        await page.click("article.assistant [aria-label='Answer again']");
        await page.waitForFunction(() => document.querySelector(".at")?.textContent === "2 / 2");
        await page.waitForSelector("#send:not([hidden])");
        await send(page, "echo Notes[^1], $x^2$ and <kbd>Esc</kbd> <mark>marked</mark>\n\n<details><summary>More</summary>\na\n</details>\n\n[^1]: One.");
        await send(page, "fail");
        await page.fill("#text", "a draft");
        await page.click("article.assistant .thinking summary");
        await page.mouse.move(0, 0);
        await page.waitForTimeout(300);
        await look("a conversation has none");
        for (const [button, name] of [["#settings-open", "the settings"], ["#about-open", "the sheet of the conversation"], ["#keys-open", "the keys"]]) {
            await page.click(button);
            await look(`no fault in ${name}`);
            await page.keyboard.press("Escape");
            is(`the focus comes back from ${name}`, await page.evaluate(() => `#${document.activeElement.id}`), button);
        }
        await page.goto(`${mock.url}licences`);
        await look("the licences have none");
        await close();
        await mock.close();
    }
}

async function dashboard() {
    for (const colorScheme of ["light", "dark"]) {
        const mock = await new Mock().listen();
        const { page, close } = await openBrowser({ colorScheme });

        await page.goto(`${mock.url}dashboard`);
        await page.waitForFunction(() => document.querySelector(".now b").textContent !== "–");
        await page.waitForTimeout(1500);
        const found = await faults(page);
        ok(`the dashboard has no fault (${colorScheme})`, found.length === 0, found);
        await close();
        await mock.close();
    }
}

async function motion() {
    const mock = await new Mock({ delay: 20 }).listen();
    const { page, close } = await openBrowser({ reducedMotion: "reduce" });

    await page.goto(mock.url);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    await page.fill("#text", "a long text");
    await page.press("#text", "Enter");
    await page.waitForSelector(".thinking.running");
    is("nothing moves for who wants it still", await page.evaluate(() => document.getAnimations().length), 0);
    await close();
    await mock.close();
}

await steps([["chat", chat], ["dashboard", dashboard], ["motion", motion]]);
end();
