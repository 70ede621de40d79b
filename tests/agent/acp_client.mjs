// acp_client.mjs - the Agent Client Protocol's own client library drives ds4-agent --acp through a whole task.
//
//   node acp_client.mjs PROJECT MCP_SERVER COMMAND [ARGUMENT ...]     prints TAP
//
// The model's words are prescribed (npm.sh writes them): it reads a file, changes it, runs its test, calls a tool
// of an MCP server, and says that it is done.
import * as acp from "@agentclientprotocol/sdk";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Readable, Writable } from "node:stream";

const [project, mcpServer, command, ...args] = process.argv.slice(2);
let n = 0;
let failed = false;
function ok(good, name, found) {
    n++;
    console.log(`${good ? "ok" : "not ok"} ${n} - ${name}`);
    if (!good) {
        failed = true;
        console.log(`# found: ${JSON.stringify(found)?.slice(0, 600)}`);
    }
}

const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
let updates = [];
let asked = [];
let decide = () => "once";
const texts = (kind) => updates.filter((u) => u.sessionUpdate === kind).map((u) => u.content.text).join("");
const calls = () => updates.filter((u) => u.sessionUpdate === "tool_call_update" && u.status === "completed");

const { session } = acp.methods.agent;
const app = acp.client({ name: "tests" })
    .onNotification(acp.methods.client.session.update, ({ params }) => { updates.push(params.update); })
    .onRequest(acp.methods.client.session.requestPermission, ({ params }) => {
        asked.push(params);
        const optionId = decide();
        return { outcome: optionId ? { outcome: "selected", optionId } : { outcome: "cancelled" } };
    });

await app.connectWith(stream, async (ctx) => {
    const hello = await ctx.request(acp.methods.agent.initialize, { protocolVersion: acp.PROTOCOL_VERSION,
                                                                  clientCapabilities: {} });
    ok(hello.protocolVersion === 1 && hello.agentCapabilities.loadSession, "initialize", hello);

    const mcpServers = [{ name: "every", command: "node", args: [mcpServer, "stdio"], env: [] }];
    const opened = await ctx.request(session.new, { cwd: project, mcpServers });
    const { sessionId } = opened;
    ok(sessionId && opened.modes.currentModeId === "work", "session/new", opened);

    let answer = await ctx.request(session.prompt, { sessionId, prompt: [{ type: "text", text: "mend the sum" }] });
    ok(answer.stopReason === "end_turn", "a whole task ends its turn", answer);
    ok(updates.some((u) => u.sessionUpdate === "available_commands_update"), "commands are offered", updates);
    ok(texts("agent_thought_chunk").includes("I look first."), "thoughts", texts("agent_thought_chunk"));
    ok(texts("agent_message_chunk").includes("The sum is mended."), "messages", texts("agent_message_chunk"));
    ok(calls().length === 4, "four calls are completed", updates);
    const diff = calls().flatMap((c) => c.content).find((c) => c.type === "diff");
    ok(diff?.path === `${project}/sum.sh` && diff.oldText.includes("$1 - $2") && diff.newText.includes("$1 + $2"),
       "the change is a diff", diff);
    ok(readFileSync(`${project}/sum.sh`, "utf8").includes("$1 + $2"), "the file is changed");
    ok(JSON.stringify(calls()).includes("the test passes"), "the test was run", calls());
    ok(JSON.stringify(calls()).includes("Echo: over MCP"), "the editor's MCP server was called", calls());
    ok(updates.some((u) => u.sessionUpdate === "usage_update" && u.used > 0), "usage is told", updates);

    await ctx.request(session.setMode, { sessionId, modeId: "ask" });
    updates = [];
    decide = () => "no";
    answer = await ctx.request(session.prompt, { sessionId, prompt: [{ type: "text", text: "write it down" }] });
    ok(asked.length === 1 && asked[0].options.some((o) => o.kind === "allow_once"), "permission is asked", asked);
    ok(answer.stopReason === "end_turn" && texts("agent_message_chunk").includes("Not allowed, then."),
       "a denial is told to the model", [answer, updates]);
    let there = true;
    try { readFileSync(`${project}/note.txt`); } catch { there = false; }
    ok(!there, "and nothing was written");

    updates = [];
    const long = ctx.request(session.prompt, { sessionId, prompt: [{ type: "text", text: "count" }] });
    while (!texts("agent_message_chunk").includes("word 3")) await new Promise((r) => setTimeout(r, 20));
    await ctx.notify(session.cancel, { sessionId });
    answer = await long;
    ok(answer.stopReason === "cancelled", "a cancelled prompt says so", answer);

    const other = await ctx.request(session.new, { cwd: project, mcpServers: [] });
    ok(other.sessionId !== sessionId, "a second session", other);
    updates = [];
    const loaded = await ctx.request(session.load, { sessionId, cwd: project, mcpServers });
    ok(loaded.modes && texts("user_message_chunk").includes("mend the sum") &&
       texts("agent_message_chunk").includes("The sum is mended."), "session/load tells the past", updates);
    const known = await ctx.request(session.prompt, { sessionId, prompt: [{ type: "text", text: "thanks" }] });
    ok(known.stopReason === "end_turn" && texts("agent_message_chunk").includes("You are welcome."), "and goes on",
       [known, updates]);
    let refused = null;
    try {
        await ctx.request(session.prompt, { sessionId: "nobody", prompt: [{ type: "text", text: "x" }] });
    } catch (error) { refused = error; }
    ok(refused?.code === -32602, "a session that is not there is refused", refused);
}).catch((error) => ok(false, "the connection", String(error?.stack ?? error)));

agent.stdin.end();
const code = await new Promise((resolve) => agent.on("exit", resolve));
ok(code === 0, "the agent ends with its editor", code);
console.log(`1..${n}`);
process.exit(failed ? 1 : 0);
