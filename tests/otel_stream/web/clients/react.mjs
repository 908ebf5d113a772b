// useStream of the package named, in a component without a page: it asks, is asked, and answers.
import { createElement } from "react";
import renderer, { act } from "react-test-renderer";
const [, , url, name] = process.argv;
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const { useStream } = await import(name);
const text = ({ content }) => (typeof content === "string" ? content : content.map((one) => one.text ?? "").join(""));
// A run outlives the connection of who has started it, and can be gone on with, where that is asked for.
const lasting = { onDisconnect: "continue", streamResumable: true };
let stream;
function Chat() {
  stream = useStream({ apiUrl: url, assistantId: "talk" });
  const said = (stream.messages ?? []).map((one) => text(one)).join("|");
  return createElement("p", null, said);
}
let root;
await act(async () => { root = renderer.create(createElement(Chat)); });
const until = async (what) => {
  const end = Date.now() + 60_000;
  while (!what()) {
    if (Date.now() > end) throw new Error(`never: ${what} ${JSON.stringify(stream.values)} ${stream.error}`);
    await act(async () => { await new Promise((done) => setTimeout(done, 10)); });
  }
};
const going = act(async () => { void stream.submit({ messages: [{ type: "human", content: "hi" }], mode: "ask" }, lasting); });
await going;
await until(() => stream.interrupt !== undefined && stream.interrupt !== null);
const asked = stream.interrupt.value;
await until(() => !stream.isLoading);
if (stream.respond) await act(async () => { await stream.respond("yes"); });
else await act(async () => { void stream.submit(undefined, { command: { resume: "yes" } }); });
await until(() => (stream.values.log ?? []).includes("look") && !stream.isLoading);
const texts = stream.messages.map((one) => [one.type ?? one.getType?.(), text(one)]);
await act(async () => { root.unmount(); });
console.log(JSON.stringify({ asked, texts, log: stream.values.log }));
process.exit(0);
