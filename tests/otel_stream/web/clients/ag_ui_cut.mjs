// AG-UI's client of the version named is cut, and another one, as of a page loaded anew, asks for the same run.
const [, , url, name] = process.argv;
process.on("unhandledRejection", () => undefined); // that it was cut is what this is about
const { HttpAgent } = await import(name);
const runId = crypto.randomUUID();
const agent = () => new HttpAgent({ url, threadId: "t1", initialMessages: [{ id: "1", role: "user", content: "hi" }] });
let before = 0;
await agent().runAgent({ runId }, { onEvent: () => void before++ }).catch(() => undefined);
const events = [];
const again = agent();
await again.runAgent({ runId }, { onEvent: ({ event }) => void events.push(event.type === "TEXT_MESSAGE_CONTENT" ? event.delta : event.type) });
const said = again.messages.filter((one) => one.role === "assistant").map((one) => one.content);
console.log(JSON.stringify({ before, events, said, log: again.state.log }));
process.exit(0);
