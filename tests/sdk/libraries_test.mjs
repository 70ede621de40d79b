// libraries_test.mjs - agent libraries as programs use them: the AI SDK's own OpenAI provider (which
// sends earlier items as references), OpenAI Agents and LangChain; and what OpenAI takes in a request,
// of which nothing is refused. Prints TAP.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { createOpenAI } from '@ai-sdk/openai';
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, setTracingDisabled, tool as agentTool } from '@openai/agents';
import { ChatOpenAI } from '@langchain/openai';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool as chainTool } from '@langchain/core/tools';
import { createReactAgent } from '@langchain/langgraph/prebuilt';
import { z } from 'zod';

const url = process.argv[2];
const baseURL = `${url}/v1`;
const model = 'deepseek-v4-flash';
const openai = new OpenAI({ baseURL, apiKey: 'k', maxRetries: 0 });
const question = 'Tell me the weather of Turin';
const place = z.object({ city: z.string(), days: z.number().nullable() });
const zone = z.object({ zone: z.string() });
const paint = z.object({ colour: z.enum(['red', 'blue']), grown: z.boolean() });
setTracingDisabled(true);

// Everything that goes over the wire is looked at: nothing may be refused.
const refused = [];
const plain = globalThis.fetch;
globalThis.fetch = async (...a) => {
    const answer = await plain(...a);
    if (answer.status >= 400) refused.push(`${answer.status} ${await answer.clone().text()}`);
    return answer;
};

const aiTools = {
    get_weather: tool({ description: 'w', inputSchema: place, execute: async ({ city }) => (assert.ok(city), '21 degrees') }),
    get_time: tool({ description: 't', inputSchema: zone, execute: async ({ zone: at }) => (assert.ok(at), '21 degrees') }),
};
const ownTools = () => [
    agentTool({ name: 'get_weather', description: 'w', parameters: place, execute: async () => '21 degrees' }),
    agentTool({ name: 'get_time', description: 't', parameters: zone, execute: async () => '21 degrees' }),
];
const chainTools = [
    chainTool(async () => '21 degrees', { name: 'get_weather', description: 'w', schema: place }),
    chainTool(async () => '21 degrees', { name: 'get_time', description: 't', schema: zone }),
];
const agentModels = { chat: new OpenAIChatCompletionsModel(openai, model), responses: new OpenAIResponsesModel(openai, model) };

const tests = {};

// ---- the AI SDK with its own provider -------------------------------------------------------------
const provider = createOpenAI({ baseURL, apiKey: 'k' });
for (const [name, one] of [['responses', provider(model)], ['chat', provider.chat(model)]]) {
    tests[`ai sdk, openai provider, ${name}: a loop with tools`] = async () => {
        const result = await generateText({ model: one, prompt: question, tools: aiTools, stopWhen: stepCountIs(4), maxRetries: 0 });
        assert.match(result.text, /It is 21 degrees\.$/);
        const next = await generateText({ model: one, maxRetries: 0, tools: aiTools, messages: [
            { role: 'user', content: question }, ...result.response.messages, { role: 'user', content: 'think hard' }] });
        assert.equal(next.text, 'Done thinking.');
    };
    tests[`ai sdk, openai provider, ${name}: a streamed loop`] = async () => {
        const result = streamText({ model: one, prompt: question, tools: aiTools, stopWhen: stepCountIs(4), maxRetries: 0 });
        let text = '';
        for await (const part of result.textStream) text += part;
        assert.match(text, /It is 21 degrees\.$/);
    };
    tests[`ai sdk, openai provider, ${name}: an object`] = async () => {
        const result = await generateObject({ model: one, prompt: 'A person', schema: paint, maxRetries: 0, maxOutputTokens: 600, temperature: 0 });
        assert.ok(['red', 'blue'].includes(result.object.colour));
    };
}

// ---- OpenAI Agents --------------------------------------------------------------------------------
for (const [name, one] of Object.entries(agentModels)) {
    tests[`openai agents, ${name}: tools, and a second turn`] = async () => {
        const agent = new Agent({ name: 'a', instructions: 'Be short.', model: one, tools: ownTools() });
        const runner = new Runner();
        const first = await runner.run(agent, question);
        assert.match(first.finalOutput, /It is 21 degrees\.$/);
        const second = await runner.run(agent, [...first.history, { role: 'user', content: 'think hard' }]);
        assert.equal(second.finalOutput, 'Done thinking.');
    };
    tests[`openai agents, ${name}: streamed`] = async () => {
        const agent = new Agent({ name: 'a', instructions: 'Be short.', model: one, tools: ownTools() });
        const result = await new Runner().run(agent, question, { stream: true });
        let text = '';
        for await (const part of result.toTextStream()) text += part;
        await result.completed;
        assert.match(text, /It is 21 degrees\.$/);
    };
    tests[`openai agents, ${name}: an output type`] = async () => {
        const agent = new Agent({ name: 'a', instructions: 'Answer.', model: one, outputType: paint, modelSettings: { temperature: 0 } });
        const result = await new Runner().run(agent, 'A person');
        assert.ok(['red', 'blue'].includes(result.finalOutput.colour));
    };
}
tests['openai agents, responses: previousResponseId'] = async () => {
    const agent = new Agent({ name: 'a', instructions: 'Be short.', model: agentModels.responses, tools: ownTools() });
    const first = await new Runner().run(agent, question);
    const second = await new Runner().run(agent, 'think hard', { previousResponseId: first.lastResponseId });
    assert.equal(second.finalOutput, 'Done thinking.');
};

