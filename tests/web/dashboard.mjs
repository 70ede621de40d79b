// dashboard.mjs - the dashboard against the scripted server.

import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, is, end } from "./browser.mjs";

async function open(options = {}, mockOptions = {}) {
    const mock = await new Mock(mockOptions).listen();
    const browser = await openBrowser(options);
    await browser.page.goto(`${mock.url}dashboard`);
    return { ...browser, mock, async shut() { await browser.close(); await mock.close(); } };
}

// Points of a canvas that differ from its first one: something is drawn there.
const inked = (page) => page.$$eval("canvas", (all) => all.map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
    return n;
}));

async function live() {
    const { page, errors, shot, shut } = await open({ colorScheme: "light" });

    await page.waitForFunction(() => document.querySelector(".now b").textContent !== "–");
    is("the model is named", await page.textContent("#name"), "DeepSeek V4 Flash");
    ok("with its facts", /86\.7 GB · 32,768 tokens of context · CPU, 16 threads · up for 1 d 2 h/.test(
        await page.textContent("#facts")), await page.textContent("#facts"));
    is("six plots", await page.$$eval("canvas", (l) => l.length), 6);
    await page.waitForSelector("#waits td.number");
    is("times are told from the histograms", await page.$$eval("#waits td", (l) => l.map((n) => n.textContent).join()),
       "Request to first token,0.2 s,1.3 s,100 since the start");
    const first = await page.textContent(".now b");
    await page.waitForTimeout(9000);
    is("those of what is shown, once there are two readings", await page.$$eval("#waits td", (l) => l.map((n) => n.textContent).join()),
       "Request to first token,50 ms,95 ms,10");
    ok("the numbers move", await page.textContent(".now b") !== first);
    ok("the plots are drawn", (await inked(page)).every((n) => n > 500), await inked(page));
    is("the sessions are listed", await page.$$eval("#slots tr", (l) => l.length), 4);
    ok("one reads its prompt", /reading, \d+%/.test(await page.textContent("#slots")));
    ok("totals are there", /Requests814/.test(await page.textContent("#totals")));
    await page.hover("canvas", { position: { x: 360, y: 70 } });
    await shot("dashboard");
    await page.click("#theme");
    await page.waitForTimeout(1200);
    await shot("dashboard-dark");
    await page.selectOption("#range", "600");
    await page.waitForTimeout(100);
    is("nothing complained", errors.join("; "), "");
    await shut();
}

async function little() {
    const { page, mock, shut, shot } = await open({}, { key: "secret" });

    await page.waitForSelector("#ask-key[open]");
    await page.fill("#ask-key input", "secret");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".now b").textContent !== "–");
    ok("a key opens it", true);
    mock.stats = () => ({ version: "0.1.0", speed: { decode_tps: 0 } });
    await page.waitForFunction(() => document.getElementById("slots").textContent === "no data");
    is("what is missing says so", await page.$$eval(".now span", (l) => l.filter((s) => /^no /.test(s.textContent)).length), 5);
    ok("without a folder it says how to have one", await page.isVisible(".hint code") && !await page.isVisible("canvas[aria-label^=Conversations]"));
    await mock.close();
    await page.waitForSelector("#banner:not([hidden])");
    ok("a server that is gone is named", /cannot be reached/.test(await page.textContent("#banner")));
    await shot("dashboard-gone");
    await shut();
}

async function phone() {
    const { page, shut, shot } = await open({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true,
                                              deviceScaleFactor: 2 });

    await page.waitForFunction(() => document.querySelector(".now b").textContent !== "–");
    await page.waitForTimeout(4000);
    is("nothing is wider than the screen", await page.evaluate(() => document.documentElement.scrollWidth), 390);
    is("nor a table than its card", await page.$$eval(".table", (l) => l.filter((t) => t.scrollWidth > t.clientWidth).length), 0);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await shot("dashboard-phone");
    await shut();
}

await steps([["live", live], ["little", little], ["phone", phone]]);
end();
