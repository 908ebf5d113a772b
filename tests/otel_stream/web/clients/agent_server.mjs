// LangGraph's JavaScript client of the version named: a run that asks, its answer, and what came of it.
const [, , url, name] = process.argv;
const { Client } = await import(name);
const client = new Client({ apiUrl: url });
const thread = await client.threads.create();
const parts = [];
const asked = { input: { mode: "ask" }, streamMode: ["updates", "custom", "messages-tuple"] };
for await (const part of client.runs.stream(thread.thread_id, "talk", asked)) parts.push(part);
for await (const part of client.runs.stream(thread.thread_id, "talk", { command: { resume: "yes" }, streamMode: "updates" }))
  parts.push(part);
const text = parts.filter((part) => part.event === "messages").map((part) => part.data[0].content).join("");
const events = parts.filter((part) => part.event !== "messages").map((part) => [part.event, Object.keys(part.data)[0]]);
const state = await client.threads.getState(thread.thread_id);
console.log(JSON.stringify({ text, events, next: state.next }));
process.exit(0);
