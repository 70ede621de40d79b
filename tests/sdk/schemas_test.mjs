// schemas_test.mjs - schemas as zod and pydantic write them, answered by a server: none is refused, and
// every answer that came to its end fits, by a validator of another family. Prints TAP.
import { readFileSync } from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import OpenAI from 'openai';
import { z } from 'zod/v3';
import * as z4 from 'zod/v4';
import { zodToJsonSchema } from 'zod-to-json-schema';

const [url, rounds = '5'] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k', maxRetries: 0 });
const colours = ['red', 'green', 'blue'];

// One kind for each of the forms that the libraries have a word for, in both generations of zod.
const kinds = (z, four) => ({
    'plain types': z.object({ name: z.string().max(12), n: z.number(), i: z.number().int(), ok: z.boolean() }),
    'optional and nullable': z.object({ a: z.string().max(5).optional(), b: z.number().nullable(), c: z.boolean().nullish() }),
    bounds: z.object({ a: z.number().min(0).max(10), b: z.number().positive().lt(5), c: z.number().int().negative().gte(-20) }),
    multiples: z.object({ a: z.number().int().multipleOf(5).max(1000).min(-1000), b: z.number().multipleOf(0.5).max(9).min(0) }),
    lengths: z.object({ a: z.string().min(2).max(4), b: z.string().length(3), c: z.array(z.boolean()).min(1).max(3) }),
    'e-mail': z.object({ a: z.string().email().max(40) }),
    UUID: z.object({ a: z.string().uuid() }),
    URL: z.object({ a: z.string().url().max(60) }),
    'dates and times': z.object({ a: z.string().datetime({ offset: true }), b: z.string().date() }),
    addresses: z.object(four ? { a: z.ipv4(), b: z.ipv6() } : { a: z.string().ip({ version: 'v4' }), b: z.string().ip({ version: 'v6' }) }),
    patterns: z.object({ a: z.string().regex(/^[A-Z]{2}-\d{3,5}$/), b: z.string().startsWith('ab').max(6), c: z.string().regex(/^(?=.*\d)[a-z\d]{3,6}$/) }),
    enums: z.object({ a: z.enum(['x', 'y z', 'q"q']), b: z.nativeEnum({ A: 1, B: 2 }), c: z.literal('one') }),
    unions: z.object({ a: z.union([z.number(), z.boolean(), z.null()]), b: z.union([z.literal('p'), z.object({ q: z.literal(1) })]) }),
    discriminated: z.object({ a: z.discriminatedUnion('k', [z.object({ k: z.literal('s'), s: z.boolean() }), z.object({ k: z.literal('n'), n: z.number() })]) }),
    tuples: z.object({ a: z.tuple([z.number().int(), z.boolean(), z.enum(colours)]) }),
    records: z.object({ a: z.record(z.string().regex(/^[a-z]{1,3}$/), z.boolean()) }),
    'records of an enum': z.object({ a: four ? z.partialRecord(z.enum(colours), z.number().int()) : z.record(z.enum(colours), z.number().int()) }),
    // zod 4 closes both sides, so that nothing fits both.
    ...(four ? {} : { intersections: z.object({ a: z.intersection(z.object({ x: z.boolean() }), z.object({ y: z.boolean() })) }) }),
    'nested objects': z.object({ a: z.object({ b: z.object({ c: z.array(z.object({ d: z.enum(colours) })).max(2) }) }) }),
    'defaults and words': z.object({ a: z.enum(colours).default('red').describe('a colour'), b: z.boolean().describe('whether') }),
});

function recursive(z) {
    const node = z.object({ v: z.boolean(), next: z.lazy(() => node).nullable() });
    return node;
}

const list = [];
for (const [name, schema] of Object.entries({ ...kinds(z, false), recursive: recursive(z) })) {
    const json = zodToJsonSchema(schema);
    list.push({ name: `zod 3: ${name}`, json, fits: (value) => schema.safeParse(value).success });
}
for (const [name, schema] of Object.entries({ ...kinds(z4, true), recursive: recursive(z4) })) {
    list.push({ name: `zod 4: ${name}`, json: z4.toJSONSchema(schema), fits: (value) => schema.safeParse(value).success });
}
const pydantic = JSON.parse(readFileSync(new URL('pydantic_schemas.json', import.meta.url)));
for (const [name, json] of Object.entries(pydantic)) list.push({ name: `pydantic: ${name}`, json });

// Decimal steps are compared with a tolerance, as binary fractions need it.
const validator = (json) => {
    const options = { strict: false, multipleOfPrecision: 9, validateFormats: true };
    const ajv = /draft-07/.test(json.$schema ?? '') ? new Ajv(options) : new Ajv2020(options);
    return addFormats(ajv).compile(json);
};

async function sample(one, seed) {
    const answer = await client.chat.completions.create({
        model: 'm', seed, temperature: 1, max_tokens: 600, thinking: { type: 'disabled' },
        messages: [{ role: 'user', content: 'Give an example.' }],
        response_format: { type: 'json_schema', json_schema: { name: 'p', strict: seed % 2 === 0, schema: one.json } },
    });
    const { message, finish_reason } = answer.choices[0];
    return finish_reason === 'stop' ? message.content : null;
}

let n = 0, bad = 0, complete = 0, cut = 0;
for (const one of list) {
    const faults = [];
    const check = validator(one.json);
    for (let seed = 0; seed < Number(rounds); seed++) {
        try {
            const text = await sample(one, seed);
            if (text === null) { cut++; continue; }
            complete++;
            const value = JSON.parse(text);
            if (!check(value)) faults.push(`${text}: ${JSON.stringify(check.errors)}`);
            if (one.fits && !one.fits(value)) faults.push(`${text}: the library refuses it`);
        } catch (error) {
            faults.push(`${error.message}`);
        }
    }
    n++;
    if (faults.length) bad++;
    console.log(`${faults.length ? 'not ok' : 'ok'} ${n} - ${one.name}`);
    for (const fault of faults) console.log(`# ${fault}`);
}
n++;
if (complete < 4 * cut || complete < 200) bad++;
console.log(`${complete < 4 * cut || complete < 200 ? 'not ok' : 'ok'} ${n} - ${complete} answers came to their end, ${cut} were cut at the limit`);
console.log(`1..${n}`);
process.exit(bad ? 1 : 0);
