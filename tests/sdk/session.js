// What a user of the JavaScript SDK does, as one program. Prints what it saw as a JSON object.
//
//     NODE_PATH=.../node_modules node session.js BASE_URL INSTANCE ACCOUNT_KEY

const Syncano = require("syncano");

const MESSAGES = [{ number: 1, text: "Hello Witchers!" }, { number: 2, text: "żółć ☃" }];
const seen = ({ id, payload }) => ({ id, payload });
const refusalOf = (request) => request.then(() => null, ({ status, message }) => ({ status, reason: message }));

async function main(baseUrl, instanceName, accountKey) {
  const { Channel } = Syncano({ baseUrl, accountKey, defaults: { instanceName } });
  const created = await Channel.please().create({ name: "witchers", custom_publish: true }).request();
  const got = await Channel.please().get({ name: "witchers" }).request();

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
    published.push(seen(await Channel.please().publish({ name: "witchers" }, message).request()));
  }
  const report = {
    created: created.name,
    got: { name: got.name, custom_publish: got.custom_publish },
    published,
    polled: await polled,
    history: (await Channel.please().history({ name: "witchers" }).request()).objects.map(seen),
    missing: (await refusalOf(Channel.please().get({ name: "nobody" }).request())).status === 404,
    refused: await refusalOf(Channel.please().publish({ name: "eventlog" }, MESSAGES[0]).request()),
  };
  console.log(JSON.stringify(report));
  process.exit(0); // stop() leaves the last poll's request open
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
