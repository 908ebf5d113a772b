// AG-UI's client of the version named: its own checks of the order of events, and the events.
const [, , url, name] = process.argv;
const { HttpAgent } = await import(name);
const agent = new HttpAgent({ url, threadId: "t1", initialMessages: [{ id: "1", role: "user", content: "hi" }] });
const events = [], custom = [];
const subscriber = { onEvent: ({ event }) => { events.push(event.type); if (event.type === "CUSTOM") custom.push(event.name); } };
const traced = [];
subscriber.onRunStartedEvent = ({ event }) => { traced.push(event.metadata?.traceparent ?? null); };
agent.setState({ mode: "ask" });
await agent.runAgent({}, subscriber);
const first = [...events];
await agent.runAgent({ forwardedProps: { command: { resume: "yes" } } }, subscriber);
const said = agent.messages.filter((one) => one.role === "assistant").map((one) => one.content);
console.log(JSON.stringify({ first: [...new Set(first)], last: events.at(-1), custom, said, log: agent.state.log, traced }));
process.exit(0);
