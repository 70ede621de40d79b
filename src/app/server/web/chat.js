// chat.js - the chat page: what is shown, and what the buttons and keys do. Conversations are
// kept by library.js, answers asked for by answers.js, messages drawn by view.js.

import { Answers, closeCalls, resultMessages } from "./answers.js";
import { Composer } from "./composer.js";
import { count, el, fillIcons, say } from "./dom.js";
import { Follower } from "./follow.js";
import { Library } from "./library.js";
import { isPlain } from "./markdown.js";
import { asJson, asMarkdown, fileName, fromJson, MOST_BYTES, saveFile } from "./portable.js";
import { askKey, askYes, conversationDialog, keysDialog, parseTools, settingsDialog, toast } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { loadSettings, openStore, saveSettings } from "./store.js";
import { getJson } from "./stream.js";
import { Tabs } from "./tabs.js";
import { isPiece, newAnswer, newestEnd, newMessage, pathTo, resultsIn, versionsOf } from "./tree.js";
import { AnswerView, helloView, QuestionView } from "./view.js";

const byId = (id) => document.getElementById(id);
const app = byId("app"), log = byId("log"), messages = byId("messages");
const phone = matchMedia("(max-width: 760px)");

const settings = loadSettings();
const starting = new Map();             // by conversation id: messages that are about to be put
let   library, answers, tabs, composer, sidebar, follower, current;
let   views = new Map();                // by message, of the conversation that is shown
let   model = { id: "default", name: "", context: 0 };

// ---- the server's model -------------------------------------------------------------------

async function loadModel() {
    for (;;) {
        try {
            const list = await getJson("v1/models", settings.key);
            const first = list.data?.[0] || {};
            model = { id: first.id || "default", name: first.name || first.id || "",
                      context: first.context_length || 0 };
            byId("model").textContent = byId("model").title = model.name;
            if (current.messages && !current.messages.size) showMessages();
            showMeter();
            return;
        } catch (error) {
            if (error.status === 401 && !await renewKey()) return;
            if (error.status === 401) continue;
            byId("model").textContent = byId("model").title = error.status ? error.message : "no server";
            await new Promise((resolve) => setTimeout(resolve, 4000));
        }
    }
}

// Several requests may find the key wrong at once: they wait for one dialog.
let renewing = null;

function renewKey() {
    renewing ??= askKey(Boolean(settings.key)).then((key) => {
        renewing = null;
        if (key === null) return false;
        settings.key = key;
        saveSettings(settings);
        return true;
    });
    return renewing;
}

// ---- conversations ------------------------------------------------------------------------

const isBusy = (c) => answers.runs.has(c.id) || starting.has(c.id) || tabs.isBusy(c.id);

function showList() {
    library.list.sort((a, b) => b.updated - a.updated);
    sidebar.show(library.list, current.id, isBusy);
}

function showAddress() {
    history.replaceState(null, "", current.stored ? `#${current.id}` : location.pathname + location.search);
}

async function openConversation(conversation) {
    const touched = composer.touched;

    current = conversation;
    app.classList.remove("side-open");
    composer.show({ text: "", files: [] });
    showAddress();
    showList();
    if (conversation.messages) showAll();
    if (conversation.stored) await library.load(conversation);
    if (current !== conversation) return;
    showAll();
    follower.toEnd();
    if (!phone.matches) composer.focus();
    const draft = await library.draft(conversation);
    if (current === conversation && composer.touched === touched && composer.isEmpty) composer.show(draft);
}

function showAll() {
    showList();
    showMessages();
    showRunning();
}

const newChat = () => openConversation(library.fresh());

async function removeConversation(id) {
    const conversation = library.find(id);

    if (answers.of(conversation)) await answers.settle(conversation);
    const kept = await library.remove(conversation);
    if (current === conversation) newChat();
    else showList();
    toast("Deleted.", () => {
        library.undo(conversation, kept);
        openConversation(conversation);
    });
}

