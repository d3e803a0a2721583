// What a user of the Node helper does, as one program. Prints what it saw as a JSON object.
//
//     NODE_PATH=.../node_modules node twilio_rest.js BASE_URL ACCOUNT_SID AUTH_TOKEN

const twilio = require("twilio");

const STREAMS = 250;
const BURST = 90;

const refusalOf = (promise) => promise.then(() => null, (error) => seen(error));
const seen = (error) => ({ is: error.constructor.name, status: error.status, code: error.code, moreInfo: error.moreInfo });
const eachOf = (count, make) => Promise.all(Array.from({ length: count }, (_, index) => make(index)));
const tallied = (values) => values.reduce((tally, value) => ({ ...tally, [value]: (tally[value] ?? 0) + 1 }), {});
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function connect(baseUrl, accountSid, authToken) {
  const client = twilio(accountSid, authToken);
  client.sync.baseUrl = baseUrl;
  return client.sync.v1;
}

async function serviceLife(sync) {
  const created = await sync.services.create({ friendlyName: "farm", aclEnabled: true });
  const { friendlyName, aclEnabled } = await sync.services(created.sid).update({ friendlyName: "barn" });
  const listed = (await sync.services.list()).map(({ sid }) => sid);
  const removed = await sync.services(created.sid).remove();
  return {
    created: created.friendlyName,
    updated: { friendlyName, aclEnabled },
    listed: listed.includes(created.sid),
    removed,
    gone: await refusalOf(sync.services(created.sid).fetch()),
  };
}

async function streamLife(service) {
  const created = await service.syncStreams.create({ uniqueName: "heatmap", ttl: 3600 });
  const message = await service.syncStreams("heatmap").streamMessages.create({ data: { x: 256, text: "żółć ☃" } });
  const updated = await service.syncStreams("heatmap").update({ ttl: 0 });
  return {
    created: { uniqueName: created.uniqueName, createdBy: created.createdBy, lives: created.dateExpires - created.dateCreated },
    message: { sid: message.sid.slice(0, 2), length: message.sid.length, data: message.data },
    updated: updated.dateExpires,
    removed: await service.syncStreams(created.sid).remove(),
    gone: await refusalOf(service.syncStreams("heatmap").fetch()),
  };
}

async function refusals(baseUrl, accountSid, service) {
  const { sid } = await service.syncStreams.create({ uniqueName: "taken" });
  const messages = service.syncStreams(sid).streamMessages;
  return {
    credentials: await refusalOf(connect(baseUrl, accountSid, "0".repeat(40)).services.list()),
    name: await refusalOf(service.syncStreams.create({ uniqueName: "taken" })),
    ttl: await refusalOf(service.syncStreams.create({ ttl: -1 })),
    nothing: await refusalOf(service.syncStreams(sid).update()),
    missing: await refusalOf(service.syncStreams("nobody").streamMessages.create({ data: {} })),
    type: await refusalOf(messages.create({ data: [1] })),
    size: await refusalOf(messages.create({ data: { text: "x".repeat(4096) } })),
    page: await refusalOf(service.syncStreams.list({ pageSize: 5000 })),
  };
}

async function paging(service) {
  const before = (await service.syncStreams.list()).length;
  await eachOf(STREAMS, (index) => service.syncStreams.create({ uniqueName: `stream-${index}` }));
  const all = await service.syncStreams.list();
  return {
    made: all.length - before,
    different: new Set(all.map(({ sid }) => sid)).size - before,
    limited: (await service.syncStreams.list({ limit: 120 })).length,
  };
}

async function burst(service) {
  const publish = (name) => service.syncStreams(name).streamMessages.create({ data: {} });
  const outcome = (name) => publish(name).then(() => "ok", ({ status, code }) => `${status}/${code}`);
  const other = service.syncStreams.create({ uniqueName: "quiet" });
  await service.syncStreams.create({ uniqueName: "loud" });
  await other;
  const loud = eachOf(BURST, () => outcome("loud"));
  const quiet = await outcome("quiet");
  const outcomes = tallied(await loud);
  await pause(2000);
  return { outcomes, quiet, later: await outcome("loud") };
}

async function main(baseUrl, accountSid, authToken) {
  const sync = connect(baseUrl, accountSid, authToken);
  const service = sync.services((await sync.services.create()).sid);
  const report = {
    service: await serviceLife(sync),
    stream: await streamLife(service),
    refusals: await refusals(baseUrl, accountSid, service),
    paging: await paging(service),
    burst: await burst(service),
  };
  console.log(JSON.stringify(report));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
