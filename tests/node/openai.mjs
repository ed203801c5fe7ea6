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

async function refusal(sdk, body) {
  let calls = 0;
  const counting = sdk.withOptions({ fetch: (url, init) => (calls++, fetch(url, init)) });
  try {
    await counting.images.generate(body);
  } catch (error) {
    const kind = error.constructor.name;
    return { kind, calls, status: error.status, code: error.code, param: error.param, request_id: error.requestID };
  }
}
