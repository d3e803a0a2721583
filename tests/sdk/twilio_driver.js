// Drives Twilio's JavaScript SDKs for tests: a command a line in; its answer, and every event of the clients, a line out.
//
//     NODE_PATH=.../node_modules node twilio_driver.js
//
//     in:  {"id": 1, "call": "publish", "client": "a", "stream": "heatmap", "data": {}}
//     out: {"id": 1, "result": ...}   or   {"id": 1, "error": {"name", "status", "code", "message"}}
//          {"client": "a", "stream": "heatmap", "event": "messagePublished", "args": [...]}

const readline = require("readline");
const { AccessToken } = require("twilio").jwt;
const { SyncClient } = require("twilio-sync");

const CLIENT_EVENTS = ["connectionStateChanged", "connectionError", "tokenAboutToExpire", "tokenExpired"];
const STREAM_EVENTS = ["messagePublished", "removed", "failure", "_subscriptionStateChanged"];
const QUICKLY = { min: 100, max: 500, randomness: 0 }; // the SDK's own backoff begins at a second

const clients = {};
const streams = {};

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const described = ({ sid, uniqueName, dateExpires }) => ({ sid, uniqueName, dateExpires });
const shown = (value) => (value instanceof Error ? failure(value) : value);
const failure = ({ name, status, code, message }) => ({ name, status, code, message });

const calls = {
  token({ account_sid, api_key_sid, api_key_secret, service_sid, identity, ttl }) {
    const token = new AccessToken(account_sid, api_key_sid, api_key_secret, { identity, ttl });
    token.addGrant(new AccessToken.SyncGrant({ serviceSid: service_sid }));
    return token.toJwt();
  },
  connect({ client, token, uri }) {
    const sync = (clients[client] = new SyncClient(token, { twilsock: { uri }, retryPolicy: QUICKLY }));
    for (const event of CLIENT_EVENTS) sync.on(event, (...args) => tell({ client, event, args: args.map(shown) }));
  },
  async stream({ client, stream, options }) {
    const opened = await clients[client].stream(options ?? stream);
    streams[`${client}/${stream}`] = opened;
    for (const event of STREAM_EVENTS) {
      opened.on(event, (...args) => tell({ client, stream, event, args: args.map(shown) }));
    }
    return described(opened);
  },
  async publish({ client, stream, data }) {
    return (await streams[`${client}/${stream}`].publishMessage(data)).sid;
  },
  async ttl({ client, stream, ttl }) {
    await streams[`${client}/${stream}`].setTtl(ttl);
    return described(streams[`${client}/${stream}`]);
  },
  remove: ({ client, stream }) => streams[`${client}/${stream}`].removeStream(),
  close: ({ client, stream }) => streams[`${client}/${stream}`].close(),
  open: ({ client, kind, name }) => clients[client][kind](name), // document, list or map
  update: ({ client, token }) => clients[client].updateToken(token),
  shutdown: ({ client }) => clients[client].shutdown(),
  // What a network does, not what a user can: the socket is gone without a word.
  drop: ({ client }) => clients[client].services.twilsock.channel.websocket.socket.terminate(),
};

async function obey(line) {
  const { id, call, ...options } = JSON.parse(line);
  try {
    tell({ id, result: (await calls[call](options)) ?? null });
  } catch (error) {
    tell({ id, error: failure(error) });
  }
}

readline.createInterface({ input: process.stdin }).on("line", obey).on("close", () => process.exit(0));
