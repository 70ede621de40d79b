// markdown.js - an answer as DOM nodes. markdown-it reads the text (CommonMark, with tables and
// footnotes); its tokens become nodes here, so nothing is ever parsed as HTML: text becomes text
// nodes, links get only addresses of known kinds, pictures become links. While an answer
// streams in, blocks that did not change keep their nodes.
//
// A program that was built without npm has no markdown-it: then code blocks are shown as such,
// and the rest as plain text.

import MarkdownIt from "./markdown-it.js";
import footnote from "./footnote.js";
import { el, copyButton } from "./dom.js";
import { formulaNode, formulas } from "./formula.js";
import { highlight, languageName } from "./highlight.js";
import { marks } from "./marks.js";

export const isPlain = MarkdownIt === null;

const DEEPEST = 60;             // of lists in quotes in lists; a deeper block is shown as text
const reader = isPlain ? null : makeReader();

function makeReader() {
    const md = new MarkdownIt({ html: false, linkify: true, breaks: true, maxNesting: DEEPEST + 20 });

    md.use(footnote).use(formulas).use(marks);
    md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
    // Every address is taken, so that what stands around one of a bad kind is not shown as it
    // was written; linkNode() decides what becomes a link.
    md.validateLink = () => true;
    return md;
}

// ---- what is inside a block ---------------------------------------------------------------

const SAFE = /^(?:https?:\/\/|mailto:)/i;

