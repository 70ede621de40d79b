// browser.mjs - one headless Chromium with an empty profile, and TAP lines.

import { chromium } from "playwright-core";
import { mkdtempSync, rmSync, mkdirSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser",
                  "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const SHOTS = process.env.DS4_SHOTS || "";      // a folder for screenshots

export const browserPath = BROWSERS.find((path) => path && existsSync(path));

// A new browser with nothing in it. `errors` collects what the page complains of: exceptions,
// and whatever the content policy blocked.
export async function openBrowser(options = {}) {
    const profile = mkdtempSync(join(tmpdir(), "ds4-web-"));
    const context = await chromium.launchPersistentContext(profile, {
        executablePath: browserPath, args: FLAGS, headless: true, locale: "en-US",
        viewport: { width: 1280, height: 860 }, ...options,
    });
    const page = context.pages()[0] || await context.newPage();
    const errors = [];

    page.setDefaultTimeout(15000);
    page.on("pageerror", (error) => errors.push(`exception: ${error.message}`));
    page.on("console", (message) => {
        if (message.type() === "error" && !/status of (4|5)\d\d|ERR_/.test(message.text())) errors.push(message.text());
    });
    return {
        page, errors, context,
        async shot(name) {
            if (!SHOTS) return;
            mkdirSync(SHOTS, { recursive: true });
            await page.screenshot({ path: join(SHOTS, `${name}.png`) });
        },
        async close() {
            await context.close();
            rmSync(profile, { recursive: true, force: true });
        },
    };
}

let n = 0, failed = 0;

export function ok(name, condition, found) {
    n++;
    if (!condition) failed++;
    console.log(`${condition ? "ok" : "not ok"} ${n} - ${name}`);
    if (!condition && found !== undefined) console.log(`# found: ${JSON.stringify(found)}`);
}

export const is = (name, found, expected) => ok(name, found === expected, found);

// Runs named steps; one that throws is a failure, and the next one goes on. DS4_STEP names one
// to run alone.
export async function steps(list) {
    for (const [name, step] of list) {
        if (process.env.DS4_STEP && process.env.DS4_STEP !== name) continue;
        try {
            await step();
        } catch (error) {
            ok(`${name}: ${error.message.split("\n").slice(0, 3).join(" ")}`, false);
        }
    }
}

export function finish() {
    console.log(`1..${n}`);
    process.exitCode = failed ? 1 : 0;
}

// The end of one file of tests: of the whole program, unless all.mjs runs them all.
export function end() {
    if (process.env.DS4_WEB_ALL) return;
    finish();
    process.exit();
}
