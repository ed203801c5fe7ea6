// Unleash's SDK for Node, polling and streaming: what it evaluates before and after a change goes to standard output.
import { createRequire } from "node:module";
const { Unleash, InMemStorageProvider } = createRequire(`${process.cwd()}/package.json`)("unleash-client");

const { PHASEGATE_URL, TOKEN, FLAG } = process.env;

async function follow(type) {
  const warnings = [];
  const client = new Unleash({
    url: `${PHASEGATE_URL}/api`,
    appName: `node-${type}`,
    customHeaders: { Authorization: TOKEN },
    refreshInterval: 500,
    metricsInterval: 500,
    storageProvider: new InMemStorageProvider(),
    experimentalMode: { type },
  });
  client.on("warn", (...said) => warnings.push(said.join(" ")));
  client.on("error", (error) => warnings.push(String(error)));
  await new Promise((done) => client.once("synchronized", done));
  const before = evaluated(client);
  await until(() => client.isEnabled(FLAG, { userId: "bob" }));
  const after = evaluated(client);
  await client.destroyWithFlush();
  return { before, after, warnings };
}

function evaluated(client) {
  const { name, payload, feature_enabled } = client.getVariant(FLAG, { userId: "ann" });
  return { ann: client.isEnabled(FLAG, { userId: "ann" }), bob: client.isEnabled(FLAG, { userId: "bob" }), name, payload, feature_enabled };
}

async function until(condition) {
  while (!condition()) await new Promise((done) => setTimeout(done, 20));
}

const [polling, streaming] = await Promise.all([follow("polling"), follow("streaming")]);
process.stdout.write(JSON.stringify({ polling, streaming }));
