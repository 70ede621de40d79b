// sidebar.js - the list of conversations: open, search, rename, delete.

import { el, iconButton } from "./dom.js";

const DAY = 86400000;

function period(time, today) {
    if (time >= today) return "Today";
    if (time >= today - DAY) return "Yesterday";
    if (time >= today - 7 * DAY) return "The last seven days";
    return new Date(time).toLocaleDateString("en", { month: "long", year: "numeric" });
}

export class Sidebar {
    // on: { open(id), rename(id, title), remove(id) }
    constructor(list, search, on) {
        this.list = list;
        this.search = search;
        this.on = on;
        search.addEventListener("input", () => this.show(this.conversations, this.openId, this.running));
    }

    // `running`: ids with an answer in progress.
    show(conversations, openId, running) {
        const wanted = this.search.value.trim().toLowerCase();
        const today = new Date().setHours(0, 0, 0, 0);
        let   group = null;

        this.conversations = conversations;
        this.openId = openId;
        this.running = running;
        if (this.list.querySelector("input")) return;       // one is being renamed
        this.list.replaceChildren();
        for (const c of conversations) {
            if (wanted && !c.title.toLowerCase().includes(wanted) &&
                !c.messages.some((m) => m.content.toLowerCase().includes(wanted))) continue;
            const name = period(c.updated, today);
            if (name !== group) this.list.append(el("h2", null, name));
            group = name;
            this.list.append(this.entry(c, c.id === openId, running.has(c.id)));
        }
        if (!group) this.list.append(el("p.none", null, wanted ? "Nothing found." : "Conversations appear here."));
    }

    entry(c, open, running) {
        const node = el(open ? "div.entry.open" : "div.entry", null,
            el("button.open-it", { type: "button", title: c.title, "aria-current": open && "true",
                                   onclick: () => this.on.open(c.id) }, c.title),
            running && el("span.running", { role: "img", "aria-label": "answering" }),
            iconButton("edit", `Rename ${c.title}`, () => this.rename(node, c)),
            iconButton("trash", `Delete ${c.title}`, () => this.on.remove(c.id)));
        return node;
    }

    rename(node, c) {
        const input = el("input", { value: c.title, "aria-label": "New name", maxlength: "200" });
        let   over = false;
        const finish = (keep) => {
            if (over) return;
            over = true;
            const title = input.value.trim();
            input.remove();
            if (keep && title) this.on.rename(c.id, title);
            else this.show(this.conversations, this.openId, this.running);
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
