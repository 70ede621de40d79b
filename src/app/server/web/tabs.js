// tabs.js - what the tabs of this page tell each other. The database holds the words; this says
// when to look, and which answers are being written in another tab.
//
// An answer that is not finished is either written somewhere or interrupted. Who writes one says
// so with each piece that is stored, and again when somebody asks; a tab that says goodbye, or
// that has been silent for long, writes no more.

const SILENT_MS = 90000;        // browsers wake the timers of a hidden tab once a minute

export class Tabs {
    // on: { changed(id), removed(id), cleared(), stop(id), settings() } from other tabs;
    //     writing(): [{ message, conversation }] of this one.
    constructor(on) {
        this.on = on;
        this.elsewhere = new Map();             // by message: { conversation, heard }
        if (typeof BroadcastChannel === "undefined") return;
        this.channel = new BroadcastChannel("ds4");
        this.channel.onmessage = ({ data }) => this.hear(data);
        this.say("who", {});
    }

    say(kind, data) {
        this.channel?.postMessage({ kind, ...data });
    }

    hear({ kind, id, writing = [], ended = [] }) {
        const before = this.elsewhere.size;

        for (const { message, conversation } of writing) this.elsewhere.set(message, { conversation, heard: Date.now() });
        for (const message of ended) this.elsewhere.delete(message);
        if (kind === "who") {
            const here = this.on.writing();
            if (here.length) this.say("writing", { writing: here });
        } else if (kind === "writing") {
            if (this.elsewhere.size !== before) {
                for (const conversation of new Set(writing.map((w) => w.conversation))) this.on.changed(conversation);
            }
        } else {
            this.on[kind]?.(id);
        }
    }

    isWriting(message) {
        const known = this.elsewhere.get(message);
        return Boolean(known) && Date.now() - known.heard < SILENT_MS;
    }

    // Runs an action while no other tab runs one for the same name. Plain addresses of a network,
    // where browsers have no locks, do without: the store keeps what two tabs write at once.
    alone(name, action) {
        return navigator.locks ? navigator.locks.request(`ds4-${name}`, action) : action();
    }

    // Whether another tab writes an answer of the conversation.
    isBusy(conversation) {
        return [...this.elsewhere].some(([message, known]) => known.conversation === conversation && this.isWriting(message));
    }
}
