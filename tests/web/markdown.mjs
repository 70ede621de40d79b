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
    ["markup is text", "<b>a</b> <img src=x>", "<p>&lt;b&gt;a&lt;/b&gt; &lt;img src=x&gt;</p>"],
    ["entities", "&amp; &lt;b&gt; &copy; &#65; &nosuch;", "<p>&amp; &lt;b&gt; © A &amp;nosuch;</p>"],
    ["a line break", "a<br>b<br/>c\n\n|a|\n|-|\n|x<br>y|", "<p>a<br>b<br>c</p><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>x<br>y</td></tr></tbody></table>"],
    ["sub and sup", "H<sub>2</sub>O, x<sup>*n*</sup>, <kbd>Esc</kbd>, <sub>open", "<p>H<sub>2</sub>O, x<sup><em>n</em></sup>, <kbd>Esc</kbd>, &lt;sub&gt;open</p>"],
    ["tags with attributes are text", "<sub onclick=x>a</sub>", "<p>&lt;sub onclick=x&gt;a&lt;/sub&gt;</p>"],
    ["details", "<details><summary>More *x*</summary>\n\nhidden\n\n- a\n</details>\n\nafter", "<details><summary>More <em>x</em></summary><p>hidden</p><ul><li>a</li></ul></details><p>after</p>"],
    ["details in details", "<details>\n<details>\na\n</details>\nb\n</details>\nc", "<details><summary>Details</summary><details><summary>Details</summary><p>a</p></details><p>b</p></details><p>c</p>"],
    ["headings", "# a\n## b ##\n#c", '<h3 class="h1">a</h3><h4 class="h2">b</h4><p>#c</p>'],
    ["underlined headings", "a\n===\n\nb\n---", '<h3 class="h1">a</h3><h4 class="h2">b</h4>'],
    ["a rule", "a\n\n---\n***", "<p>a</p><hr><hr>"],
    ["a list", "- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"],
    ["a numbered list", "3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
    ["a nested list", "1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"],
    ["a loose list", "- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
    ["list after text", "x:\n- a\ny", "<p>x:</p><ul><li>a<br>y</li></ul>"],
    ["a year is no list", "It was in\n1999. Then", "<p>It was in<br>1999. Then</p>"],
    ["a quote", "> a\n> > b\n\nc", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>"],
    ["a table", "|a|b|c|\n|:-|:-:|-:|\n|`x`|\\||y|", '<table><thead><tr><th class="left">a</th><th class="middle">b</th><th class="right">c</th></tr></thead><tbody><tr><td class="left"><code>x</code></td><td class="middle">|</td><td class="right">y</td></tr></tbody></table>'],
    ["indented code", "a\n\n    b\n      c\n\nd", "<p>a</p><pre>b\n  c</pre><p>d</p>"],
    ["code in a list", "1. a\n   ```c\n   int x;\n   ```\n2. b", "<ol><li>a<pre>int x;</pre></li><li>b</li></ol>"],
    ["fences in fences", "````\n```\na\n```\n````", "<pre>```\na\n```</pre>"],
    ["an open fence", "```py\nx = 1\n", "<pre>x = 1</pre>"],
    ["tabs in code", "```make\nall:\n\tcc\n```", "<pre>all:\n\tcc</pre>"],
    ["links", "[a *b*](https://x.org/y \"t\")", '<p><a href="https://x.org/y">a <em>b</em></a></p>'],
    ["links with brackets", "[a](https://x.org/y_(z))", '<p><a href="https://x.org/y_(z)">a</a></p>'],
    ["references", "[a][r] and [r]\n\n[r]: https://x.org/r", '<p><a href="https://x.org/r">a</a> and <a href="https://x.org/r">r</a></p>'],
    ["bare addresses", "see https://x.org/a_b_c. (http://y.org) <https://z.org>", '<p>see <a href="https://x.org/a_b_c">https://x.org/a_b_c</a>. (<a href="http://y.org">http://y.org</a>) <a href="https://z.org">https://z.org</a></p>'],
    ["other kinds of address", "[a](javascript:alert(1)) [b](file:///etc) [c](/x) [d](JaVaScRiPt:x) [e](data:text/html,x) [f](&#106;avascript:x)", "<p>a b c d e f</p>"],
    ["references of other kinds", "[a][r] <javascript:x>\n\n[r]: javascript:x", "<p>a javascript:x</p>"],
    ["pictures are links", "![a](https://x.org/p.png) [![b](https://x.org/p.png)](https://x.org)", '<p><a href="https://x.org/p.png">a</a> <a href="https://x.org">b</a></p>'],
    ["footnotes", "a[^1] b[^n]\n\n[^1]: One.\n[^n]: Two.", '<p>a<sup><button class="to-note" type="button" aria-label="Footnote 1">1</button></sup> b<sup><button class="to-note" type="button" aria-label="Footnote 2">2</button></sup></p><section class="footnotes" aria-label="Footnotes"><ol><li><p>One.<button class="to-note" type="button" aria-label="Back to the text">↩</button></p></li><li><p>Two.<button class="to-note" type="button" aria-label="Back to the text">↩</button></p></li></ol></section>'],
    ["tasks", "- [ ] a\n- [x] b", '<ul><li class="task">☐a</li><li class="task">☑b</li></ul>'],
    ["prices are no formulas", "It costs $5, or $10 and $20 for two.", "<p>It costs $5, or $10 and $20 for two.</p>"],
    ["an escaped dollar", "\\$a$ and $ b $", "<p>$a$ and $ b $</p>"],
    ["a formula in code", "`$a$`\n\n```\n$$b$$\n```", "<p><code>$a$</code></p><pre>$$b$$</pre>"],
    ["a wrong formula", "$\\nosuch{a}$", '<p><code class="source">$\\nosuch{a}$</code></p>'],
    ["nothing", "", ""],
];

// [name, text, how many formulas, selectors of what must be in them, what must not be left]
const FORMULAS = [
    ["dollars", "The area is $A = \\pi r^2$.", 1, ["math msup"], "$"],
    ["brackets", "By \\(a^2 + b^2 = c^2\\) and \\[x\\]", 2, ["math msup", "math[display=block]"], "\\"],
    ["lines of its own", "$$\n\\int_0^1 \\frac{x^2}{2}\\,dx = \\frac{1}{6}\n$$", 1, ["math[display=block] mfrac", "math msubsup"], "$"],
    ["one line", "$$\\int_0^1 x\\,dx$$", 1, ["math[display=block]"], "$"],
    ["two dollars in a text", "so $$x^2$$ holds", 1, ["math[display=block]"], "$"],
    ["an environment", "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}", 1, ["math mtable"], "begin"],
    ["a matrix", "$\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}$", 1, ["math mtr + mtr"], "$"],
    ["a table cell", "|a|\n|-|\n|$x_1$|", 1, ["td math msub"], "$"],
    ["a list", "1. one\n\n   $$\n   x\n   $$\n2. two", 1, ["li math[display=block]", "li + li"], "$"],
    ["stars", "$a * b * c$ and *d*", 1, ["math", "em"], "$"],
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
        for (const name of ["target", "rel", "tabindex", "dir"]) node.removeAttribute(name);
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

// The value of an expression about `box`, in which a text is shown.
const look = (text, expression) => page.evaluate(`(async () => {
    const { renderMarkdown } = await import("/assets/markdown.js");
    const box = document.createElement("div");
    box.className = "answer";
    document.body.append(box);
    renderMarkdown(box, ${JSON.stringify(text)});
    const found = ${expression};
    box.remove();
    return found;
})()`);

for (const [name, text, n, inside, left] of FORMULAS) {
    const found = await look(text, `[box.querySelectorAll("math").length, ${JSON.stringify(inside)}.filter((s) => !box.querySelector(s)).join(), box.textContent]`);
    ok(`formula: ${name}`, found[0] === n && !found[1] && !found[2].includes(left), found);
}
is("a formula cannot run or load anything", await look(
    "$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://x.org/p.png}$ $\\class{a}{b}$ $\\htmlId{a}{b}$ $\\style{x}{y}$",
    'box.querySelectorAll("a, img, [id], [onclick], [href], [src]").length'), 0);
is("nor take all the time", await look("$\\def\\a{\\b\\b}\\def\\b{\\c\\c}\\def\\c{\\a\\a}\\a$", 'box.querySelectorAll("math").length'), 0);

const sides = (text) => look(text, '[...box.querySelectorAll("p, li, blockquote, ul, ol, h3, td, pre")].map((n) => n.tagName + " " + getComputedStyle(n).direction).join()');
is("Hebrew runs from the right", await sides("מה שלומך היום? English, 123.\n\n- רשימה ראשונה\n\n> ציטוט קצר\n\n# כותרת\n\n|א|\n|-|\n|ב|"),
   "P rtl,UL rtl,LI rtl,BLOCKQUOTE rtl,P rtl,H3 rtl,TD rtl");
is("Arabic too, beside English, and code from the left", await sides("مرحبا\n\nHello\n\n```\nمرحبا\n```"), "P rtl,P ltr,PRE ltr");
is("a bar and a bullet stand on the right", await look("> ציטוט", 'getComputedStyle(box.firstChild).borderRightWidth + " " + getComputedStyle(box.firstChild).borderLeftWidth'), "3px 0px");
is("a block that is too deep is text", await look("> ".repeat(200) + "the end", 'box.textContent.includes("the end")'), true);

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
                            ["pipes", "|".repeat(20000)], ["dollars", "$a ".repeat(30000)], ["double dollars", "$$a ".repeat(30000)],
                            ["formula brackets", "\\(a ".repeat(30000)], ["open tags", "<sub>".repeat(20000)], ["details", "<details>\n".repeat(5000)],
                            ["footnotes", "[^a]".repeat(10000) + "\n\n[^a]: x"], ["addresses", "http://".repeat(8000)],
                            ["lines of dollars", "$$\na\n".repeat(10000)], ["backslashes", "\\".repeat(40000) + "$"], ["tables", "|a".repeat(3000) + "\n" + "|-".repeat(3000)],
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
