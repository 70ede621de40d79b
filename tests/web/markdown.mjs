// markdown.mjs - what texts become: rendered by the page's own module in the browser, written
// back as HTML to be compared.

import { Mock } from "./mock.mjs";
import { openBrowser, ok, is, end } from "./browser.mjs";

// [name, text, HTML without the furniture of code blocks]
const CASES = [
    ["paragraphs", "a\n\nb\nc", "<p>a</p><p>b<br>c</p>"],
    ["emphasis", "*a* **b** ***c*** __d__ _e_", "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <strong>d</strong> <em>e</em></p>"],
    ["no emphasis inside words", "snake_case_name 2*3*4 a * b", "<p>snake_case_name 2<em>3</em>4 a * b</p>"],
    ["emphasis across", "*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"],
    ["unpaired marks", "**a and *b", "<p>**a and *b</p>"],
    ["struck out", "~~a~~ ~b~", "<p><del>a</del> ~b~</p>"],
    ["code", "`a*b*` ``c`d``", "<p><code>a*b*</code> <code>c`d</code></p>"],
    ["unclosed code", "`a and ``b`` end", "<p>`a and <code>b</code> end</p>"],
    ["escapes", "\\*a\\* \\<", "<p>*a* &lt;</p>"],
    ["markup is text", "<b>a</b> &amp;", "<p>&lt;b&gt;a&lt;/b&gt; &amp;amp;</p>"],
    ["headings", "# a\n## b ##\n#c", '<h3 class="h1">a</h3><h4 class="h2">b</h4><p>#c</p>'],
    ["a rule", "a\n\n---\n***", "<p>a</p><hr><hr>"],
    ["a list", "- a\n- b\n  - c\n- d", "<ul><li><span>a</span></li><li><span>b</span><ul><li><span>c</span></li></ul></li><li><span>d</span></li></ul>"],
    ["a numbered list", "3. a\n4. b", '<ol start="3"><li><span>a</span></li><li><span>b</span></li></ol>'],
    ["a nested list with two columns", "1. a\n  - b\n2. c", "<ol><li><span>a</span><ul><li><span>b</span></li></ul></li><li><span>c</span></li></ol>"],
    ["a loose list", "- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
    ["list after text", "x:\n- a\ny", "<p>x:</p><ul><li><span>a<br>y</span></li></ul>"],
    ["a year is no list", "It was in\n1999. Then", "<p>It was in<br>1999. Then</p>"],
    ["a quote", "> a\n> > b\n\nc", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>"],
    ["a table", "|a|b|\n|-|:-:|\n|`x|y`|\\||", "<table><thead><tr><th class=\"left\">a</th><th class=\"middle\">b</th></tr></thead><tbody><tr><td class=\"left\"><code>x|y</code></td><td class=\"middle\">|</td></tr></tbody></table>"],
    ["code in a list", "1. a\n   ```c\n   int x;\n   ```\n2. b", "<ol><li><span>a</span><pre>int x;</pre></li><li><span>b</span></li></ol>"],
    ["fences in fences", "````\n```\na\n```\n````", "<pre>```\na\n```</pre>"],
    ["an open fence", "```py\nx = 1\n", "<pre>x = 1\n</pre>"],
    ["tabs in code", "```make\nall:\n\tcc\n```", "<pre>all:\n\tcc</pre>"],
    ["links", "[a *b*](https://x.org/y \"t\")", '<p><a href="https://x.org/y">a <em>b</em></a></p>'],
    ["links with brackets", "[a](https://x.org/y_(z))", '<p><a href="https://x.org/y_(z)">a</a></p>'],
    ["bare addresses", "see https://x.org/a_b_c. (http://y.org)", '<p>see <a href="https://x.org/a_b_c">https://x.org/a_b_c</a>. (<a href="http://y.org">http://y.org</a>)</p>'],
    ["other kinds of address", "[a](javascript:alert(1)) [b](file:///etc) [c](/x)", "<p>a b c</p>"],
    ["pictures are links", "![a](https://x.org/p.png)", '<p><a href="https://x.org/p.png">a</a></p>'],
    ["formulas", "\\(a_1 * b_1 \\le c\\) and\n\n$$\nx\n$$", '<p><span class="math">a_1 * b_1 ≤ c</span> and</p><pre class="math">$$\nx\n$$</pre>'],
    ["tasks", "- [ ] a\n- [x] b", '<ul><li class="task">☐<span>a</span></li><li class="task">☑<span>b</span></li></ul>'],
    ["nothing", "", ""],
];

function strip(root) {
    for (const code of root.querySelectorAll(".code")) {
        const pre = document.createElement("pre");
        pre.textContent = code.querySelector("pre").textContent;
        code.replaceWith(pre);
    }
    for (const box of root.querySelectorAll("div.table")) box.replaceWith(box.firstChild);
    for (const box of root.querySelectorAll("input")) box.replaceWith(box.checked ? "☑" : "☐");
    for (const node of root.querySelectorAll("*")) {
        for (const name of ["target", "rel", "tabindex"]) node.removeAttribute(name);
    }
    return root.innerHTML;
}

const mock = await new Mock().listen();
const { page, errors, close } = await openBrowser();
await page.goto(mock.url);
await page.evaluate(`window.strip = ${strip}`);

const render = (text) => page.evaluate(async (source) => {
    const { renderMarkdown } = await import("/assets/markdown.js");
    const box = document.createElement("div");
    renderMarkdown(box, source);
    return window.strip(box);
}, text);

for (const [name, text, html] of CASES) is(`markdown: ${name}`, await render(text), html);

// In pieces it has to become the same as at once, with the blocks before kept.
const same = await page.evaluate(async (source) => {
    const { renderMarkdown } = await import("/assets/markdown.js");
    const whole = document.createElement("div"), grown = document.createElement("div");
    let   kept = 0, first = null;
    renderMarkdown(whole, source);
    for (let n = 1; n <= source.length; n++) {
        renderMarkdown(grown, source.slice(0, n));
        if (n === 200) first = grown.firstChild;
        if (n > 200 && grown.firstChild === first) kept++;
    }
    return { equal: whole.innerHTML === grown.innerHTML, kept, wanted: source.length - 200 };
}, (await import("node:fs")).readFileSync(new URL("./sample.md", import.meta.url), "utf8"));
ok("markdown: a text that grows ends as the whole one", same.equal);
is("markdown: what is finished keeps its nodes", same.kept, same.wanted);

// Texts made to be slow: each has to be done in a moment.
for (const [name, text] of [["stars", "*a ".repeat(20000)], ["closers", "a* ".repeat(20000)],
                            ["brackets", "[".repeat(50000)], ["links", "[a](".repeat(10000)],
                            ["backticks", Array.from({ length: 300 }, (_, i) => "`".repeat(i + 1)).join("a")],
                            ["quotes", ">".repeat(20000)], ["lists", "- ".repeat(10000)],
                            ["nested lists", Array.from({ length: 500 }, (_, i) => `${"  ".repeat(i)}- a`).join("\n")],
                            ["pipes", "|".repeat(20000)], ["tables", "|a".repeat(3000) + "\n" + "|-".repeat(3000)],
                            ["code", "```c\n" + "/*\"'".repeat(12000)], ["html", "```html\n" + "<a ".repeat(15000)],
                            ["json", "```json\n" + "{\"".repeat(25000)], ["words", "```py\n" + "\"\"\"".repeat(15000)]]) {
    const ms = await page.evaluate(async (source) => {
        const { renderMarkdown } = await import("/assets/markdown.js");
        const begun = performance.now();
        renderMarkdown(document.createElement("div"), source);
        return Math.round(performance.now() - begun);
    }, text);
    ok(`markdown: ${name} take no time (under 2 s)`, ms < 2000, ms);
}
is("markdown: nothing complained", errors.join("; "), "");
await close();
await mock.close();
end();
