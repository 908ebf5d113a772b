// Vercel's transport: a chat that is cut goes on, and one that is asked is answered.
const [, , cut, straight] = process.argv;
process.on("unhandledRejection", () => undefined); // that it was cut is what this is about
const { DefaultChatTransport, readUIMessageStream } = await import("ai");
const saying = (text) => ({ messages: [{ id: "1", role: "user", parts: [{ type: "text", text }] }], trigger: "submit-message" });
const words = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text);

const transport = new DefaultChatTransport({ api: cut });
let first, last;
const quiet = { onError: () => undefined }; // that it was cut, and that it was ended
try {
  for await (const message of readUIMessageStream({ stream: await transport.sendMessages({ chatId: "c1", ...saying("hold") }), ...quiet })) first = message;
} catch {}
let stopped = false;
const stream = await transport.reconnectToStream({ chatId: "c1" });
for await (const message of readUIMessageStream({ stream, ...quiet })) {
  last = message;
  if (words(message).join("").endsWith("five") && !stopped) {
    stopped = true; // it would wait for ever: whoever has seen its words ends it
    await fetch(`${straight.replace(/\/chat$/, "")}/threads/c1/runs/${message.metadata.run_id}/cancel`, { method: "POST" });
  }
}

const other = new DefaultChatTransport({ api: straight });
let asked, answered;
for await (const message of readUIMessageStream({ stream: await other.sendMessages({ chatId: "c2", ...saying("ask") }) })) asked = message;
for await (const message of readUIMessageStream({ stream: await other.sendMessages({ chatId: "c2", ...saying("ask"), body: { command: { resume: "yes" } } }) })) answered = message;
console.log(JSON.stringify({
  cut: words(first ?? { parts: [] }).join("").length,
  text: words(last),
  asked: asked.parts.filter((part) => part.type === "data-interrupt").map((part) => part.data[0].value),
  nodes: answered.parts.filter((part) => part.type === "data-node").map((part) => [part.data.node, part.data.status]),
}));
process.exit(0);
