// settings.js - the dialogs: settings, one conversation, the API key, "are you sure", and the
// line at the bottom.

import { saveSettings } from "./store.js";

const byId = (id) => document.getElementById(id);

// The tools of the settings as the API wants them: bare functions get their wrapping. Throws
// with a sentence for the user.
export function parseTools(text) {
    if (!text.trim()) return [];
    let list;
    try {
        list = JSON.parse(text);
    } catch (error) {
        throw new Error(`This is no JSON: ${error.message}`);
    }
    if (!Array.isArray(list)) throw new Error("Expected a list: [ ... ]");
    return list.map((entry, i) => {
        const tool = entry?.function ? entry : { type: "function", function: entry };
        if (typeof tool.function?.name !== "string") throw new Error(`Entry ${i + 1} has no name.`);
        return tool;
    });
}

// A click beside a dialog closes it.
function closeBeside(dialog) {
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog) dialog.close();
    });
}

// on: { changed(), deleteAll(), saveAll(), load(file) }
export function settingsDialog(settings, on) {
    const dialog = byId("settings"), form = byId("settings-form");
    const names = ["system", "temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "tools", "key"];

    const read = () => {
        for (const name of names) {
            const field = form.elements[name];
            if (field.checkValidity()) settings[name] = field.value;
        }
        saveSettings(settings);
        try {
            parseTools(settings.tools);
            byId("tools-wrong").textContent = "";
        } catch (error) {
            byId("tools-wrong").textContent = error.message;
        }
        on.changed();
    };
    form.addEventListener("input", (event) => {
        if (event.target.name === "theme") window.ds4Theme.set(event.target.value);
        else read();
    });
    // A wrong number must not keep the dialog open: it is not taken over.
    form.noValidate = true;
    closeBeside(dialog);
    byId("delete-all").addEventListener("click", on.deleteAll);
    byId("save-all").addEventListener("click", on.saveAll);
    byId("load").addEventListener("click", () => byId("load-file").click());
    byId("load-file").addEventListener("change", async (event) => {
        if (event.target.files[0]) await on.load(event.target.files[0]);
        event.target.value = "";
    });
    return {
        open() {
            for (const name of names) form.elements[name].value = settings[name];
            form.elements.theme.value = window.ds4Theme.get();
            dialog.showModal();
        },
    };
}

// The dialog of one conversation: its system text, and saving it.
// on: { changed(text or null), markdown(), json() }
export function conversationDialog(on) {
    const dialog = byId("conversation"), field = byId("conversation-form").elements.system;

    field.addEventListener("input", () => on.changed(field.value.trim() ? field.value : null));
    byId("save-markdown").addEventListener("click", on.markdown);
    byId("save-json").addEventListener("click", on.json);
    closeBeside(dialog);
    return {
        open({ system, isEmpty, inSettings }) {
            field.value = system ?? "";
            field.placeholder = inSettings.trim() || "What the model should know or be, in this conversation";
            byId("save-markdown").disabled = byId("save-json").disabled = isEmpty;
            dialog.showModal();
        },
    };
}

export function keysDialog() {
    const dialog = byId("keys");

    closeBeside(dialog);
    return { open: () => dialog.showModal() };
}

// Resolves to the key, or null when the user does not give one. `wrong`: one was refused.
export function askKey(wrong) {
    const dialog = byId("ask-key"), form = byId("ask-key-form");

    byId("ask-key-wrong").hidden = !wrong;
    return new Promise((resolve) => {
        let key = null;
        form.elements.key.value = "";
        form.onsubmit = () => { key = form.elements.key.value.trim(); };
        byId("ask-key-cancel").onclick = () => dialog.close();
        dialog.onclose = () => resolve(key);
        if (!dialog.open) dialog.showModal();
    });
}

export function askYes(text, yes) {
    const dialog = byId("ask");

    byId("ask-text").textContent = text;
    byId("ask-yes").textContent = yes;
    return new Promise((resolve) => {
        dialog.returnValue = "no";
        dialog.onclose = () => resolve(dialog.returnValue === "yes");
        dialog.showModal();
    });
}

let hiding = 0;

// A line at the bottom for a while, with a way back if `undo` is given.
export function toast(text, undo) {
    const box = byId("toast"), button = byId("toast-button");

    byId("toast-text").textContent = text;
    button.hidden = !undo;
    button.onclick = () => {
        box.hidden = true;
        undo();
    };
    box.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => { box.hidden = true; }, undo ? 8000 : 4000);
}
