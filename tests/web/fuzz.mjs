// fuzz.mjs - what the page reads from outside, at random: answers as Markdown with formulas and
// tags, and files of conversations. DS4_SEED gives the numbers of an earlier run.

import { Mock } from "./mock.mjs";
import { openBrowser, steps, ok, end } from "./browser.mjs";

const seed = Number(process.env.DS4_SEED) || Date.now() % 1000000;
const ROUNDS = 1500;

// In the page: a generator of numbers (mulberry32) and of texts from pieces.
function tools(start) {
    let state = start;
    const random = () => {
        state = (state + 0x6D2B79F5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const below = (n) => Math.floor(random() * n);
    window.fuzz = { random, below, pick: (list) => list[below(list.length)],
                    text: (pieces, most) => Array.from({ length: 1 + below(most) }, () => pieces[below(pieces.length)]).join("") };
}

const PIECES = ["a", "word ", " ", "\n", "\n\n", "    ", "\t", "- ", "1. ", "> ", "# ", "## ", "===\n", "---\n", "|", "|-|-|\n", "*", "**", "_", "~~", "`",
    "```", "```js\n", "[", "]", "(", ")", "![", "](javascript:x)", "](https://x.org)", "](data:text/html,x)", "<javascript:x>", "[a]: javascript:x\n",
    "[^1]", "[^1]: ", "^[", "<br>", "<sub>", "</sub>", "<sup>", "</sup>", "<details>\n", "<summary>", "</summary>", "</details>\n", "<img src=x onerror=y>",
    "<script>", "</script>", "<a href=javascript:x>", "<svg onload=x>", "&amp;", "&#x6a;", "&lt;", "\\", "\\\\", "$", "$$", "$$\n", "\\(", "\\)", "\\[", "\\]",
    "\\frac{", "}", "{", "x^2", "\\href{javascript:x}{y}", "\\includegraphics{x}", "\\begin{align}", "\\end{align}", "&", "\\def\\a{\\a\\a}\\a", "\\color{red}",
    "\\text{<b>}", "\\url{javascript:x}", "\\unicode{x202e}", "http://x.org/", "mailto:a@b.c", "javascript:x", "שלום ", "😀", "\u0000", "\ufeff", "\u202e", "\r\n"];

async function markdown(page) {
    const found = await page.evaluate(async ([pieces, rounds]) => {
        const { renderMarkdown } = await import("/assets/markdown.js");
        const allowed = new Set(("P BR EM STRONG DEL CODE PRE SPAN DIV A H3 H4 H5 H6 UL OL LI INPUT BLOCKQUOTE HR TABLE THEAD TBODY TR TH TD SUB SUP KBD MARK U " +
            "DETAILS SUMMARY SECTION BUTTON svg path").split(" "));
        const wrong = [];
        let   slowest = 0;

        for (let i = 0; i < rounds; i++) {
            const text = window.fuzz.text(pieces, 80), whole = document.createElement("div"), grown = document.createElement("div");
            const begun = performance.now();
            whole.className = grown.className = "answer";
            try {
                renderMarkdown(whole, text);
                slowest = Math.max(slowest, performance.now() - begun);
                if (i % 5 === 0) {
                    for (let n = 0; n < text.length; n += 1 + window.fuzz.below(30)) renderMarkdown(grown, text.slice(0, n));
                    renderMarkdown(grown, text);
                    if (grown.innerHTML !== whole.innerHTML) wrong.push(["grown", text]);
                }
            } catch (error) {
                wrong.push([error.message, text]);
            }
            for (const node of whole.querySelectorAll("*")) {
                const math = node.namespaceURI.endsWith("MathML") || node.closest("math");
                if (!math && !allowed.has(node.nodeName)) wrong.push([node.nodeName, text]);
                for (const { name, value } of node.attributes) {
                    const address = ["href", "src", "action", "formaction", "xlink:href"].includes(name);
                    if (name.startsWith("on") || (address && !/^(https?:|mailto:)/.test(value))) wrong.push([`${name}=${value}`, text]);
                }
            }
        }
        return { wrong: wrong.slice(0, 3), slowest: Math.round(slowest) };
    }, [PIECES, ROUNDS]);
    ok(`${ROUNDS} texts: known elements, safe addresses, the same grown and whole (seed ${seed})`, !found.wrong.length, found.wrong);
    ok("each within a second", found.slowest < 1000, found.slowest);
}

async function files(page) {
    const wrong = await page.evaluate(async (rounds) => {
        const { asJson, asMarkdown, fromJson } = await import("/assets/portable.js");
        const { pathTo, newestEnd, versionsOf } = await import("/assets/tree.js");
        const { pick, below } = window.fuzz, bad = [];
        const value = () => pick([null, 0, -1, 1e308, "", "x", "id", true, [], {}, [1], { text: "x" }, "user", "assistant", "tool", undefined]);
        const message = () => ({ id: pick(["a", "b", "c", "d", value()]), parent: pick([null, "a", "b", "c", "d", undefined, value()]), role: pick(["user", "assistant", "tool", value()]),
            content: pick(["text", value(), [{ text: "part" }, value()]]), files: pick([[], [{ name: "n", text: "t" }], value()]),
            calls: pick([[], [{ id: "i", name: "n", arguments: "{}" }], [null], value()]), at: pick([1, 2, value()]), stats: value(), finish: value(), error: value(),
            reasoning: value(), callId: value(), v: value() });
        const conversation = () => ({ id: value(), title: value(), leaf: pick(["a", "b", value()]), system: value(), updated: value(),
            messages: pick([value(), Array.from({ length: below(8) }, () => pick([message(), message(), message(), value()]))]) });

        for (let i = 0; i < rounds; i++) {
            const text = JSON.stringify(pick([{ format: "ds4-conversations", version: 1, conversations: Array.from({ length: 1 + below(3) }, conversation) },
                conversation(), Array.from({ length: 4 }, message), value()])) ?? "";
            let all;
            try {
                all = fromJson(below(20) ? text : text.slice(0, below(text.length)));
            } catch (error) {
                if (error.constructor !== Error) bad.push([String(error), text]);
                continue;
            }
            try {
                for (const { conversation: c, messages } of all) {
                    const map = new Map(messages.map((m) => [m.id, m])), path = pathTo(map, newestEnd(map, null));
                    if (typeof c.id !== "string" || !c.id || typeof c.title !== "string") bad.push(["conversation", text]);
                    for (const m of messages) {
                        versionsOf(map, m);
                        if (typeof m.content !== "string" || typeof m.id !== "string" || !Number.isFinite(m.at + m.v)) bad.push(["message", text]);
                    }
                    structuredClone(messages);
                    asMarkdown(c, path);
                    fromJson(asJson([{ ...c, messages }]));
                }
            } catch (error) {
                bad.push([String(error), text]);
            }
        }
        return bad.slice(0, 3);
    }, ROUNDS);
    ok(`${ROUNDS} files: refused in words, or read with every member of its type (seed ${seed})`, !wrong.length, wrong);
}

async function all() {
    const mock = await new Mock().listen();
    const { page, errors, close } = await openBrowser();

    await page.goto(mock.url);
    await page.evaluate(tools, seed);
    await markdown(page);
    await files(page);
    ok("nothing complained", !errors.length, errors);
    await close();
    await mock.close();
}

await steps([["fuzz", all]]);
end();
