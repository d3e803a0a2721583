// A POST to /publish is emitted to every socket: node socketio_server.js PORT
const http = require("http");
const { Server } = require("socket.io");

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    io.emit("message", JSON.parse(Buffer.concat(chunks)));
    response.writeHead(201, { "Content-Length": 2 });
    response.end("{}");
  });
});
server.keepAliveTimeout = 0;
// The load generator answers no pings of this protocol.
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false, pingInterval: 3600000 });
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
