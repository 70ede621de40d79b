// record.mjs - stands between a client and a server and writes down what passes.
//
//   node record.mjs SERVER_URL FILE      prints its port; one line of JSON for each exchange

import { appendFileSync } from "node:fs";
import { createServer, request as ask } from "node:http";

const [server, file] = process.argv.slice(2);

function whole(stream) {
    return new Promise((resolve, reject) => {
        const parts = [];
        stream.on("data", (part) => parts.push(part));
        stream.on("end", () => resolve(Buffer.concat(parts)));
        stream.on("error", reject);
    });
}

// The client gets the answer as it comes; the line is written when it is complete.
async function pass(incoming, outgoing) {
    const body = await whole(incoming);
    const line = { method: incoming.method, path: incoming.url, headers: incoming.rawHeaders, body: body.toString() };
    const onward = ask(new URL(incoming.url, server), { method: incoming.method, headers: incoming.headers }, (answer) => {
        const parts = [];
        outgoing.writeHead(answer.statusCode, answer.rawHeaders);
        answer.on("data", (part) => {
            parts.push(part);
            outgoing.write(part);
        });
        answer.on("end", () => {
            outgoing.end();
            const text = Buffer.concat(parts).toString();
            appendFileSync(file, JSON.stringify({ ...line, status: answer.statusCode, answer: text }) + "\n");
        });
    });
    outgoing.on("close", () => onward.destroy());
    onward.on("error", () => outgoing.destroy());
    onward.end(body);
}

const proxy = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => outgoing.destroy());
});
proxy.listen(0, "127.0.0.1", () => console.log(proxy.address().port));
