// store.js - conversations in this browser's IndexedDB, and settings in its local storage.
// Nothing of them leaves the browser but the messages that go to the server for an answer.
//
// All tabs share the database, so no write may lose what another tab wrote: a message is a row
// of its own, and a row of a conversation is merged with what is there, in one transaction.
//
//   conversations   { id, title, named, created, updated, system, leaf, draft }
//   messages        { id, conversation, parent, at, v, role, ... }, see tree.js
//   drafts          { id (of the conversation), text, files }

const DATABASE = "ds4", VERSION = 2;
const ALL = ["conversations", "messages", "drafts"];

const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});
const completed = (transaction) => new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error || new Error("the storage gave up"));
});

export function newId() {
    const random = crypto.getRandomValues(new Uint32Array(3));
    return Array.from(random, (n) => n.toString(36)).join("");
}

// ---- opening ------------------------------------------------------------------------------

// Version 1 kept the messages of a conversation as a list inside of it.
function splitConversations(transaction) {
    const messages = transaction.objectStore("messages");

    transaction.objectStore("conversations").openCursor().onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor) return;
        const { messages: list, ...conversation } = cursor.value;
        let   parent = null;
        for (const message of Array.isArray(list) ? list : []) {
            const id = newId();
            messages.put({ ...message, id, conversation: conversation.id, parent, v: 1, at: conversation.updated });
            parent = id;
        }
        cursor.update({ ...conversation, leaf: parent });
        cursor.continue();
    };
}

function upgrade({ target: { result: database, transaction }, oldVersion }) {
    if (oldVersion < 1) database.createObjectStore("conversations", { keyPath: "id" });
    if (oldVersion < 2) {
        database.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
        database.createObjectStore("drafts", { keyPath: "id" });
        splitConversations(transaction);
    }
}

// on: { blocked() } - a tab with an older page keeps the database from being opened.
export async function openStore(on) {
    try {
        const request = indexedDB.open(DATABASE, VERSION);
        request.onupgradeneeded = upgrade;
        request.onblocked = on.blocked;
        const database = await done(request);
        database.onversionchange = () => database.close();
        return new Store(database);
    } catch {
        return new MemoryStore();
    }
}

// ---- the database -------------------------------------------------------------------------

class Store {
    lasting = true;

    constructor(database) {
        this.database = database;
    }

    begin(mode = "readonly") {
        const transaction = this.database.transaction(ALL, mode);
        const [conversations, messages, drafts] = ALL.map((name) => transaction.objectStore(name));
        const end = completed(transaction);
        end.catch(() => {});                    // who needs it awaits it
        return { conversations, messages, drafts, end };
    }

    async conversations() {
        return done(this.begin().conversations.getAll());
    }

    async conversation(id) {
        return done(this.begin().conversations.get(id));
    }

    async messages(id) {
        return done(this.begin().messages.index("conversation").getAll(id));
    }

    async draft(id) {
        return done(this.begin().drafts.get(id));
    }

    // The ids of the conversations in which a message has the words, in any case of letters.
    async find(words) {
        const found = new Set(), wanted = words.toLowerCase();
        let   after = null;

        for (;;) {
            const rows = await done(this.begin().messages.getAll(after && IDBKeyRange.lowerBound(after, true), 500));
            for (const row of rows) {
                if (!found.has(row.conversation) && row.content.toLowerCase().includes(wanted)) found.add(row.conversation);
            }
            if (rows.length < 500) return found;
            after = rows.at(-1).id;
        }
    }

