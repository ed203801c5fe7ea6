// The drop-in calls of the official Anthropic SDK; what each gave goes to standard output, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";

const { PHASEGATE_URL, ACME, PICTURE } = process.env;
const client = (apiKey) => new Anthropic({ baseURL: PHASEGATE_URL, apiKey });
const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PICTURE } };
const question = {
  model: "claude-sonnet-5-5",
  max_tokens: 300,
  messages: [{ role: "user", content: [image, { type: "text", text: "What is this?" }] }],
};

const acme = client(ACME);
const results = {};

results.create = await acme.messages.create(question);

const stream = acme.messages.stream(question);
let text = "";
stream.on("text", (part) => (text += part));
results.stream = { final: await stream.finalMessage(), text };

results.events = [];
for await (const event of await acme.messages.create({ ...question, stream: true })) results.events.push(event.type);

const { max_tokens, ...uncapped } = question;
results.count = await acme.messages.countTokens(uncapped);

results.models = [];
for await (const model of acme.models.list()) results.models.push(model.id);
results.model = await acme.models.retrieve("claude-sonnet-5-5");

results.errors = {
  bad_number: await refusal(acme, { ...question, max_tokens: -1 }),
  unknown_model: await refusal(acme, { ...question, model: "claude-99" }),
  stranger: await refusal(client("rk_live_nonsense"), question),
  file_id: await refusal(acme, {
    ...question,
    messages: [{ role: "user", content: [{ type: "image", source: { type: "file", file_id: "file_1" } }] }],
  }),
  batches: await refusal(acme, null, (sdk) => sdk.messages.batches.list()),
  files: await refusal(acme, null, (sdk) => sdk.beta.files.list()),
};

console.log(JSON.stringify(results));

async function refusal(sdk, body, call = (sdk) => sdk.messages.create(body)) {
  try {
    await call(sdk);
  } catch (error) {
    const { type, details } = error.error.error;
    return { kind: error.constructor.name, status: error.status, type, ...details, request_id: error.requestID };
  }
}
