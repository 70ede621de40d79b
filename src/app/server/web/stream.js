// stream.js - requests to the server and the event stream of an answer.

export class ApiError extends Error {
    constructor(message, status, retryAfter) {
        super(message);
        this.status = status;               // 0: the server was not reached
        this.retryAfter = retryAfter;       // seconds, or 0
    }
}

async function request(path, key, options = {}) {
    const headers = { ...options.headers };
    let   response;

    if (key) headers.Authorization = `Bearer ${key}`;
    try {
        response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ApiError("The server cannot be reached.", 0, 0);
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => null);
    throw new ApiError(body?.error?.message || `The server answered with status ${response.status}.`,
                       response.status, Number(response.headers.get("Retry-After")) || 0);
}

export async function getJson(path, key) {
    return (await request(path, key)).json();
}

export async function getText(path, key) {
    return (await request(path, key)).text();
}

// The data of each event. Comments, which keep a silent connection open, are passed over.
export async function* events(body) {
    const reader = body.getReader();
    const text = new TextDecoder();
    let   rest = "", data = [];

    try {
        for (;;) {
            const { value, done } = await reader.read();
            rest += done ? text.decode() + "\n\n" : text.decode(value, { stream: true });
            const lines = rest.split("\n");
            rest = lines.pop();
            for (let line of lines) {
                if (line.endsWith("\r")) line = line.slice(0, -1);
                if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
                if (line === "" && data.length) {
                    yield data.join("\n");
                    data = [];
                }
            }
            if (done) return;
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

// One answer. heard(chunk) is called for each chunk of the stream. Throws ApiError, or an
// AbortError when the signal said so.
export async function complete(requestBody, { key, signal, heard }) {
    const response = await request("v1/chat/completions", key, {
        method: "POST", signal, body: JSON.stringify(requestBody),
        headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    });
    let finished = false, over = false;

    try {
        for await (const data of events(response.body)) {
            // Read on to the end of the body: leaving it would cancel a request that is complete.
            if (data === "[DONE]") over = true;
            if (over) continue;
            let chunk;
            try {
                chunk = JSON.parse(data);
            } catch {
                throw new ApiError("The server sent an event that is no JSON.", 0, 0);
            }
            if (chunk.error) throw new ApiError(chunk.error.message || "The answer failed.", 0, 0);
            finished ||= Boolean(chunk.choices?.[0]?.finish_reason);
            heard(chunk);
        }
    } catch (error) {
        if (over) return;
        if (error.name === "AbortError" || error instanceof ApiError) throw error;
        throw new ApiError("The connection was lost before the answer was complete.", 0, 0);
    }
    if (!finished && !over) throw new ApiError("The connection ended before the answer was complete.", 0, 0);
}