// The link to an address; null for an address of a kind that is not safe.
function linkNode(address) {
    return SAFE.test(address || "") ? el("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }) : null;
}

// A picture would be asked for at another host: its words lead there.
function imageNode(token) {
    const words = token.content || "picture", link = linkNode(token.attrGet("src"));
    link?.append(words);
    return link || words;
}

// Footnotes of one answer know each other by their place, since numbers repeat from answer to
// answer.
function footnoteLink(words, label, target) {
    return el("button.to-note", { type: "button", "aria-label": label, onclick: (event) => {
        const node = target(event.currentTarget.closest(".answer"));
        node?.scrollIntoView({ block: "center" });
        node?.focus({ preventScroll: true });
    } }, words);
}

const noteRef = ({ meta: { id } }) => el("sup", null, footnoteLink(
    `${id + 1}`, `Footnote ${id + 1}`, (answer) => answer.querySelectorAll(".footnotes > ol > li")[id]));
const noteBack = ({ meta: { id } }) => footnoteLink(
    "↩", "Back to the text", (answer) => answer.querySelectorAll("sup > .to-note")[id]);

function leafNode(token) {
    switch (token.type) {
    case "code_inline":     return el("code", { dir: "auto" }, token.content);
    case "softbreak":
    case "hardbreak":       return el("br");
    case "image":           return imageNode(token);
    case "formula":         return formulaNode(token);
    case "footnote_ref":    return noteRef(token);
    case "footnote_anchor": return noteBack(token);
    default:                return token.content;
    }
}

function fillInline(parent, tokens) {
    const open = [parent];

    for (const token of tokens) {
        const here = open.at(-1);
        if (token.nesting === 1) {
            const node = token.type === "link_open" ? linkNode(token.attrGet("href"))
                : el(token.tag === "s" ? "del" : token.tag);
            if (node) here.append(node);
            open.push(node || here);
        } else if (token.nesting === -1) {
            open.pop();
        } else if (token.type === "image" && open.some((node) => node.nodeName === "A")) {
            here.append(token.content);
        } else {
            here.append(leafNode(token));
        }
    }
}

// ---- blocks -------------------------------------------------------------------------------

export function codeBlock(text, language) {
    return el("div.code", { dir: "ltr" },
        el("div.code-head", null, el("span", null, languageName(language)),
           copyButton("Copy the code", () => text)),
        el("pre", { tabindex: "0" }, el("code", null, highlight(text, language))));
}

// "[ ] " and "[x] " at the beginning of an item.
function taskBox(words) {
    const first = words?.children?.[0], match = first?.type === "text" && first.content.match(/^\[([ xX])\]\s+/);

    if (!match) return null;
    first.content = first.content.slice(match[0].length);
    const done = match[1] !== " ";
    return el("input", { type: "checkbox", disabled: true, checked: done, "aria-label": done ? "done" : "open" });
}

const SIDES = { "text-align:left": "left", "text-align:center": "middle", "text-align:right": "right" };

function openNode(tokens, i) {
    const token = tokens[i];

    switch (token.type) {
    case "heading_open": {
        // The page has a heading for the answer (2): the highest of the text comes next, whatever
        // level it was written with.
        const level = Number(token.tag[1]), rank = level - token.meta.highest + 3;
        return el(`h${Math.min(level + 2, 6)}.h${level}`, { "aria-level": rank !== level + 2 && rank });
    }
    case "ordered_list_open":
        return el("ol", { start: token.attrGet("start") });
    case "list_item_open": {
        const box = tokens[i + 1]?.type === "paragraph_open" ? taskBox(tokens[i + 2]) : null;
        return box ? el("li.task", null, box) : el("li");
    }
    case "th_open":
    case "td_open": {
        const side = SIDES[token.attrGet("style")];
        return el(side ? `${token.tag}.${side}` : token.tag);
    }
    case "footnote_block_open": return el("section.footnotes", { "aria-label": "Footnotes" });
    case "footnote_open":       return el("li", { tabindex: "-1" });
    default:                    return el(token.tag);
    }
}

function leafBlock(token) {
    switch (token.type) {
    case "fence":           return codeBlock(token.content.replace(/\n$/, ""), token.info.trim().split(/\s/)[0]);
    case "code_block":      return codeBlock(token.content.replace(/\n$/, ""), "");
    case "formula_block":   return el("div.formulas", null, formulaNode(token));
    case "hr":              return el("hr");
    case "footnote_anchor": return leafNode(token);
    default:                return el("p", null, token.content);
    }
}

// The node of one block, from its tokens.
function blockNode(tokens) {
    const root = document.createDocumentFragment(), open = [root];

    for (let i = 0; i < tokens.length; i++) {
        const token = tokens[i];
        if (token.hidden) continue;
        if (token.type === "inline") {
            fillInline(open.at(-1), token.children);
        } else if (token.nesting === 1) {
            const node = openNode(tokens, i);
            open.at(-1).append(node);
            open.push(node);
        } else if (token.nesting === -1) {
            open.pop();
        } else {
            open.at(-1).append(leafBlock(token));
        }
    }
    return finished(root);
}

// What a block needs around it: tables scroll in a box, footnotes are a list.
function finished(root) {
    for (const table of root.querySelectorAll("table")) {
        const box = el("div.table", { tabindex: "0", role: "region", "aria-label": "Table" });
        table.replaceWith(box);
        box.append(table);
    }
    const notes = root.querySelector(".footnotes");
    if (notes) notes.append(el("ol", null, [...notes.childNodes]));
    const node = root.childNodes.length === 1 ? root.firstChild : el("div", null, root);
    if (!node.hasAttribute("dir")) node.dir = "auto";
    return node;
}

// ---- a whole text -------------------------------------------------------------------------

// [{ key, node() }]: blocks with the same key have the same nodes.
function readBlocks(text) {
    const env = {}, tokens = reader.parse(text, env), lines = text.split(/\r\n?|\n/);
    // A reference or a footnote that comes later changes blocks above it.
    const shared = JSON.stringify([env.references, Object.keys(env.footnotes?.refs || {})]);
    const headings = tokens.filter((token) => token.type === "heading_open");
    const highest = Math.min(...headings.map((token) => Number(token.tag[1])));
    const blocks = [];
    let   depth = 0, from = 0;

    for (const token of headings) token.meta = { highest };

    for (let i = 0; i < tokens.length; i++) {
        depth += tokens[i].nesting;
        if (depth > 0) continue;
        const inside = tokens.slice(from, i + 1), map = inside[0].map;
        const source = map ? lines.slice(...map).join("\n") : text;
        const deep = inside.some((token) => token.level >= DEEPEST);
        const rank = inside.some((token) => token.type === "heading_open") ? highest : "";
        blocks.push({ key: `${inside[0].type} ${rank} ${shared} ${source}`,
                      node: () => deep ? el("p.plain", { dir: "auto" }, source) : blockNode(inside) });
        from = i + 1;
    }
    return blocks;
}

// The little that is shown of the marks without markdown-it: every other part is a fence.
function readPlain(text) {
    return text.split(/^```/m).map((part, i) => {
        const [first, ...rest] = part.split("\n");
        return { key: `${i % 2} ${part}`, node: () => i % 2
            ? codeBlock(rest.join("\n").replace(/\n$/, ""), first.trim())
            : el("p.plain", { dir: "auto" }, part.trim()) };
    }).filter(({ key }) => key.slice(2).trim());
}

// Shows a text in a container that shows nothing else. Blocks that are as they were the last
// time keep their nodes, with what the user selected or scrolled there.
export function renderMarkdown(container, text) {
    const blocks = isPlain ? readPlain(text) : readBlocks(text);
    const before = container.ds4Keys || [];
    let   same = 0;

    while (same < blocks.length && same < before.length && blocks[same].key === before[same]) same++;
    while (container.childNodes.length > same) container.lastChild.remove();
    for (const block of blocks.slice(same)) container.append(block.node());
    container.ds4Keys = blocks.map((block) => block.key);
}
