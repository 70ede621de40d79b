// sdk_test.mjs - the OpenAI, Anthropic and Vercel AI SDKs against a server: chat, streams,
// a tools round trip, JSON schema, reasoning, errors, leaving early. Prints TAP.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createAnthropic } from '@ai-sdk/anthropic';
import { z } from 'zod';

const url = process.argv[2];
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k', maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: 'k', maxRetries: 0 });
const compatible = createOpenAICompatible({ name: 'ds4', baseURL: `${url}/v1`, apiKey: 'k', includeUsage: true,
                                            supportsStructuredOutputs: true });
const viaAnthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: 'k' });
const model = 'deepseek-v4-flash';
const weather = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city'] };
const zone = { type: 'object', properties: { zone: { type: 'string' } } };
const tools = [['get_weather', weather], ['get_time', zone]];
const openaiTools = tools.map(([name, parameters]) => ({ type: 'function', function: { name, description: name, parameters } }));
const responsesTools = tools.map(([name, parameters]) => ({ type: 'function', name, description: name, parameters, strict: false }));
const anthropicTools = tools.map(([name, input_schema]) => ({ name, description: name, input_schema }));
const question = 'Tell me the weather of Turin';
const expected = { city: 'Turin "Torino"\\ é', days: 3 };
const person = { type: 'object', properties: { name: { type: 'string', maxLength: 20 }, age: { type: 'integer', minimum: 0 },
                                               colour: { enum: ['red', 'blue'] } },
                 required: ['name', 'age', 'colour'], additionalProperties: false };

function checkPerson(text) {
    const value = JSON.parse(text);
    assert.deepEqual(Object.keys(value), ['name', 'age', 'colour']);
    assert.ok(Number.isInteger(value.age) && value.age >= 0 && ['red', 'blue'].includes(value.colour));
}

async function running() {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^ds4_jobs_running (\d+)/m.exec(text)[1]);
}

async function idleWithin(ms) {
    const end = Date.now() + ms;
    while (Date.now() < end) {
        if (await running() === 0) return true;
        await new Promise((done) => setTimeout(done, 50));
    }
    return false;
}

