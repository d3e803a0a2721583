// What a user of the JavaScript SDK does, as one program. Prints what it saw as a JSON object.
//
//     NODE_PATH=.../node_modules node session.js BASE_URL INSTANCE ACCOUNT_KEY

const Syncano = require("syncano");

const MESSAGES = [{ number: 1, text: "Hello Witchers!" }, { number: 2, text: "żółć ☃" }];
const seen = ({ id, payload }) => ({ id, payload });
// Not the query's own then(), which swallows errors: request() gives [what the SDK made of the answer, the answer].
const send = async (query) => (await query.request())[0];
const refusalOf = (query) => send(query).then(() => null, ({ status, message }) => ({ status, reason: message }));

async function main(baseUrl, instanceName, accountKey) {
  const { Channel } = Syncano({ baseUrl, accountKey, defaults: { instanceName } });
  const created = await Channel.please().create({ name: "witchers", custom_publish: true });
  const got = await send(Channel.please().get({ name: "witchers" }));

  const poll = Channel.please().poll({ name: "witchers" }, { lastId: 0 });
  const polled = new Promise((resolve) => {
    const messages = [];
    poll.on("message", (message) => {
      messages.push(seen(message));
      if (messages.length === MESSAGES.length) {
        poll.stop();
        resolve(messages);
      }
    });
  });
  const published = [];
  for (const message of MESSAGES) {
    published.push(seen(await send(Channel.please().publish({ name: "witchers" }, message))));
  }
  const report = {
    created: created.name,
    got: { name: got.name, custom_publish: got.custom_publish },
    published,
    polled: await polled,
    history: (await send(Channel.please().history({ name: "witchers" }))).objects.map(seen),
    missing: (await refusalOf(Channel.please().get({ name: "nobody" }))).status === 404,
    refused: await refusalOf(Channel.please().publish({ name: "eventlog" }, MESSAGES[0])),
  };
  console.log(JSON.stringify(report));
  process.exit(0); // stop() leaves the last poll's request open
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