async function removeAll() {
    if (!await askYes("Delete all conversations? There is no way back.", "Delete all")) return;
    for (const run of answers.runs.values()) run.controller.abort();
    await library.clear();
    byId("settings").close();
    newChat();
}

// A conversation was deleted, here or in another tab; what is typed stays.
function leave(conversation) {
    if (conversation) answers.stop(conversation);
    if (conversation && current !== conversation) return showList();
    const { text, files } = composer;
    current = library.fresh();
    showAddress();
    showAll();
    composer.show({ text, files });
    return undefined;
}

function titleOf(content, files) {
    const line = content.trim().split("\n")[0].replace(/\s+/g, " ") || files[0]?.name || "";
    return line.length > 64 ? `${line.slice(0, 62).trimEnd()}…` : line;
}

// ---- what is shown ------------------------------------------------------------------------

function showTitle() {
    const title = current.leaf ? current.title : "";

    byId("title").textContent = title;
    if (title) byId("title").removeAttribute("role");
    else byId("title").setAttribute("role", "none");
    byId("export").hidden = !title;
    byId("about-open").classList.toggle("on", Boolean(current.system));
    document.title = title ? `${title} · ds4` : "ds4";
}

function versions(message) {
    const list = versionsOf(current.messages, message);
    return list.includes(message) ? { list, at: list.indexOf(message) } : { list: [message], at: 0 };
}

// What a view has to know of an answer beside the message itself.
function answerState(m, results, last) {
    const run = answers.of(current), mine = run?.message === m;
    const writing = mine || tabs.isWriting(m.id) || starting.get(current.id)?.at(-1) === m;
    const empty = !m.content && !m.reasoning && !m.calls.length;

    return { writing, results, last, versions: versions(m), reading: run?.reading,
             waits: run?.instead === m || (writing && (empty || (mine && run.goesOn && !run.firstAt))) };
}

// The branch that is shown, with what is about to be put.
function shownPath() {
    const next = starting.get(current.id) || [];
    return [...pathTo(current.messages, next.length ? next[0].parent : current.leaf), ...next];
}

// The nodes of all messages; those that are there already are used again.
function showMessages() {
    const path = shownPath(), results = resultsIn(path);
    const nodes = [], last = path.at(-1), old = views;

    views = new Map();
    for (const m of path) {
        if (m.role === "tool") continue;
        const view = old.get(m) || (m.role === "user"
            ? new QuestionView(m, { edit: onEdit, version: onVersion })
            : new AnswerView(m, { again: onAgain, goOn: onGoOn, results: onResults, version: onVersion }));
        views.set(m, view);
        view.update(m.role === "user" ? versions(m) : answerState(m, results, m === last));
        nodes.push(view.node);
    }
    if (!nodes.length) nodes.push(helloView(model.name, (idea) => send(idea, [])));
    messages.replaceChildren(...nodes);
    showTitle();
    showMeter();
}

function showRunning() {
    const busy = isBusy(current);

    byId("stop").hidden = !busy;
    byId("send").hidden = busy;
    composer.fit();
    showSpeed();
}

function showSpeed() {
    const run = answers.of(current);
    let   line = "", more = "";

    if (run?.firstAt && run.chunks > 1) {
        const speed = (run.chunks - 1) * 1000 / (performance.now() - run.firstAt);
        more = `${count(run.chunks)} tokens · `;
        line = `${speed < 10 ? speed.toFixed(1) : Math.round(speed)}/s`;
    } else if (run) {
        line = `${Math.round((performance.now() - run.started) / 1000)} s`;
    } else if (tabs.isBusy(current.id)) {
        line = "in another tab";
    }
    byId("status").replaceChildren(el("span.wide", null, more), line);
}

