// library.js - the conversations of this browser as this tab knows them: read from the store,
// merged with what other tabs write, kept with every change.
//
// In memory a conversation also has `messages` (a Map by id, null until it is opened), `stored`,
// and `drops` (how often its draft was sent). `leaf` is the last message of the branch that this
// tab shows.

import { newId } from "./store.js";
import { newestEnd } from "./tree.js";

const FIELDS = ["id", "title", "named", "created", "updated", "system", "leaf", "draft"];
const fieldsOf = (c) => Object.fromEntries(FIELDS.map((name) => [name, c[name]]));

export class Library {
    // on: { changed(conversation), removed(conversation), failed(error), kept(), isOwn(message) }
    //     isOwn: an answer that this tab is writing, which no store knows better.
    constructor(store, on) {
        this.store = store;
        this.on = on;
        this.list = [];
        this.unsaved = new Map();               // messages that could not be stored, with their conversation
        this.drafts = new Map();                // by id: the draft to write next, while one is being written
    }

    connect(tabs) {
        this.tabs = tabs;
    }

    async begin() {
        this.list = (await this.store.conversations()).map((row) => this.adopt(row));
    }

    adopt(row) {
        return { title: "New chat", named: false, created: 0, updated: 0, system: null, leaf: null, draft: "",
                 ...row, messages: null, stored: true };
    }

    fresh() {
        const now = Date.now();
        return { id: newId(), title: "New chat", named: false, created: now, updated: now, system: null,
                 leaf: null, draft: "", messages: new Map(), stored: false };
    }

    find(id) {
        return this.list.find((c) => c.id === id);
    }

    // ---- reading --------------------------------------------------------------------------

    // Reads what is stored of a conversation over what is known here. Messages keep their
    // identity, and the branch that is shown here goes on to its end.
    async load(c) {
        if (!c.stored) return;
        const rows = await this.store.messages(c.id);

        c.messages ??= new Map();
        for (const row of rows) {
            const known = c.messages.get(row.id);
            if (!known) c.messages.set(row.id, row);
            else if (!this.on.isOwn(known) && row.v >= known.v) Object.assign(known, row);
        }
        c.leaf = newestEnd(c.messages, c.messages.has(c.leaf) ? c.leaf : null);
    }

    // Another tab wrote something.
    async refresh(id) {
        const row = await this.store.conversation(id);
        const c = this.find(id);

        if (!row) return c ? this.forget(c) : undefined;
        if (!c) {
            this.list.push(this.adopt(row));
        } else {
            const { leaf, ...fields } = row;
            Object.assign(c, fields, c.messages ? {} : { leaf });
            if (c.messages) await this.load(c);
        }
        this.on.changed(this.find(id));
        return undefined;
    }

    forget(c) {
        c.stored = false;
        this.list = this.list.filter((other) => other !== c);
        this.on.removed(c);
    }

    // ---- writing --------------------------------------------------------------------------

    // Changes fields of a conversation and keeps them, with messages that are new or changed.
    async keep(c, fields = {}, messages = [], { dropDraft = false, ended = [] } = {}) {
        const isNew = !c.stored, late = [...this.unsaved].filter(([, of]) => of === c).map(([m]) => m);
        const all = [...new Set([...messages, ...late])];

        Object.assign(c, fields, dropDraft ? { draft: "" } : {});
        for (const m of messages) c.messages.set(m.id, m);
        c.stored = true;
        if (!this.list.includes(c)) this.list.push(c);
        if (dropDraft) {
            this.drafts.delete(c.id);
            c.drops = (c.drops || 0) + 1;
            fields = { ...fields, draft: "" };
        }
        const rows = all.map((m) => ({ ...structuredClone(m), v: ++m.v }));
        try {
            const { gone, moved } = await this.store.save(isNew ? fieldsOf(c) : { id: c.id, ...fields }, rows,
                                                          { isNew, dropDraft });
            if (gone) return this.forget(c);
            for (const [id, now] of moved) this.rename(c, id, now);
            for (const m of all) this.unsaved.delete(m);
            if (!this.unsaved.size) this.on.kept();
        } catch (error) {
            for (const m of all) this.unsaved.set(m, c);
            this.on.failed(error);
        }
        this.tabs.say("changed", { id: c.id, writing: all.filter(this.on.isOwn).map((m) => ({ message: m.id, conversation: c.id })),
                                   ended });
        return undefined;
    }

    // A message of this tab became a branch of its own beside another tab's.
    rename(c, id, now) {
        const m = c.messages.get(id);

        c.messages.delete(id);
        m.id = now;
        c.messages.set(now, m);
        for (const child of c.messages.values()) {
            if (child.parent === id && this.on.isOwn(child)) child.parent = now;
        }
        if (c.leaf === id) c.leaf = now;
    }

    // ---- drafts ---------------------------------------------------------------------------

    // Keeps what is typed and not sent. Writes follow each other, the last text wins.
    async keepDraft(c, text, files) {
        const first = text.trim().split("\n")[0].slice(0, 80) || files[0]?.name || "", { drops } = c;

        if (!first && !c.stored) return;
        const waiting = this.drafts.has(c.id);
        this.drafts.set(c.id, { id: c.id, text, files });
        if (waiting) return;
        while (this.drafts.has(c.id)) {
            const draft = this.drafts.get(c.id);
            try {
                await this.store.saveDraft(draft);
            } catch (error) {
                this.on.failed(error);
            }
            if (this.drafts.get(c.id) === draft) this.drafts.delete(c.id);
        }
        if (c.draft === first || c.drops !== drops) return;         // nothing new, or sent meanwhile
        if (!first && !c.messages.size) await this.remove(c);
        else await this.keep(c, { draft: first });
        this.on.changed(c);
    }

    // Resolves to { text, files }.
    async draft(c) {
        const waiting = this.drafts.get(c.id);
        return waiting || (c.stored && await this.store.draft(c.id)) || { text: "", files: [] };
    }

    // ---- removing -------------------------------------------------------------------------

    // Resolves to what undo() takes.
    async remove(c) {
        this.list = this.list.filter((other) => other !== c);
        c.stored = false;
        const kept = await this.store.remove(c.id);
        this.tabs.say("removed", { id: c.id });
        return kept;
    }

    // Takes back remove(): at once here, and in the store.
    async undo(c, kept) {
        c.stored = true;
        this.list.push(c);
        await this.store.restore(kept);
        this.tabs.say("changed", { id: c.id });
    }

    // Puts conversations that are not there, and messages that known ones lack. Resolves to
    // the first of them.
    async restore(...all) {
        for (const kept of all) {
            await this.store.restore(kept);
            await this.refresh(kept.conversation.id);
            this.tabs.say("changed", { id: kept.conversation.id });
        }
        return this.find(all[0].conversation.id);
    }

    async clear() {
        for (const c of this.list) c.stored = false;
        this.list = [];
        this.unsaved.clear();
        await this.store.clear();
        this.tabs.say("cleared", {});
    }

    // Everything, for a file.
    async everything() {
        return Promise.all(this.list.map((c) => this.whole(c)));
    }

    async whole(c) {
        return { ...fieldsOf(c), messages: c.messages ? [...c.messages.values()] : await this.store.messages(c.id) };
    }
}
