// The drop-in calls of the official OpenAI SDK; what each gave goes to standard output, as one JSON object.
import OpenAI, { toFile } from "openai";

const { PHASEGATE_URL, ACME, GLOBEX, UMBRELLA, PICTURE, MASK } = process.env;
const client = (apiKey, options) => new OpenAI({ baseURL: `${PHASEGATE_URL}/v1`, apiKey, ...options });
const png = (base64, name) => toFile(Buffer.from(base64, "base64"), name, { type: "image/png" });
const picture = { model: "gpt-image-2.6-flare", prompt: "a lighthouse at dusk", size: "1024x1024", quality: "low" };

const acme = client(ACME);
const results = {};

results.generate = await acme.images.generate({ ...picture, n: 2 });

const answer = await acme.images.generate({ ...picture, response_format: "url" });
const download = await fetch(answer.data[0].url);
results.url = { type: download.headers.get("content-type"), bytes: (await download.arrayBuffer()).byteLength };

results.edit = await acme.images.edit({
  ...picture,
  image: [await png(PICTURE, "one.png"), await png(PICTURE, "two.png")],
  mask: await png(MASK, "mask.png"),
});

results.stream = [];
for await (const event of await acme.images.generate({ ...picture, stream: true, partial_images: 2 }))
  results.stream.push(event);

results.edit_stream = [];
const hat = { ...picture, image: await png(PICTURE, "one.png"), stream: true, partial_images: 1 };
for await (const event of await acme.images.edit(hat)) results.edit_stream.push(event);

const image_url = { url: `data:image/png;base64,${PICTURE}` };
const content = [{ type: "text", text: "What is this?" }, { type: "image_url", image_url }];
const question = { max_tokens: 300, messages: [{ role: "user", content }] };
results.chat = {};
for (const model of ["llama-3.2-90b-vision", "grok-4"]) {
  const chunks = [];
  for await (const chunk of await acme.chat.completions.create({ model, ...question, stream: true })) chunks.push(chunk);
  results.chat[model] = { whole: await acme.chat.completions.create({ model, ...question }), chunks };
}

const told = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await acme.chat.completions.create({ model: "grok-4", ...question, ...told }))
  results.chat_usage = chunk;

const fight = [{ type: "text", text: "sandbox:refuse=violence a fight" }, { type: "image_url", image_url }];
results.moderations = [];
for (const input of ["a fox", ["a fox", "a dog"], fight])
  results.moderations.push((await acme.moderations.create({ input })).results);

results.model = await acme.models.retrieve("grok-4");
results.models = [];
for await (const model of acme.models.list()) results.models.push(model.id);

const { data, response, request_id } = await acme.images.generate(picture).withResponse();
results.headers = { pictures: data.data.length, request_id, ...Object.fromEntries(response.headers) };

results.lost = await whenTheFirstAnswerIsLost();
results.impatient = await whenTheCallerGivesUpTooSoon();

results.errors = {
  unknown_model: await refusal(acme, { ...picture, model: "gpt-image-99" }),
  bad_number: await refusal(acme, { ...picture, n: -1 }),
  not_enabled: await refusal(client(GLOBEX), picture),
  used_up: await refusal(client(UMBRELLA), picture),
  stranger: await refusal(client("rk_live_nonsense"), picture),
  variation: await refusal(acme, PICTURE, async (sdk) => sdk.images.createVariation({ image: await png(PICTURE, "one.png") })),
  files: await refusal(acme, null, (sdk) => sdk.files.list()),
  batches: await refusal(acme, null, (sdk) => sdk.batches.list()),
  file_id: await refusal(acme, null, (sdk) =>
    sdk.chat.completions.create({
      model: "grok-4",
      messages: [{ role: "user", content: [{ type: "file", file: { file_id: "file_1" } }] }],
    }),
  ),
};

console.log(JSON.stringify(results));

async function whenTheFirstAnswerIsLost() {
  let calls = 0;
  const losing = async (url, init) => {
    const answer = await fetch(url, init);
    if (calls++ === 0) throw new TypeError("the connection broke before the answer came");
    return answer;
  };
  const headers = { "Idempotency-Key": "node-order-1" };
  const { response } = await client(ACME, { fetch: losing }).images.generate(picture, { headers }).withResponse();
  return { calls, replayed: response.headers.get("idempotent-replayed") };
}

async function whenTheCallerGivesUpTooSoon() {
  const slow = { ...picture, prompt: "sandbox:slow=1500ms a lighthouse" };
  const { data, response } = await client(ACME, { timeout: 700 }).images.generate(slow).withResponse();
  return { pictures: data.data.length, replayed: response.headers.get("idempotent-replayed") };
}

async function refusal(sdk, body, call = (sdk) => sdk.images.generate(body)) {
  let calls = 0;
  const counted = (url, init) => {
    if (`${url}`.startsWith(PHASEGATE_URL)) calls++; // the SDK tries out on another address what a form is
    return fetch(url, init);
  };
  const counting = sdk.withOptions({ fetch: counted });
  try {
    await call(counting);
  } catch (error) {
    const kind = error.constructor.name;
    return { kind, calls, status: error.status, code: error.code, param: error.param, request_id: error.requestID };
  }
}