// ---- LangChain ------------------------------------------------------------------------------------
for (const useResponsesApi of [false, true]) {
    const name = useResponsesApi ? 'responses' : 'chat';
    const chat = (more) => new ChatOpenAI({ model, apiKey: 'k', configuration: { baseURL }, useResponsesApi, maxRetries: 0, ...more });
    tests[`langchain, ${name}: invoke and stream`] = async () => {
        const answer = await chat({ maxTokens: 200, topP: 0.9, frequencyPenalty: 0, presencePenalty: 0 }).invoke([
            new SystemMessage('Be short.'), new HumanMessage('think hard')]);
        assert.match(answer.text, /Done thinking\.$/);
        let text = '';
        for await (const part of await chat({ streamUsage: true }).stream('think hard')) text += part.text;
        assert.match(text, /Done thinking\.$/);
    };
    tests[`langchain, ${name}: tools by hand`] = async () => {
        const bound = chat().bindTools(chainTools);
        const first = await bound.invoke([new HumanMessage(question)]);
        assert.deepEqual(first.tool_calls.map((c) => c.name), ['get_weather', 'get_time']);
        const results = first.tool_calls.map((c) => new ToolMessage({ content: '21 degrees', tool_call_id: c.id }));
        const last = await bound.invoke([new HumanMessage(question), first, ...results]);
        assert.match(last.text, /It is 21 degrees\.$/);
    };
    tests[`langgraph, ${name}: an agent`] = async () => {
        const agent = createReactAgent({ llm: chat(), tools: chainTools });
        const result = await agent.invoke({ messages: [{ role: 'user', content: question }] });
        assert.match(result.messages.at(-1).text, /It is 21 degrees\.$/);
    };
    for (const method of ['jsonSchema', 'functionCalling', 'jsonMode']) {
        tests[`langchain, ${name}: structured output by ${method}`] = async () => {
            const llm = chat({ temperature: 0, maxTokens: 600 }).withStructuredOutput(paint, { method });
            const result = await llm.invoke(method === 'jsonMode' ? 'some JSON, prescribed' : 'A person');
            assert.ok(['red', 'blue'].includes(result.colour));
        };
    }
}

// ---- what OpenAI takes ----------------------------------------------------------------------------
const chatMembers = {
    'max_completion_tokens': 5, 'frequency_penalty': 0.5, 'presence_penalty': -0.5, 'logit_bias': { 50: -100 }, 'logprobs': true,
    'top_logprobs': 2, 'metadata': { a: 'b' }, 'modalities': ['text'], 'n': 2, 'parallel_tool_calls': false,
    'prediction': { type: 'content', content: 'x' }, 'prompt_cache_key': 'k', 'reasoning_effort': 'minimal',
    'response_format': { type: 'json_object' }, 'safety_identifier': 's', 'seed': -7, 'service_tier': 'auto', 'stop': ['x', 'y'],
    'store': false, 'temperature': 2, 'top_p': 0.1, 'user': 'u', 'verbosity': 'low', 'prompt_cache_retention': '24h',
    'tool_choice': { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'f' } }] } },
    'tools': [{ type: 'custom', custom: { name: 'c', description: 'd', format: { type: 'text' } } }],
    'function_call': 'auto', 'functions': [{ name: 'f', parameters: { type: 'object', properties: {} } }],
};
const responsesMembers = {
    'max_output_tokens': 16, 'include': ['reasoning.encrypted_content', 'message.output_text.logprobs'], 'instructions': 'i', 'metadata': { a: 'b' },
    'parallel_tool_calls': false, 'prompt_cache_key': 'k', 'reasoning': { effort: 'minimal', summary: 'auto' },
    'safety_identifier': 's', 'service_tier': 'auto', 'store': false, 'temperature': 2, 'text': { format: { type: 'json_object' }, verbosity: 'low' },
    'tool_choice': { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] },
    'tools': [{ type: 'custom', name: 'c', description: 'd', format: { type: 'grammar', syntax: 'regex', definition: '[a-z]+' } }],
    'top_p': 0.1, 'truncation': 'auto', 'user': 'u', 'stream_options': { include_obfuscation: false },
};
const f = { type: 'object', properties: {} };
for (const [member, value] of Object.entries(chatMembers)) {
    tests[`chat takes ${member}`] = async () => {
        await openai.chat.completions.create({ model, max_tokens: 5, messages: [{ role: 'user', content: 'hi' }],
            tools: member === 'tool_choice' ? [{ type: 'function', function: { name: 'f', parameters: f } }] : undefined,
            ...(member === 'top_logprobs' ? { logprobs: true } : {}), ...(member === 'function_call' ? { functions: chatMembers.functions } : {}),
            [member]: value });
    };
}
for (const [member, value] of Object.entries(responsesMembers)) {
    tests[`responses take ${member}`] = async () => {
        await openai.responses.create({ model, input: 'hi', max_output_tokens: 16,
            tools: member === 'tool_choice' ? [{ type: 'function', name: 'f', parameters: f, strict: false }] : undefined, [member]: value });
    };
}

let n = 0, failed = 0;
for (const [name, run] of Object.entries(tests)) {
    n++;
    refused.length = 0;
    try {
        await run();
        assert.deepEqual(refused, [], 'refused');
        console.log(`ok ${n} - ${name}`);
    } catch (e) {
        failed++;
        console.log(`not ok ${n} - ${name}\n${String(e?.stack ?? e).split('\n').slice(0, 12).map((l) => `# ${l}`).join('\n')}`);
    }
}
console.log(`1..${n}`);
process.exit(failed ? 1 : 0);