function showMeter() {
    const path = current.messages ? pathTo(current.messages, current.leaf) : [];
    const stats = path.findLast((m) => m.stats?.prompt)?.stats, run = answers.of(current);
    const used = (stats ? stats.prompt + (stats.generated || 0) : 0) + (run ? run.chunks : 0);
    const share = model.context ? Math.min(1, used / model.context) : 0;
    const meter = byId("meter");

    meter.hidden = !used || !model.context;
    meter.classList.toggle("full", share > 0.9);
    meter.querySelector(".used").style.strokeDasharray = `${share * 100} 100`;
    byId("meter-text").textContent = share < 0.01 ? "<1%" : `${Math.round(share * 100)}%`;
    meter.title = `${count(used)} of ${count(model.context)} tokens of context`;
    meter.setAttribute("aria-label", meter.title);
}

function showOptions() {
    let n = 0;
    try {
        n = parseTools(settings.tools).length;
    } catch { /* said in the settings */ }
    byId("thinking").value = settings.thinking;
    byId("thinking").closest(".pill").classList.toggle("on", settings.thinking !== "off");
    byId("tools-on").hidden = n === 0;
    byId("tools-count").textContent = n === 1 ? "1 tool" : `${n} tools`;
}

// Storing may fail for long: this stays until it works again.
function showFailure(error) {
    const full = error?.name === "QuotaExceededError";

    byId("alarm-text").textContent = full
        ? "This browser's storage is full: what is written now is lost when the page is closed. Delete conversations, or save this one as a file."
        : "This conversation could not be stored: it is lost when the page is closed. Save it as a file.";
    byId("alarm").hidden = false;
}

// ---- an answer ----------------------------------------------------------------------------

// Answers as they go tell the page; it draws at most once in a frame.
const answering = {
    began(run) {
        if (run.conversation !== current) return showList();
        showAll();
        follower.toEnd();
        return undefined;
    },
    grew(run) {
        if (run.drawing) return;
        run.drawing = true;
        requestAnimationFrame(() => {
            run.drawing = false;
            if (current !== run.conversation || answers.of(current) !== run) return;
            const shown = run.instead || run.message;
            const path = pathTo(current.messages, current.leaf);
            views.get(shown)?.update(answerState(shown, resultsIn(path), path.at(-1) === shown));
            showSpeed();
            showMeter();
        });
    },
    ended(run) {
        if (current !== run.conversation) return showList();
        showAll();
        const m = run.message;
        say(m.error || (m.calls.length ? "A tool is called" : "The answer is complete"));
        return undefined;
    },
    renewKey,
    modelId: () => model.id,
    wrongTools: () => toast("The tools of the settings are left out: they are no valid list."),
};

// Puts messages after what this tab knows and asks for the answer to the last. Another tab may
// have written meanwhile: its words come first, and while it gets an answer nothing is put.
// Resolves to whether it was done.
async function ask(conversation, makeMessages, fields = {}, options = {}) {
    if (isBusy(conversation)) return false;
    const { leaf } = conversation, first = makeMessages();
    const answer = newAnswer(conversation, first.at(-1).id, settings.thinking);

    starting.set(conversation.id, [...first, answer]);
    showAll();
    follower.toEnd();
    try {
        return await tabs.alone(conversation.id, async () => {
            await library.load(conversation);
            if (await isAnsweredElsewhere(conversation)) return false;
            const added = conversation.leaf === leaf ? first : makeMessages();
            answer.parent = added.at(-1).id;
            for (const m of added) conversation.messages.set(m.id, m);
            const kept = library.keep(conversation, { updated: Date.now(), leaf: answer.parent, ...fields }, added, options);
            starting.delete(conversation.id);
            answers.answer(conversation, answer);
            await Promise.all([kept, answers.of(conversation)?.kept]);
            return true;
        });
    } finally {
        starting.delete(conversation.id);
        if (current === conversation) showAll();
    }
}

// An unfinished answer at the end belongs to a tab that says so, or to none.
async function isAnsweredElsewhere(conversation) {
    const last = conversation.messages.get(conversation.leaf);

    if (last && isPiece(last)) await new Promise((resolve) => setTimeout(resolve, 50));
    return tabs.isBusy(conversation.id);
}

