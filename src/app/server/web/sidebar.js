// sidebar.js - the list of conversations: open, search, rename, delete.

import { el, iconButton } from "./dom.js";

const DAY = 86400000;
const AT_ONCE = 60;             // entries before "Show more": each is three stops of the Tab key

function period(time, today) {
    if (time >= today) return "Today";
    if (time >= today - DAY) return "Yesterday";
    if (time >= today - 7 * DAY) return "The last seven days";
    return new Date(time).toLocaleDateString("en", { month: "long", year: "numeric" });
}

const isDraft = (c) => c.leaf === null && Boolean(c.draft);
const nameOf = (c) => isDraft(c) && !c.named ? c.draft : c.title;

export class Sidebar {
    // on: { open(id), rename(id, title), remove(id), find(words): resolves to a Set of ids }
    constructor(list, search, on) {
        this.list = list;
        this.search = search;
        this.on = on;
        this.most = AT_ONCE;
        this.found = new Set();                 // conversations with the words in a message
        search.addEventListener("input", () => this.find());
        search.addEventListener("keydown", (event) => {
            if (event.key === "Enter") list.querySelector(".open-it")?.click();
            if (event.key !== "Escape" || !search.value) return;
            event.stopPropagation();
            search.value = "";
            this.find();
        });
    }

    // Titles at once, texts when they have been read.
    async find() {
        const words = this.search.value.trim();

        this.most = AT_ONCE;
        this.found = new Set();
        this.again();
        if (!words) return;
        const found = await this.on.find(words);
        if (words !== this.search.value.trim()) return;
        this.found = found;
        this.again();
    }

    again() {
        this.show(this.conversations, this.openId, this.isBusy);
    }

    // isBusy(conversation): an answer of it is in progress.
    show(conversations, openId, isBusy) {
        const words = this.search.value.trim().toLowerCase(), today = new Date().setHours(0, 0, 0, 0);
        const wanted = conversations.filter((c) => !words || nameOf(c).toLowerCase().includes(words) || this.found.has(c.id));
        const focus = this.list.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
        let   group = null;

        Object.assign(this, { conversations, openId, isBusy });
        if (this.list.querySelector("input")) return;       // one is being renamed
        this.list.replaceChildren();
        for (const c of wanted.slice(0, this.most)) {
            const name = period(c.updated, today);
            if (name !== group) this.list.append(el("h2", null, name));
            group = name;
            this.list.append(this.entry(c));
        }
        if (!group) this.list.append(el("p.none", null, words ? "Nothing found." : "Conversations appear here."));
        if (wanted.length > this.most) this.list.append(this.moreButton(wanted.length - this.most));
        if (focus) [...this.list.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focus)?.focus();
    }

    moreButton(n) {
        return el("button.more", { type: "button", onclick: () => {
            this.most += 10 * AT_ONCE;
            this.again();
        } }, `Show ${n} more`);
    }

    entry(c) {
        const open = c.id === this.openId, name = nameOf(c);
        const node = el(open ? "div.entry.open" : "div.entry", null,
            el("button.open-it", { type: "button", title: name, dir: "auto", "aria-current": open && "true",
                                   onclick: () => this.on.open(c.id) }, name),
            c.draft && !open && el("span.draft", { title: "A text that was not sent" }, "draft"),
            this.isBusy(c) && el("span.running", { role: "img", "aria-label": "answering" }),
            iconButton("edit", `Rename ${name}`, () => this.rename(node, c)),
            iconButton("trash", `Delete ${name}`, () => this.on.remove(c.id)));
        return node;
    }

    rename(node, c) {
        const input = el("input", { value: nameOf(c), "aria-label": "New name", maxlength: "200", dir: "auto" });
        let   over = false;
        const finish = (keep) => {
            if (over) return;
            over = true;
            const title = input.value.trim();
            input.remove();
            if (keep && title) this.on.rename(c.id, title);
            else this.again();
        };

        node.replaceChildren(input);
        input.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && !event.isComposing) finish(true);
            if (event.key === "Escape") {
                event.stopPropagation();
                finish(false);
            }
        });
        input.addEventListener("blur", () => finish(true));
        input.focus();
        input.select();
    }
}
