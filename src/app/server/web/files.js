// files.js - text files that go with a question: read, bounded, and written into the request.

export const MOST_FILES = 16;
export const MOST_BYTES = 512 * 1024;           // of one file
export const MOST_ALL = 1024 * 1024;            // of all files of one question

const kib = (n) => `${Math.round(n / 1024).toLocaleString("en")} KiB`;

// The text of bytes; null when they are none. UTF-8, and UTF-16 with its mark.
function textOf(bytes) {
    const mark = (bytes[0] << 8) | bytes[1];
    const encoding = mark === 0xFFFE ? "utf-16le" : mark === 0xFEFF ? "utf-16be" : "utf-8";

    try {
        const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
        return text.includes("\0") ? null : text.replace(/\r\n?/g, "\n");
    } catch {
        return null;
    }
}

const refusal = (file, why) => new Error(`${file.name || "This file"} ${why}`);

// Reads a File. `others`: what goes along already. Resolves to { name, text }; throws with a
// sentence for the user.
export async function readFile(file, others) {
    const all = others.reduce((sum, other) => sum + other.text.length, 0);

    if (others.length >= MOST_FILES) throw refusal(file, `is one too many: at most ${MOST_FILES} files go with a message.`);
    if (file.size > MOST_BYTES) throw refusal(file, `has ${kib(file.size)}: at most ${kib(MOST_BYTES)} are read.`);
    if (all + file.size > MOST_ALL) throw refusal(file, `is too much: at most ${kib(MOST_ALL)} go with a message.`);
    if (file.type.startsWith("image/") && file.type !== "image/svg+xml") {
        throw refusal(file, "is a picture: this model reads text only.");
    }
    let bytes;
    try {
        bytes = new Uint8Array(await file.arrayBuffer());
    } catch {
        throw refusal(file, "could not be read. A folder cannot be attached: choose its files.");
    }
    const text = textOf(bytes);
    if (text === null) throw refusal(file, "is not a text file: this model reads text only.");
    if (!text.trim()) throw refusal(file, "is empty.");
    return { name: file.name || "pasted.txt", text };
}

// A question with its files, as the model reads it: each file fenced under its name.
export function asText({ content, files = [] }) {
    const parts = files.map(({ name, text }) => {
        const longest = Math.max(2, ...(text.match(/`{3,}/g) || []).map((run) => run.length));
        const fence = "`".repeat(longest + 1);
        return `${name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
    });
    return [...parts, content].filter(Boolean).join("\n\n");
}
