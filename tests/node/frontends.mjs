// The real browser SDK of Unleash, which asks by the frontend API: what it holds, and what becomes of it after a stop.
import { UnleashClient } from "unleash-proxy-client";

const { PHASEGATE_URL, ACME, GLOBEX, ADMIN } = process.env;
const GATE = "image-generation";
const results = {};

const open = async (clientKey, options = {}) => {
  const statuses = [];
  const unleash = new UnleashClient({
    url: `${PHASEGATE_URL}/api/frontend`,
    clientKey,
    appName: "shop",
    refreshInterval: 0,
    metricsInterval: 0,
    fetch: async (url, init) => {
      const answer = await fetch(url, init);
      statuses.push(`${init.method} ${answer.status}`);
      return answer;
    },
    ...options,
  });
  await unleash.start();
  return { unleash, statuses };
};

const steer = async (what) => {
  const answer = await fetch(`${PHASEGATE_URL}/admin/api/v1/features/${GATE}/${what}`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify({ reason: "from a test" }),
  });
  if (!answer.ok) throw new Error(await answer.text());
};

for (const usePOSTrequests of [false, true]) {
  const { unleash, statuses } = await open(ACME, { usePOSTrequests });
  const found = { at_first: unleash.isEnabled(GATE), variant: unleash.getVariant(GATE) };
  await unleash.updateToggles();
  await steer("kill");
  await unleash.updateToggles();
  found.when_killed = unleash.isEnabled(GATE);
  await steer("revive");
  await unleash.updateToggles();
  found.when_revived = unleash.isEnabled(GATE);
  found.analysis = unleash.isEnabled("image-analysis");
  await unleash.setContextField("plan", "gold");
  found.for_gold = unleash.isEnabled("gold-only");
  found.value = unleash.getVariant("colour").payload;
  await unleash.sendMetrics();
  found.statuses = statuses;
  unleash.stop();
  results[usePOSTrequests ? "post" : "get"] = found;
}

const globex = await open(GLOBEX, { context: { userId: "acme", properties: { tenantId: "acme", grant: "active", halt: "0" } } });
results.globex = globex.unleash.getAllToggles().map((toggle) => toggle.name);
globex.unleash.stop();

const stranger = await open("*:production." + "0".repeat(64));
results.stranger = { statuses: stranger.statuses, error: stranger.unleash.getError() };
stranger.unleash.stop();

console.log(JSON.stringify(results));
