// Each reason to be turned away, as both official SDKs raise it; what each gave goes to standard output, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { PHASEGATE_URL, TURNED } = process.env;

let pauses = [];
const later = globalThis.setTimeout;
globalThis.setTimeout = (act, ms, ...rest) => {
  // A pause of an SDK before a retry is noted and left out.
  if (!new Error().stack.includes("/utils/sleep")) return later(act, ms, ...rest);
  pauses.push(ms / 1000);
  return later(act, 0, ...rest);
};

const results = {};
for (const [why, { key, image, message, headers }] of Object.entries(JSON.parse(TURNED))) {
  const gpt = (fetch) => new OpenAI({ baseURL: `${PHASEGATE_URL}/v1`, apiKey: key, fetch });
  const claude = (fetch) => new Anthropic({ baseURL: PHASEGATE_URL, apiKey: key, fetch });
  results[why] = {
    openai: await refusal((fetch) => gpt(fetch).images.generate(image, { headers: headers.image })),
    anthropic: await refusal((fetch) => claude(fetch).messages.create(message, { headers: headers.message })),
  };
}
console.log(JSON.stringify(results));

async function refusal(call) {
  let calls = 0;
  pauses = [];
  try {
    await call((url, init) => (calls++, fetch(url, init)));
  } catch (error) {
    const { status, code, type, requestID } = error;
    return {
      kinds: kinds(error), status, code, type, request_id: requestID,
      calls, pauses, headers: Object.fromEntries(error.headers), body: error.error,
    };
  }
}

function kinds(error) {
  const found = [];
  for (let kind = error.constructor; kind.name; kind = Object.getPrototypeOf(kind)) found.push(kind.name);
  return found;
}