    // Merges `fields` into a conversation and puts messages, which the caller has copied and
    // counted up (v). `isNew`: the conversation may not be there yet; otherwise, one that is
    // not there was deleted elsewhere, and stays so.
    //
    // Resolves to { gone } or { moved }: [[id, new id]] of messages that another tab had
    // written since they were read here. Those are put beside the other's, as branches.
    async save(fields, rows, { isNew = false, dropDraft = false } = {}) {
        const { conversations, messages, drafts, end } = this.begin("readwrite");
        const known = await done(conversations.get(fields.id));
        const moved = [];

        if (!known && !isNew) {
            await end;
            return { gone: true, moved };
        }
        conversations.put({ ...known, ...fields });
        for (const row of rows) {
            const there = await done(messages.get(row.id));
            if (there && there.v >= row.v) moved.push([row.id, newId()]);
            messages.put(there && there.v >= row.v ? { ...row, id: moved.at(-1)[1] } : row);
        }
        if (dropDraft) drafts.delete(fields.id);
        await end;
        return { gone: false, moved };
    }

    async saveDraft(draft) {
        const { drafts, end } = this.begin("readwrite");
        if (draft.text || draft.files.length) drafts.put(draft);
        else drafts.delete(draft.id);
        await end;
    }

    // Resolves to what was there, for restore().
    async remove(id) {
        const { conversations, messages, drafts, end } = this.begin("readwrite");
        const kept = { conversation: await done(conversations.get(id)), draft: await done(drafts.get(id)),
                       messages: await done(messages.index("conversation").getAll(id)) };

        conversations.delete(id);
        drafts.delete(id);
        for (const row of kept.messages) messages.delete(row.id);
        await end;
        return kept;
    }

    // Puts what is not there yet.
    async restore({ conversation, messages: rows, draft }) {
        const { conversations, messages, drafts, end } = this.begin("readwrite");
        if (!await done(conversations.get(conversation.id))) conversations.put(conversation);
        if (draft) drafts.put(draft);
        for (const row of rows) {
            if (!await done(messages.get(row.id))) messages.put(row);
        }
        await end;
    }

    async clear() {
        const { conversations, messages, drafts, end } = this.begin("readwrite");
        for (const rows of [conversations, messages, drafts]) rows.clear();
        await end;
    }
}

// What a private window or a blocked storage leaves: this page's memory.
class MemoryStore {
    lasting = false;
    all = new Map();
    rows = new Map();
    drafts = new Map();

    async conversations() { return [...this.all.values()]; }
    async conversation(id) { return this.all.get(id); }
    async messages(id) { return [...this.rows.values()].filter((row) => row.conversation === id); }
    async draft(id) { return this.drafts.get(id); }
    async find(words) {
        const rows = [...this.rows.values()].filter((row) => row.content.toLowerCase().includes(words.toLowerCase()));
        return new Set(rows.map((row) => row.conversation));
    }
    async save(fields, rows, { dropDraft = false } = {}) {
        this.all.set(fields.id, { ...this.all.get(fields.id), ...fields });
        for (const row of rows) this.rows.set(row.id, row);
        if (dropDraft) this.drafts.delete(fields.id);
        return { gone: false, moved: [] };
    }
    async saveDraft(draft) { this.drafts.set(draft.id, draft); }
    async remove(id) {
        const kept = { conversation: this.all.get(id), messages: await this.messages(id), draft: this.drafts.get(id) };
        this.all.delete(id);
        this.drafts.delete(id);
        for (const row of kept.messages) this.rows.delete(row.id);
        return kept;
    }
    async restore({ conversation, messages, draft }) {
        await this.save(conversation, messages);
        if (draft) this.drafts.set(draft.id, draft);
    }
    async clear() {
        for (const map of [this.all, this.rows, this.drafts]) map.clear();
    }
}

// ---- settings -----------------------------------------------------------------------------

// Empty strings mean: as the server does it.
const DEFAULTS = {
    key: "", system: "", thinking: "on", temperature: "", top_p: "", top_k: "", min_p: "",
    max_tokens: "", seed: "", tools: "",
};

export function loadSettings() {
    try {
        return { ...DEFAULTS, ...JSON.parse(localStorage.getItem("ds4.settings") || "{}") };
    } catch {
        return { ...DEFAULTS };
    }
}

export function saveSettings(settings) {
    try {
        localStorage.setItem("ds4.settings", JSON.stringify(settings));
    } catch { /* they hold until the page is closed */ }
}
