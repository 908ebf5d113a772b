// LangGraph's JavaScript client of the version named: every event of a run that it has, whatever happens to the connection.
const [, , url, name] = process.argv;
const { Client } = await import(name);
const client = new Client({ apiUrl: url });
const thread = await client.threads.create();
const parts = [];
const asked = { input: { mode: "" }, streamMode: ["updates", "messages-tuple"], streamResumable: true };
for await (const part of client.runs.stream(thread.thread_id, "talk", asked)) parts.push(part);
const text = parts.filter((part) => part.event === "messages").map((part) => part.data[0].content).join("");
console.log(JSON.stringify({ text, ids: parts.map((part) => part.id) }));
process.exit(0);
