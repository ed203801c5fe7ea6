// Streams that the vendor breaks, as both official SDKs raise it; what each gave goes to standard output, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";

const { PHASEGATE_URL, ACME, PICTURE, BODIES } = process.env;
const results = {};
for (const [route, rows] of Object.entries(JSON.parse(BODIES))) {
  results[route] = {};
  for (const [fault, body] of Object.entries(rows)) results[route][fault] = await broken(route, body);
}
console.log(JSON.stringify(results));

async function broken(route, body) {
  let calls = 0;
  const counting = (url, init) => {
    if (`${url}`.startsWith(PHASEGATE_URL)) calls++; // the SDK tries out on another address what a form is
    return fetch(url, init);
  };
  try {
    for await (const event of await ask(route, body, counting));
  } catch (error) {
    const members = route === "messages" ? error.error.error.details : error.error;
    return { kinds: kinds(error), calls, status: error.status, ...members };
  }
}

async function ask(route, body, fetch) {
  if (route === "messages") return new Anthropic({ baseURL: PHASEGATE_URL, apiKey: ACME, fetch }).messages.create(body);
  const gpt = new OpenAI({ baseURL: `${PHASEGATE_URL}/v1`, apiKey: ACME, fetch });
  if (route === "generate") return gpt.images.generate(body);
  if (route !== "edit") return gpt.chat.completions.create(body);
  const image = await toFile(Buffer.from(PICTURE, "base64"), "one.png", { type: "image/png" });
  return gpt.images.edit({ ...body, image });
}

function kinds(error) {
  const found = [];
  for (let kind = error.constructor; kind.name; kind = Object.getPrototypeOf(kind)) found.push(kind.name);
  return found;
}