const tests = {
    async 'openai: models'() {
        const list = await openai.models.list();
        assert.equal(list.data[0].id, model);
    },
    async 'openai: chat, twice the same'() {
        const ask = () => openai.chat.completions.create({ model, seed: 7, max_tokens: 30, messages: [{ role: 'user', content: 'Hello!' }] });
        const [a, b] = [await ask(), await ask()];
        assert.equal(a.choices[0].message.content, b.choices[0].message.content);
        assert.notEqual(a.id, b.id);
        assert.equal(b.usage.prompt_tokens_details.cached_tokens, b.usage.prompt_tokens - 1);
    },
    async 'openai: a stream adds up'() {
        const stream = openai.chat.completions.stream({ model, messages: [{ role: 'user', content: 'think hard' }], stream_options: { include_usage: true } });
        let reasoning = '';
        for await (const chunk of stream) reasoning += chunk.choices[0]?.delta?.reasoning_content ?? '';
        const final = await stream.finalChatCompletion();
        assert.equal(reasoning, 'One. Two. Three.');
        assert.equal(final.choices[0].message.content, 'Done thinking.');
        assert.ok(final.usage.completion_tokens_details.reasoning_tokens > 0);
    },
    async 'openai: tools round trip, streamed, with cache'() {
        const messages = [{ role: 'system', content: 'You are careful. '.repeat(40) }, { role: 'user', content: question }];
        const stream = openai.chat.completions.stream({ model, messages, tools: openaiTools });
        const first = await stream.finalChatCompletion();
        const message = first.choices[0].message;
        assert.equal(first.choices[0].finish_reason, 'tool_calls');
        assert.equal(message.content, 'Let me look.');
        assert.equal(message.tool_calls.length, 2);
        assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), expected);
        // Sent back with other white space, without the reasoning, results in reverse order.
        messages.push({ role: 'assistant', content: message.content, tool_calls: message.tool_calls.map((call) => ({
            ...call, function: { name: call.function.name, arguments: JSON.stringify(JSON.parse(call.function.arguments), null, 2) } })) });
        messages.push({ role: 'tool', tool_call_id: message.tool_calls[1].id, content: '21 degrees, noon' });
        messages.push({ role: 'tool', tool_call_id: message.tool_calls[0].id, content: '21 degrees' });
        const second = await openai.chat.completions.create({ model, messages, tools: openaiTools });
        assert.equal(second.choices[0].message.content, 'It is 21 degrees.');
        assert.equal(second.choices[0].finish_reason, 'stop');
        const before = second.usage.prompt_tokens_details.cached_tokens;
        messages.push({ role: 'assistant', content: 'It is 21 degrees.' }, { role: 'user', content: 'think hard' });
        const third = await openai.chat.completions.create({ model, messages, tools: openaiTools });
        const known = second.usage.total_tokens;
        assert.ok(third.usage.prompt_tokens_details.cached_tokens >= 0.98 * known, `${third.usage.prompt_tokens_details.cached_tokens} of ${known}`);
        assert.ok(before > 200, `${before} cached in the second turn`);
    },
    async 'openai: JSON schema'() {
        const answer = await openai.chat.completions.create({ model, max_tokens: 300, messages: [{ role: 'user', content: 'A person, please' }],
            response_format: { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: person } } });
        if (answer.choices[0].finish_reason === 'stop') checkPerson(answer.choices[0].message.content);
        else assert.equal(answer.choices[0].finish_reason, 'length');
    },
    async 'openai: a forced tool'() {
        const answer = await openai.chat.completions.create({ model, max_tokens: 300, messages: [{ role: 'user', content: 'hi' }], tools: openaiTools,
            tool_choice: { type: 'function', function: { name: 'get_time' } }, thinking: { type: 'disabled' } });
        if (answer.choices[0].finish_reason !== 'length') assert.equal(answer.choices[0].message.tool_calls[0].function.name, 'get_time');
    },
    async 'openai: logprobs'() {
        const answer = await openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'think hard' }], logprobs: true, top_logprobs: 3 });
        const tokens = answer.choices[0].logprobs.content;
        assert.equal(tokens.map((t) => t.token).join(''), 'Done thinking.');
        assert.equal(tokens[0].top_logprobs.length, 3);
    },
    async 'openai: completions'() {
        const answer = await openai.completions.create({ model, prompt: 'a b c', max_tokens: 5 });
        assert.equal(answer.choices.length, 1);
    },
    async 'openai: errors are typed'() {
        await assert.rejects(openai.chat.completions.create({ model, messages: [] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'messages');
        await assert.rejects(openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'word '.repeat(9000) }] }),
                             (e) => e.code === 'context_length_exceeded');
        await assert.rejects(openai.embeddings.create({ model, input: 'x' }), (e) => e instanceof OpenAI.NotFoundError);
    },
    async 'openai: abort'() {
        const abort = new AbortController();
        const stream = await openai.completions.create({ model, prompt: 'once upon a time', max_tokens: 4000, stream: true }, { signal: abort.signal });
        for await (const chunk of stream) { assert.ok(chunk); break; }
        abort.abort();
        assert.ok(await idleWithin(1500));
    },
    async 'openai: responses, streamed, with tools'() {
        const stream = openai.responses.stream({ model, input: question, tools: responsesTools, reasoning: { summary: 'auto' } });
        const seen = new Set();
        for await (const event of stream) seen.add(event.type);
        const first = await stream.finalResponse();
        assert.equal(first.status, 'completed');
        assert.deepEqual(first.output.map((item) => item.type), ['reasoning', 'message', 'function_call', 'function_call']);
        assert.deepEqual(JSON.parse(first.output[2].arguments), expected);
        assert.equal(first.output_text, 'Let me look.');
        assert.ok(seen.has('response.function_call_arguments.delta') && seen.has('response.reasoning_summary_text.delta'));
        const outputs = first.output.filter((item) => item.type === 'function_call')
            .map((item) => ({ type: 'function_call_output', call_id: item.call_id, output: '21 degrees' }));
        const second = await openai.responses.create({ model, previous_response_id: first.id, input: outputs, tools: responsesTools });
        assert.equal(second.output_text, 'It is 21 degrees.');
        assert.ok(second.usage.input_tokens_details.cached_tokens >= 0.98 * first.usage.total_tokens - 1);
        const replay = await openai.responses.create({ model, input: [{ role: 'user', content: question }, ...first.output, ...outputs], tools: responsesTools });
        assert.equal(replay.output_text, 'It is 21 degrees.');
    },
    async 'openai: responses, JSON schema'() {
        const answer = await openai.responses.create({ model, max_output_tokens: 300, input: 'A person',
            text: { format: { type: 'json_schema', name: 'person', strict: true, schema: person } } });
        if (answer.status === 'completed') checkPerson(answer.output_text);
    },
    async 'anthropic: messages and count_tokens'() {
        const messages = [{ role: 'user', content: 'Hello!' }];
        const answer = await anthropic.messages.create({ model, max_tokens: 30, messages });
        const count = await anthropic.messages.countTokens({ model, messages });
        assert.equal(answer.role, 'assistant');
        assert.equal(count.input_tokens, answer.usage.input_tokens + answer.usage.cache_read_input_tokens);
    },
    async 'anthropic: thinking and tools, streamed'() {
        const messages = [{ role: 'user', content: question }];
        const common = { model, max_tokens: 2000, tools: anthropicTools, thinking: { type: 'enabled', budget_tokens: 1024 } };
        const first = await anthropic.messages.stream({ ...common, messages }).finalMessage();
        assert.equal(first.stop_reason, 'tool_use');
        assert.deepEqual(first.content.map((block) => block.type), ['thinking', 'text', 'tool_use', 'tool_use']);
        assert.deepEqual(first.content[2].input, expected);
        assert.ok(first.content[0].signature);
        messages.push({ role: 'assistant', content: first.content });
        messages.push({ role: 'user', content: first.content.filter((block) => block.type === 'tool_use')
            .map((block) => ({ type: 'tool_result', tool_use_id: block.id, content: [{ type: 'text', text: '21 degrees' }] })) });
        const second = await anthropic.messages.create({ ...common, messages });
        assert.equal(second.content.at(-1).text, 'It is 21 degrees.');
        assert.equal(second.stop_reason, 'end_turn');
        assert.ok(second.usage.cache_read_input_tokens > 300);
    },
    async 'anthropic: errors are typed'() {
        await assert.rejects(anthropic.messages.create({ model, max_tokens: 5, messages: [] }), (e) => e instanceof Anthropic.BadRequestError);
        await assert.rejects(anthropic.messages.create({ model, max_tokens: 5, messages: [{ role: 'user', content: 'word '.repeat(9000) }] }),
                             /prompt is too long: \d+ tokens > \d+ maximum/);
    },
    async 'ai sdk: text, streamed, with reasoning'() {
        const result = streamText({ model: compatible(model), prompt: 'think hard' });
        let text = '';
        for await (const part of result.textStream) text += part;
        assert.equal(text, 'Done thinking.');
        assert.equal(await result.reasoningText, 'One. Two. Three.');
        assert.ok((await result.usage).outputTokens > 0);
    },
    async 'ai sdk: it runs the tools itself'() {
        const run = async (city) => { assert.ok(city); return '21 degrees'; };
        for (const one of [compatible(model), viaAnthropic(model)]) {
            const result = await generateText({ model: one, prompt: question, stopWhen: stepCountIs(3), tools: {
                get_weather: tool({ description: 'w', inputSchema: z.object({ city: z.string(), days: z.number().optional() }), execute: ({ city }) => run(city) }),
                get_time: tool({ description: 't', inputSchema: z.object({ zone: z.string() }), execute: ({ zone: at }) => run(at) }) } });
            assert.match(result.text, /It is 21 degrees\.$/);
        }
    },
    async 'ai sdk: an object of a schema'() {
        const result = await generateObject({ model: compatible(model), prompt: 'A person', maxRetries: 0, maxOutputTokens: 600, temperature: 0,
            schema: z.object({ colour: z.enum(['red', 'blue']), grown: z.boolean() }) });
        assert.ok(['red', 'blue'].includes(result.object.colour));
    },
};

let n = 0, failed = 0;
for (const [name, run] of Object.entries(tests)) {
    n++;
    try {
        await run();
        console.log(`ok ${n} - ${name}`);
    } catch (e) {
        failed++;
        console.log(`not ok ${n} - ${name}\n${String(e?.stack ?? e).split('\n').slice(0, 12).map((l) => `# ${l}`).join('\n')}`);
    }
}
console.log(`1..${n}`);
process.exit(failed ? 1 : 0);
