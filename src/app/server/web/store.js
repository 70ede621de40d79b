// store.js - conversations and settings in this browser; nothing of them leaves it but the
// messages that go to the server for an answer.

const DATABASE = "ds4", STORE = "conversations";

const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});

function open() {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    return done(request);
}

// What a private window or a blocked storage leaves: this page's memory.
function inMemory() {
    const all = new Map();
    return {
        lasting: false,
        list: async () => [...all.values()],
        put: async (conversation) => { all.set(conversation.id, conversation); },
        remove: async (id) => { all.delete(id); },
        clear: async () => { all.clear(); },
    };
}

export async function openStore() {
    let database;
    try {
        database = await open();
    } catch {
        return inMemory();
    }
    const on = (mode) => database.transaction(STORE, mode).objectStore(STORE);
    return {
        lasting: true,
        list: () => done(on("readonly").getAll()),
        put: (conversation) => done(on("readwrite").put(conversation)),
        remove: (id) => done(on("readwrite").delete(id)),
        clear: () => done(on("readwrite").clear()),
    };
}

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

export function newId() {
    const random = crypto.getRandomValues(new Uint32Array(3));
    return Array.from(random, (n) => n.toString(36)).join("");
}