async function send(text, files) {
    const conversation = current, isFirst = !conversation.named && conversation.leaf === null;

    if (isBusy(conversation)) return;
    composer.show({ text: "", files: [] });
    const done = await ask(conversation, () => {
        const closed = closeCalls(conversation);
        return [...closed, newMessage(conversation, closed.at(-1)?.id ?? conversation.leaf, { role: "user", content: text, files })];
    }, isFirst ? { title: titleOf(text, files) } : {}, { dropDraft: true });
    if (!done) {
        toast("Another tab is getting an answer: it comes first.");
        if (current === conversation && composer.isEmpty) composer.show({ text, files });
        return;
    }
    if (current === conversation) showAddress();
    navigator.storage?.persist?.();             // so that the browser does not clear it away
}

async function onEdit(message, text) {
    const conversation = current, isFirst = !conversation.named && message.parent === null;

    await answers.settle(conversation);
    await ask(conversation, () => [newMessage(conversation, message.parent,
                                              { role: "user", content: text, files: message.files || [] })],
              isFirst ? { title: titleOf(text, message.files || []) } : {});
}

const onAgain = (message) => answers.again(current, message);
const onGoOn = (message) => answers.goOn(current, message);

function onResults(message, texts) {
    ask(current, () => resultMessages(current, message.id, message.calls.map((call, i) => [call.id, texts[i]])));
}

// Shows another version of a message, with the newest of what followed it.
function onVersion(message) {
    const at = messages.children.length && views.get(pathTo(current.messages, current.leaf).find((m) =>
        m.parent === message.parent && m.role === message.role))?.node.getBoundingClientRect().top;

    follower.following = false;
    library.keep(current, { leaf: newestEnd(current.messages, message.id) });
    showAll();
    const node = views.get(message)?.node;
    if (!node) return;
    log.scrollTop += node.getBoundingClientRect().top - at;
    node.querySelector(".versions button:enabled")?.focus({ preventScroll: true });
}

function stop() {
    if (answers.of(current)) answers.stop(current);
    else if (tabs.isBusy(current.id)) tabs.say("stop", { id: current.id });
}

// ---- files --------------------------------------------------------------------------------

function saveMarkdown() {
    saveFile(`${fileName(current.title)}.md`, "text/markdown", asMarkdown(current, pathTo(current.messages, current.leaf)));
}

async function saveJson(conversations, name) {
    saveFile(`${name}.json`, "application/json", asJson(await conversations));
}

async function loadFile(file) {
    try {
        if (file.size > MOST_BYTES) throw new Error("This file is larger than 64 MiB.");
        const all = fromJson(await file.text());
        const first = await library.restore(...all);
        byId("settings").close();
        await openConversation(first);
        toast(all.length === 1 ? "One conversation was read." : `${all.length} conversations were read.`);
    } catch (error) {
        toast(error.message);
    }
}

// ---- the page -----------------------------------------------------------------------------

function makeComposer() {
    composer = new Composer(
        { form: byId("composer"), text: byId("text"), files: byId("files"), send: byId("send"), attach: byId("attach"),
          input: byId("attach-file"), place: document.querySelector(".main") },
        { send, refused: toast, changed: (text, files) => library.keepDraft(current, text, files).then(showAddress) });
    byId("stop").addEventListener("click", () => {
        stop();
        composer.focus();
    });
    byId("thinking").addEventListener("change", (event) => {
        settings.thinking = event.target.value;
        saveSettings(settings);
        showOptions();
    });
}

function makeSidebar() {
    sidebar = new Sidebar(byId("list"), byId("search"), {
        open: (id) => openConversation(library.find(id)),
        rename(id, title) {
            library.keep(library.find(id), { title, named: true });
            showList();
            showTitle();
        },
        remove: removeConversation,
        find: (words) => library.store.find(words),
    });
}

const toggleSide = () => app.classList.toggle(phone.matches ? "side-open" : "folded");

// The conversation `step` places further down the list.
function openNext(step) {
    const at = library.list.indexOf(current);
    const next = library.list[at < 0 ? 0 : at + step];
    if (next) openConversation(next);
}

