// composer.js - the field in which a question is written, and the files that go with it.

import { el, icon, iconButton, bytes } from "./dom.js";
import { readFile } from "./files.js";

const LONG_PASTE = 50000;       // characters; more would make the field slow, and goes along as a file

export class Composer {
    // nodes: { form, text, files, send, attach, input (of files), place (for drops) }
    // on: { send(text, files), changed(text, files), refused(sentence) }
    constructor(nodes, on) {
        this.nodes = nodes;
        this.on = on;
        this.files = [];
        this.touched = 0;                       // rises with each change by the user
        this.wireText();
        this.wireFiles();
        this.fit();
    }

    get text() {
        return this.nodes.text.value;
    }

    get isEmpty() {
        return !this.text.trim() && !this.files.length;
    }

    // Shows a draft; nobody is told.
    show({ text, files }) {
        this.nodes.text.value = text;
        this.files = files;
        this.showFiles();
        this.fit();
    }

    focus() {
        this.nodes.text.focus();
    }

    change() {
        this.touched++;
        this.fit();
        this.on.changed(this.text, this.files);
    }

    fit() {
        const { text, send } = this.nodes;
        text.style.height = "auto";
        text.style.height = `${text.scrollHeight}px`;
        send.disabled = this.isEmpty;
    }

    wireText() {
        const { form, text } = this.nodes;

        form.addEventListener("submit", (event) => {
            event.preventDefault();
            if (!this.isEmpty) this.on.send(text.value.trim(), this.files);
        });
        text.addEventListener("input", () => this.change());
        text.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            form.requestSubmit();
        });
    }

    // ---- files ----------------------------------------------------------------------------

    showFiles() {
        const { files } = this.nodes;

        files.hidden = !this.files.length;
        files.replaceChildren(...this.files.map((file) => el("li", null,
            icon("file"), el("bdi.name", null, file.name), el("span.size", null, bytes(file.text.length)),
            iconButton("close", `Remove ${file.name}`, () => {
                this.files = this.files.filter((other) => other !== file);
                this.showFiles();
                this.change();
                this.focus();
            }))));
    }

    // Attaches those that are text; says why another one is not.
    async attach(list) {
        for (const file of list) {
            try {
                this.files = [...this.files, await readFile(file, this.files)];
            } catch (error) {
                this.on.refused(error.message);
            }
        }
        this.showFiles();
        this.change();
        this.focus();
    }

    wireFiles() {
        const { text, attach, input, place } = this.nodes;
        const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

        attach.addEventListener("click", () => input.click());
        input.addEventListener("change", async () => {
            await this.attach([...input.files]);
            input.value = "";
        });
        text.addEventListener("paste", (event) => {
            const files = [...event.clipboardData?.files || []], words = event.clipboardData?.getData("text") || "";
            if (!files.length && words.length > LONG_PASTE) files.push(new File([words], "pasted.txt", { type: "text/plain" }));
            if (!files.length) return;
            event.preventDefault();
            this.attach(files);
        });
        // A file that misses the field must not replace the page.
        addEventListener("dragover", (event) => {
            if (!hasFiles(event)) return;
            event.preventDefault();
            place.classList.add("dropping");
        });
        addEventListener("dragleave", (event) => {
            if (!event.relatedTarget) place.classList.remove("dropping");
        });
        addEventListener("drop", (event) => {
            if (!hasFiles(event)) return;
            event.preventDefault();
            place.classList.remove("dropping");
            if (!document.querySelector("dialog[open]")) this.attach([...event.dataTransfer.files]);
        });
    }
}
