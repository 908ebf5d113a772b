// Vercel's transport and reader: the message that a chat's answer becomes.
const [, , url] = process.argv;
const { DefaultChatTransport, readUIMessageStream } = await import("ai");
const transport = new DefaultChatTransport({ api: url });
const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "hi" }] }];
const stream = await transport.sendMessages({ chatId: "c1", messages, trigger: "submit-message" });
let last;
for await (const message of readUIMessageStream({ stream })) last = message;
const text = last.parts.filter((part) => part.type === "text").map((part) => part.text);
const nodes = last.parts.filter((part) => part.type === "data-node").map((part) => [part.data.node, part.data.status]);
const gone = await transport.reconnectToStream({ chatId: "c1" });
console.log(JSON.stringify({ text, nodes, traced: "traceparent" in last.metadata, gone }));
process.exit(0);