function makeDialogs() {
    const dialog = settingsDialog(settings, {
        changed: showOptions, deleteAll: removeAll, load: loadFile,
        saveAll: () => saveJson(library.everything(), "conversations"),
    });
    const about = conversationDialog({
        changed(system) {
            if (current.stored) library.keep(current, { system });
            else current.system = system;
            showTitle();
        },
        markdown: saveMarkdown,
        json: () => saveJson(Promise.all([library.whole(current)]), fileName(current.title)),
    });
    byId("settings-open").addEventListener("click", () => dialog.open());
    byId("about-open").addEventListener("click", () => about.open({
        system: current.system, isEmpty: !current.leaf, inSettings: settings.system }));
    return { keys: keysDialog() };
}

function wirePage() {
    const { keys } = makeDialogs();

    for (const id of ["new", "new-small"]) byId(id).addEventListener("click", newChat);
    for (const id of ["side-open", "side-close", "veil"]) byId(id).addEventListener("click", toggleSide);
    byId("theme").addEventListener("click", () => window.ds4Theme.toggle());
    byId("export").addEventListener("click", saveMarkdown);
    byId("keys-open").addEventListener("click", () => keys.open());
    byId("alarm-close").addEventListener("click", () => { byId("alarm").hidden = true; });
    document.addEventListener("keydown", (event) => {
        const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName), held = event.ctrlKey || event.metaKey;
        if (document.querySelector("dialog[open]")) return;
        if (event.key === "Escape" && app.classList.contains("side-open")) app.classList.remove("side-open");
        else if (event.key === "Escape") stop();
        else if (event.altKey && event.code === "KeyN") newChat();
        else if (event.altKey && event.key === "ArrowDown") openNext(1);
        else if (event.altKey && event.key === "ArrowUp") openNext(-1);
        else if (held && !event.shiftKey && event.code === "KeyK") findInList();
        else if (event.key === "/" && !typing && !held) composer.focus();
        else if (event.key === "?" && !typing && !held) keys.open();
        else return;
        event.preventDefault();
    });
    addEventListener("pagehide", () => answers.keepAll());
    addEventListener("hashchange", () => {
        const named = library.find(location.hash.slice(1));
        if (named && named !== current) openConversation(named);
    });
    addEventListener("storage", (event) => {
        if (event.key === "ds4.settings") Object.assign(settings, loadSettings());
        showOptions();
    });
}

function findInList() {
    app.classList.remove("folded");
    if (phone.matches) app.classList.add("side-open");
    byId("search").focus();
}

// ---- beginning ----------------------------------------------------------------------------

async function begin() {
    fillIcons();
    const store = await openStore({ blocked: () => toast("Please close the other tabs of this page: they have an older version.") });
    if (!store.lasting) byId("kept").textContent = "not kept: this browser does not allow it";
    library = new Library(store, {
        changed(conversation) {
            if (conversation === current) showAll();
            else showList();
        },
        removed: leave,
        failed: showFailure,
        kept: () => { byId("alarm").hidden = true; },
        isOwn: (message) => answers.isWriting(message),
    });
    answers = new Answers(library, settings, answering);
    tabs = new Tabs({
        changed: (id) => library.refresh(id),
        removed: (id) => library.refresh(id),
        async cleared() {
            for (const run of answers.runs.values()) run.controller.abort();
            await library.begin();
            leave(null);
        },
        stop(id) {
            const run = answers.runs.get(id);
            if (run) run.controller.abort();
        },
        writing: () => answers.writing(),
    });
    library.connect(tabs);
    await library.begin();
    current = library.fresh();
    makeComposer();
    makeSidebar();
    follower = new Follower(log, messages, byId("jump"));
    wirePage();
    showOptions();
    openConversation(library.find(location.hash.slice(1)) || current);
    byId("plain-note").hidden = !isPlain;
    byId("not-started").remove();
    loadModel();
}

begin();
